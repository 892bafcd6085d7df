package endpoint

import (
	"strings"

	"kustospool/internal/kustosim/internal/lex"
	"kustospool/internal/kustosim/internal/parse"
	"kustospool/internal/kustosim/internal/reply"
)

// queuedCommand is `.show queued ingestion operations 'id' [details]` or
// `.. ('id', ..)`.
// https://learn.microsoft.com/kusto/management/data-ingestion/show-queued-ingestion-operations
//
// The page speaks of operations that .ingest-from-storage-queued began, which the
// simulator does not have. That those of the REST API are among them is assumed.
type queuedCommand struct {
	ids     []string
	details bool
}

// queuedOperations reads the command; ok is false for another one, and for one
// that is not understood.
func queuedOperations(text string) (c queuedCommand, ok bool) {
	tokens, _, piped, err := lex.Head(text)
	m := &lex.Reader{Tokens: tokens}
	if err != nil || piped || !m.Words(".show", "queued", "ingestion", "operations") {
		return c, false
	}
	if m.Words("(") {
		for !m.Words(")") {
			id := m.Next()
			if id.Kind != lex.Text {
				return c, false
			}
			c.ids = append(c.ids, id.Text)
			m.Words(",")
		}
	} else {
		id := m.Next()
		if id.Kind != lex.Text {
			return c, false
		}
		c.ids = []string{id.Text}
		c.details = m.Words("details")
	}
	return c, len(c.ids) > 0 && m.Done()
}

// table tells of the operations that the command names; unknown ones are left out.
func (o *operations) table(c queuedCommand) *reply.Table {
	o.mu.Lock()
	defer o.mu.Unlock()
	var list []*operation
	var ids []string
	for _, id := range c.ids {
		if op := o.byID[strings.ToLower(id)]; op != nil {
			list, ids = append(list, op), append(ids, strings.ToLower(id))
		}
	}
	if c.details {
		t := &reply.Table{Columns: reply.Columns("IngestionOperationId", "string", "BlobURL", "string", "IngestionStatus", "string",
			"StartedAt", "datetime", "CompletedAt", "datetime", "FailedReasons", "string")}
		for i, op := range list {
			for _, b := range op.blobs {
				var completed any
				if b.status == blobSucceeded || b.status == blobFailed {
					completed = parse.FormatTime(b.updated)
				}
				t.Rows = append(t.Rows, []any{ids[i], b.url, b.status, parse.FormatTime(b.started), completed, b.outcome.Details})
			}
		}
		return t
	}
	t := &reply.Table{Columns: reply.Columns("IngestionOperationId", "string", "StartedOn", "datetime", "LastUpdatedOn", "datetime", "State", "string",
		"Discovered", "long", "Pending", "long", "Canceled", "long", "Ingested", "long", "Failed", "long", "SampleFailedReasons", "string",
		"Database", "string", "Table", "string")}
	for i, op := range list {
		var pending, ingested, failed int
		updated := op.started
		sample := ""
		for _, b := range op.blobs {
			if b.updated.After(updated) {
				updated = b.updated
			}
			switch b.status {
			case blobSucceeded:
				ingested++
			case blobFailed:
				failed++
				sample = b.outcome.Details
			default:
				pending++
			}
		}
		state := "Completed"
		switch {
		case pending > 0:
			state = blobInProgress
		case failed > 0:
			state = blobFailed
		}
		t.Rows = append(t.Rows, []any{ids[i], parse.FormatTime(op.started), parse.FormatTime(updated), state,
			len(op.blobs), pending, 0, ingested, failed, sample, op.db, op.table})
	}
	return t
}

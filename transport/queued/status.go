package queued

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"

	"kustospool/ingest"
	"kustospool/transport"
	"kustospool/transport/internal/kusto"
)

const opStatus = "status table"

// Bounds of one look at the status table: the rows of one batch are as many as
// its attempts.
const (
	statusPageRows = 200
	statusPages    = 4
	tableRetries   = 1
)

// row is what matters of an entity of the status table (protocol reference
// section 6.1).
type row struct {
	Key           string // RowKey
	Status        string
	Code          string // ErrorCode
	FailureStatus string
	Details       string
	Operation     string // set when the service has taken the message
}

// rowKey is the row of one attempt: the zero GUID, which the official clients
// use, with the attempt's number in its last group. Row keys of one batch sort
// as its attempts do.
func rowKey(attempt int) string { return fmt.Sprintf("00000000-0000-0000-0000-%012d", attempt) }

// maxRowText bounds a text of a row: of the longest, the details, an error keeps less.
const maxRowText = 16 << 10

// decodeRow reads one entity.
func decodeRow(b []byte) (row, error) {
	var in map[string]any
	if err := json.Unmarshal(b, &in); err != nil {
		return row{}, errors.New("an entity of the status table is not JSON")
	}
	text := func(key string) string { // all rows of a batch are kept until they are judged
		s := textOf(in[key])
		return strings.Clone(s[:min(len(s), maxRowText)])
	}
	return row{Key: text("RowKey"), Status: text("Status"), Code: text("ErrorCode"),
		FailureStatus: text("FailureStatus"), Details: text("Details"), Operation: text("OperationId")}, nil
}

// textOf is a JSON value as text: the service's clients do not agree on which
// values are strings.
func textOf(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	default:
		return fmt.Sprint(v)
	}
}

// outcome is what the row means for its batch. A pending row that names an
// operation, and a failure that the service repeats by itself, say that the
// service has the message.
func (r row) outcome() kusto.Outcome {
	o := kusto.StatusOutcome(r.Status, r.Code, r.FailureStatus)
	if o.State == 0 && (r.Operation != "" && r.Operation != rowKey(0) || r.FailureStatus != "" || r.Code != "") {
		o.State = ingest.Accepted
	}
	return o
}

// judge gives the outcome of a batch from all of its rows, and the row it
// rests on. Rows that say nothing, or only say that the service has the
// message, are outweighed: success in any row is the batch's, since every
// message was the same batch. Failure is taken from the latest attempt only,
// because the earlier ones are what that attempt came after. latest is 0 where
// the progress does not know; the highest row is then the latest.
func judge(rows []row, latest int) (kusto.Outcome, row) {
	var last row
	var skipped *row
	for i, r := range rows {
		switch r.outcome().State {
		case ingest.Succeeded:
			return r.outcome(), r
		case ingest.Skipped:
			skipped = &rows[i]
		}
		if latest == 0 && r.Key > last.Key || r.Key == rowKey(latest) {
			last = r
		}
	}
	if skipped != nil {
		return skipped.outcome(), *skipped
	}
	return last.outcome(), last
}

// tableClient opens a status table.
func (c *Client) tableClient(table kusto.Resource) (*aztables.Client, error) {
	client, err := aztables.NewClientWithNoCredential(table.URL(), &aztables.ClientOptions{ClientOptions: c.uploads.Storage(tableRetries, c.opts.RequestTimeout)})
	if err != nil {
		return nil, c.service.Secrets().WireFailure(opStatus, err, kusto.NoEffect, nil)
	}
	return client, nil
}

// rows reads all rows of a batch.
func (c *Client) rows(ctx context.Context, table kusto.Resource, id ingest.BatchID) ([]row, error) {
	client, err := c.tableClient(table)
	if err != nil {
		return nil, err
	}
	// A batch id is hexadecimal digits and hyphens: nothing to escape.
	filter, top := "PartitionKey eq '"+id.String()+"'", int32(statusPageRows)
	pager := client.NewListEntitiesPager(&aztables.ListEntitiesOptions{Filter: &filter, Top: &top})
	var out []row
	for page := 0; page < statusPages && pager.More(); page++ {
		resp, err := pager.NextPage(ctx)
		if err != nil {
			return nil, c.uploads.Failed(ctx, opStatus, table, err, kusto.NoEffect, nil)
		}
		for _, e := range resp.Entities {
			r, err := decodeRow(e)
			if err != nil {
				return nil, &transport.Error{Op: opStatus, Class: transport.Transient, Message: err.Error()}
			}
			out = append(out, r)
		}
	}
	return out, nil
}

// earlier reports whether earlier attempts brought the batch in.
func (a *attempt) earlier(ctx context.Context) (bool, error) {
	var tables []kusto.Resource
	if a.resources != nil && a.d.Batch.Confirm != ingest.ConfirmAccepted && !(a.reports != nil && a.progress.Reports) {
		tables = a.resources.StatusTables
	}
	// What nobody may ask for is as good as lost: the tag decides, or the engine has
	// counted it.
	rows, _, err := a.found(ctx, tables, nil, a.d.Batch, a.progress)
	if err != nil {
		return false, err
	}
	o, _ := judge(rows, a.progress.latest())
	return o.State.Ingested(), nil
}

// found is what is to be learned of a batch: what the report queues said, the
// rows of the first status table that has any, and the operations of its
// requests over REST as rows. refused is the refusal to tell of the latest attempt,
// where the credential's role is not enough.
func (c *Client) found(ctx context.Context, tables []kusto.Resource, reported []*report, b *ingest.Batch, p progress) (out []row, refused, err error) {
	if len(reported) > 0 {
		out = c.reports.rows(reported, p.latest(), p.posted())
	}
	if len(p.Attempts) > 0 || len(p.Submits) == 0 {
		for _, table := range tables {
			rows, err := c.rows(ctx, table, b.ID)
			if err != nil {
				return nil, nil, err
			}
			if len(rows) > 0 {
				out = append(out, rows...)
				break
			}
		}
	}
	for _, s := range p.Submits {
		if s.Operation == "" {
			continue
		}
		rctx, cancel := context.WithTimeout(ctx, c.opts.RequestTimeout)
		r, err := c.ingestion.Operation(rctx, b.Properties.Database, b.Properties.Table, s.Operation, b.ID.String())
		cancel()
		if kusto.Forbidden(err) {
			c.forbidden.Add(1)
			c.rights.note(tableOf(b), false, c.now())
			if s.Attempt == p.latest() {
				refused = err
			}
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		if r.Status != "" {
			out = append(out, row{Key: rowKey(s.Attempt), Status: r.Status, Code: r.Code, FailureStatus: r.FailureStatus, Details: r.Details, Operation: s.Operation})
		}
	}
	return out, refused, nil
}

// insertRow puts the attempt's row in, before its message, so that the service
// finds it. A row that is there already is of this very attempt, cut off by a
// crash before its message or after; it is not overwritten, and the result
// tells whether it says that the batch is in.
func (a *attempt) insertRow(ctx context.Context, table kusto.Resource, r *statusRow, path string) (in bool, err error) {
	client, err := a.tableClient(table)
	if err != nil {
		return false, err
	}
	entity, err := json.Marshal(map[string]string{
		"PartitionKey": r.PartitionKey, "RowKey": r.RowKey,
		"Status": "Pending", "Database": a.d.Batch.Properties.Database, "Table": a.d.Batch.Properties.Table,
		"IngestionSourceId": a.d.Batch.ID.String(), "IngestionSourcePath": path,
		"UpdatedOn": time.Now().UTC().Format(time.RFC3339Nano),
	})
	if err != nil {
		return false, &transport.Error{Op: opStatus, Class: transport.Permanent, Message: "the batch's names are not valid text"}
	}
	if _, err = client.AddEntity(ctx, entity, nil); err == nil {
		return false, nil
	}
	var re *azcore.ResponseError
	if !errors.As(err, &re) || re.StatusCode != http.StatusConflict || re.ErrorCode != string(aztables.EntityAlreadyExists) {
		return false, a.uploads.Failed(ctx, opStatus, table, err, kusto.NoEffect, nil)
	}
	rows, err := a.rows(ctx, table, a.d.Batch.ID)
	if err != nil {
		return false, err
	}
	o, _ := judge(rows, a.d.Attempt)
	return o.State.Ingested(), nil
}

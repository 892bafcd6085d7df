package kustosim

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"kustospool/ingest"
)

const noExtent = "00000000-0000-0000-0000-000000000000"

// ingestCommand runs `.ingest [async] into table T (h'uri', ..) [with (..)]`
// and `.ingest inline into table T [with (..)] <| data` (protocol reference
// section 8). An async command replies at once and is carried out behind that.
func (s *Sim) ingestCommand(r *http.Request, c *command, m *reader, data string, inline bool) (*dataset, *kustoError) {
	async := !inline && m.words("async")
	syntax := badCommand("General_BadRequest", "Syntax error: the ingestion command is not understood.")
	if !m.words("into") {
		return nil, syntax
	}
	m.words("table")
	name := m.next()
	if name.kind != wordToken {
		return nil, syntax
	}
	var uris []string
	if !inline {
		if m.words("(") {
			for !m.words(")") {
				uri := m.next()
				if uri.kind != textToken {
					return nil, syntax
				}
				uris = append(uris, uri.text)
				m.words(",")
			}
		} else if uri := m.next(); uri.kind == textToken {
			uris = append(uris, uri.text)
		}
		if len(uris) == 0 {
			return nil, syntax
		}
	}
	props := make(map[string]json.RawMessage)
	if m.words("with") {
		if !m.words("(") {
			return nil, syntax
		}
		for !m.words(")") {
			key, equals, value := m.next(), m.words("="), m.next()
			if key.kind == 0 || !equals || value.kind == 0 {
				return nil, syntax
			}
			text, err := json.Marshal(value.text)
			if err != nil {
				return nil, syntax
			}
			props[strings.ToLower(key.text)] = text
			m.words(",")
		}
	}
	if !m.done() {
		return nil, syntax
	}

	done := &loggedCommand{clientID: r.Header.Get("x-ms-client-request-id"), operation: newGUID(), db: c.DB, kind: "DataIngestPull",
		state: commandInProgress, started: time.Now()}
	if inline {
		done.kind = "DataIngestPush"
	}
	in := &ingestion{message: &message{Id: done.operation, DatabaseName: c.DB, TableName: name.text, RetainBlobOnSuccess: true, AdditionalProperties: props}}
	// The effect comes for certain once the engine has begun, also for a client
	// that has left.
	ctx := context.WithoutCancel(r.Context())
	s.commands.begin(*done)
	if async {
		s.running.Go(func() { s.carryOut(ctx, done, in, uris, data, inline) }) // the handler runs, so Close has not come to its wait
		return &dataset{[]Column{{"OperationId", "guid"}}, [][]any{{done.operation}}}, nil
	}
	e, failure := s.carryOut(ctx, done, in, uris, data, inline)
	if failure != nil {
		return nil, failure
	}
	id := noExtent
	if e != nil {
		id = e.ID
	}
	return &dataset{[]Column{{"ExtentId", "guid"}, {"ItemLoaded", "string"}, {"Duration", "timespan"}, {"HasErrors", "bool"}, {"OperationId", "guid"}},
		[][]any{{id, strings.Join(withoutQueries(uris), ","), "00:00:00", false, done.operation}}}, nil
}

// carryOut ingests what a command asks for, within the capacity, and books how
// it ended.
func (s *Sim) carryOut(ctx context.Context, done *loggedCommand, in *ingestion, uris []string, data string, inline bool) (*extent, *kustoError) {
	defer func() {
		done.ended = time.Now()
		s.commands.end(*done)
		s.change.notify()
	}()
	if !s.commands.enter(s.opts.IngestCapacity) {
		e := kustoErrorOf(http.StatusTooManyRequests)
		done.state, done.reason = commandThrottled, e.message
		s.stats.add(func(st *Stats) { st.Throttled++ })
		return nil, e
	}
	defer s.commands.leave()
	s.change.notify()
	if hold := s.ingestor.faults.strike(in, Hold); hold != nil {
		select {
		case <-hold.removed:
		case <-s.done:
		}
	}
	if s.opts.IngestTime > 0 {
		timer := time.NewTimer(s.opts.IngestTime)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-s.done:
		}
	}
	e, hit, bad := s.ingestor.direct(ctx, in, uris, data, inline)
	switch {
	case bad != nil:
		done.state, done.reason = commandFailed, bad.code+": "+bad.details
		s.stats.add(func(st *Stats) { st.Failed[bad.code]++ })
		return nil, commandError(bad)
	case hit != "":
		done.state, done.reason = commandSkipped, "an extent with tag ingest-by:"+hit+" exists"
		s.stats.add(func(st *Stats) { st.SkippedByTag++ })
		if s.opts.TagHitAsFailed {
			done.state, done.reason = commandFailed, skippedByTag+": "+done.reason
			return nil, commandError(permanent(skippedByTag, "an extent with tag ingest-by:%s exists", hit))
		}
	default:
		done.state = commandCompleted
	}
	return e, nil
}

func withoutQueries(uris []string) []string {
	out := make([]string, len(uris))
	for i, u := range uris {
		out[i] = withoutQuery(u)
	}
	return out
}

// commandError is the reply to a command whose ingestion failed.
func commandError(bad *ingestError) *kustoError {
	e := &kustoError{http.StatusBadRequest, bad.code, "Kusto.DataNode.Exceptions.IngestionException", bad.details, true}
	switch {
	case strings.HasSuffix(bad.code, "NotExist"), strings.HasSuffix(bad.code, "WasNotFound"):
		e.kind = "Kusto.Data.Exceptions.EntityNotFoundException"
	case bad.status != Permanent:
		e.status, e.permanent = http.StatusInternalServerError, false
	}
	return e
}

// direct ingests the blobs of one command, or its inline data, as one extent.
// Like everything that commits, it does so in its turn.
func (g *ingestor) direct(ctx context.Context, in *ingestion, uris []string, data string, inline bool) (e *extent, hit string, bad *ingestError) {
	if inline {
		uris = []string{"inline://command/data"}
	}
	var parts []*ingestion
	for _, uri := range uris {
		m := *in.message
		m.BlobPath = uri
		one, bad := understand(&m)
		if bad != nil {
			return nil, "", bad
		}
		one.operation = in.Id
		parts = append(parts, one)
	}
	first := parts[0]
	fault := g.faults.strike(first, FailTransient, FailExhausted, FailPermanent)
	if fault != nil && !fault.AfterCommit {
		return nil, "", fault.failure()
	}
	g.turn.Lock()
	defer g.turn.Unlock()
	columns, reference, bad := g.schema(first)
	if bad != nil {
		return nil, "", bad
	}
	if hit, skipped := g.catalog.tagged(first.DatabaseName, first.TableName, first.notExists); skipped {
		return nil, hit, nil
	}
	items := first.mapping
	if reference != nil {
		items = reference.items
	}
	var rows []Row
	for _, one := range parts {
		t, bad := newTarget(columns, items, one)
		if bad != nil {
			return nil, "", bad
		}
		var more []Row
		if inline {
			more, bad = g.parse(one, []byte(strings.TrimLeft(data, " \t\r\n")), t)
			if bad == nil && len(more) == 0 {
				bad = permanent("BadRequest_NoRecordsOrWrongFormat", "the command has no records")
			}
		} else {
			more, bad = g.load(ctx, one, t)
		}
		if bad != nil {
			return nil, "", bad
		}
		rows = append(rows, more...)
	}
	if e, bad = g.add(first, rows); bad != nil {
		return nil, "", bad
	}
	if fault != nil {
		return nil, "", fault.failure()
	}
	return e, "", nil
}

// add commits rows as one extent with the tags of in. The turn is the caller's.
func (g *ingestor) add(in *ingestion, rows []Row) (*extent, *ingestError) {
	rows = g.spoil(in, rows)
	created := in.created
	if created.IsZero() {
		created = time.Now()
	}
	e := &extent{Extent: Extent{ID: newGUID(), Tags: in.tags, Source: in.source(), Operation: in.operation, Created: created.UTC()}, rows: rows}
	if bad := g.catalog.commit(in.DatabaseName, in.TableName, e); bad != nil {
		return nil, bad
	}
	g.stats.add(func(s *Stats) {
		s.Ingested++
		s.Rows += int64(len(rows))
	})
	return e, nil
}

// streamFormats are the formats that streaming ingestion takes (protocol
// reference section 9.1).
var streamFormats = map[ingest.Format]bool{ingest.CSV: true, ingest.TSV: true, ingest.SCSV: true, ingest.SOHSV: true, ingest.PSV: true,
	ingest.JSON: true, ingest.MultiJSON: true, ingest.SingleJSON: true, ingest.Avro: true, ingest.TXT: true, ingest.TSVE: true}

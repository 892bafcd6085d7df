package ingestor

import (
	"context"
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"kustospool/ingest"
	"kustospool/internal/kustosim/internal/catalog"
	"kustospool/internal/kustosim/internal/fault"
	"kustospool/internal/kustosim/internal/parse"
	"kustospool/internal/kustosim/internal/stats"
)

// Command is an ingestion command: some blobs, or inline data.
type Command struct {
	Operation  string // its id
	DB, Table  string
	Properties map[string]json.RawMessage // lower-case names
	URIs       []string
	Inline     bool
	Data       string // with inline
}

// Held is closed when the fault is removed that holds this command; nil if none
// does.
func (g *Ingestor) Held(c *Command) <-chan struct{} {
	if hold := g.faults.Strike(c.DB, c.Table, "", fault.Hold); hold != nil {
		return hold.Ended()
	}
	return nil
}

// Direct ingests the blobs of one command, or its inline data, as one extent.
// Like everything that commits, it does so in its turn. hit is the tag that
// stopped it, if one did; there is no extent then.
func (g *Ingestor) Direct(ctx context.Context, c *Command) (e *catalog.Extent, hit string, bad *parse.Error) {
	uris := c.URIs
	if c.Inline {
		uris = []string{"inline://command/data"}
	}
	var parts []*ingestion
	for _, uri := range uris {
		one, bad := understand(&Message{Id: c.Operation, DatabaseName: c.DB, TableName: c.Table, RetainBlobOnSuccess: true, AdditionalProperties: c.Properties, BlobPath: uri})
		if bad != nil {
			return nil, "", bad
		}
		one.operation = c.Operation
		parts = append(parts, one)
	}
	first := parts[0]
	struck := g.strike(first, fault.FailTransient, fault.FailExhausted, fault.FailPermanent)
	if struck != nil && !struck.AfterCommit {
		return nil, "", faultFailure(struck)
	}
	g.turn.Lock()
	defer g.turn.Unlock()
	p, bad := g.schema(first)
	if bad != nil {
		return nil, "", bad
	}
	if hit, skipped := g.Catalog.Tagged(first.DatabaseName, first.TableName, first.notExists); skipped {
		return nil, hit, nil
	}
	var rows []parse.Row
	var t *parse.Target
	for _, one := range parts {
		if t, bad = p.target(one); bad != nil {
			return nil, "", bad
		}
		var more []parse.Row
		if c.Inline {
			// Blanks are data (https://learn.microsoft.com/kusto/management/data-ingestion/ingest-inline).
			more, bad = g.parse(one, []byte(c.Data), t)
			if bad == nil && len(more) == 0 {
				bad = parse.Permanentf("BadRequest_NoRecordsOrWrongFormat", "the command has no records")
			}
		} else {
			more, bad = g.load(ctx, one, t)
		}
		if bad != nil {
			return nil, "", bad
		}
		rows = append(rows, more...)
	}
	if e, bad = g.add(first, rows, p.change(first, t)); bad != nil {
		return nil, "", bad
	}
	if struck != nil {
		return nil, "", faultFailure(struck)
	}
	return e, "", nil
}

// add commits rows as one extent with the tags of in. The turn is the caller's.
func (g *Ingestor) add(in *ingestion, rows []parse.Row, change catalog.Change) (*catalog.Extent, *parse.Error) {
	rows = g.spoil(in, rows)
	created := in.created
	if created.IsZero() {
		created = time.Now()
	}
	e := &catalog.Extent{ID: uuid.NewString(), Tags: in.tags, RowCount: len(rows), Source: in.source(), Operation: in.operation, Created: created.UTC()}
	if bad := g.Catalog.Commit(in.DatabaseName, in.TableName, *e, rows, change); bad != nil {
		return nil, bad
	}
	g.Stats.Add(func(s *stats.Stats) {
		s.Ingested++
		s.Rows += int64(len(rows))
	})
	g.age(in)
	return e, nil
}

// Stream ingests the data of one streaming request, under a mapping of the
// table or without one.
func (g *Ingestor) Stream(db, table string, format ingest.Format, mappingName string, data []byte) *parse.Error {
	props := map[string]json.RawMessage{"format": json.RawMessage(`"` + string(format) + `"`)}
	if mappingName != "" {
		props["ingestionmappingreference"], _ = json.Marshal(mappingName)
	}
	in, bad := understand(&Message{Id: uuid.NewString(), BlobPath: "stream://request/data", DatabaseName: db, TableName: table, AdditionalProperties: props})
	if bad != nil {
		return bad
	}
	struck := g.strike(in, fault.FailTransient, fault.FailExhausted, fault.FailPermanent)
	if struck != nil && !struck.AfterCommit {
		return faultFailure(struck)
	}
	g.turn.Lock()
	defer g.turn.Unlock()
	p, bad := g.schema(in)
	if bad != nil {
		return bad
	}
	t, bad := p.target(in)
	if bad != nil {
		return bad
	}
	rows, bad := g.parse(in, data, t)
	if bad != nil {
		return bad
	}
	if len(rows) == 0 {
		return parse.Permanentf("BadRequest_NoRecordsOrWrongFormat", "the request has no records")
	}
	_, bad = g.add(in, rows, p.change(in, t))
	if bad == nil && struck != nil {
		bad = faultFailure(struck)
	}
	return bad
}

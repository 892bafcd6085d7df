package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync/atomic"

	"kustospool/ingest"
	"kustospool/store"
	"kustospool/transport"
)

// Table is a spool seen through one set of properties, checked once. It holds
// no resources and needs no closing.
type Table struct {
	s    *Spool
	p    ingest.Properties
	lane atomic.Pointer[lane] // nil until the first record
}

// found is the table's lane, made when it is new.
func (t *Table) found(ctx context.Context) (*lane, error) {
	if l := t.lane.Load(); l != nil {
		return l, nil
	}
	l, err := t.s.lane(ctx, &t.p)
	if err == nil {
		t.lane.Store(l)
	}
	return l, err
}

// Table checks p and gives its view of the spool. Nothing is stored until the
// first record. The error is [ErrGuarantee] where the table wants exactly-once
// and the transport that it goes by cannot keep it.
func (s *Spool) Table(p ingest.Properties) (*Table, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	if _, err := s.kept(&p); err != nil {
		return nil, err
	}
	return &Table{s: s, p: p}, nil
}

// Properties is a copy of the table's properties.
func (t *Table) Properties() ingest.Properties { return t.p }

// Ingest is [Spool.Ingest] of one record without a key. The positions, if any,
// become durable with it.
func (t *Table) Ingest(ctx context.Context, data []byte, at ...ingest.Position) (ingest.Receipt, error) {
	if err := t.s.admit(ctx); err != nil {
		return ingest.Receipt{}, err
	}
	data, err := t.s.check(&t.p, data, "")
	if err != nil {
		return ingest.Receipt{}, err
	}
	l, err := t.found(ctx)
	if err != nil {
		return ingest.Receipt{}, err
	}
	if len(at) == 0 {
		return t.s.ingestOne(ctx, store.Record{Lane: l.id, Data: data})
	}
	rcpts, err := t.s.ingestAll(ctx, []store.Record{{Lane: l.id, Data: data}}, at...)
	if err != nil {
		return ingest.Receipt{}, err
	}
	return rcpts[0], nil
}

// IngestJSON is Ingest of v as one JSON document, encoded by [json.Marshal]: a
// struct, a map. The table's format must be json, multijson or singlejson.
func (t *Table) IngestJSON(ctx context.Context, v any) (ingest.Receipt, error) {
	if t.p.Format.MappingKind() != ingest.MappingJSON {
		return ingest.Receipt{}, &ingest.FieldError{Field: "format", Value: string(t.p.Format), Rule: "must be json, multijson or singlejson"}
	}
	var data []byte
	if err := transport.Recover("json.Marshal", func() (err error) {
		data, err = json.Marshal(v)
		return err
	}); err != nil {
		return ingest.Receipt{}, &ingest.FieldError{Field: "value", Rule: err.Error()}
	}
	return t.Ingest(ctx, data)
}

// IngestReader is [Spool.IngestReader] into the table.
func (t *Table) IngestReader(ctx context.Context, r io.Reader, at ...ingest.Position) (ingest.Receipt, error) {
	return t.s.IngestReader(ctx, t.p, r, at...)
}

// IngestFile is [Spool.IngestFile] into the table.
func (t *Table) IngestFile(ctx context.Context, path string, at ...ingest.Position) (ingest.Receipt, error) {
	return t.s.IngestFile(ctx, t.p, path, at...)
}

// IngestAll is [Spool.IngestAll] of records without keys. The positions, if
// any, become durable with them.
func (t *Table) IngestAll(ctx context.Context, records [][]byte, at ...ingest.Position) ([]ingest.Receipt, error) {
	if err := t.s.admit(ctx); err != nil {
		return nil, err
	}
	recs := make([]store.Record, len(records))
	for i, data := range records {
		data, err := t.s.check(&t.p, data, "")
		if err != nil {
			return nil, fmt.Errorf("record %d: %w", i, err)
		}
		recs[i].Data = data
	}
	l, err := t.found(ctx)
	if err != nil {
		return nil, err
	}
	for i := range recs {
		recs[i].Lane = l.id
	}
	return t.s.ingestAll(ctx, recs, at...)
}

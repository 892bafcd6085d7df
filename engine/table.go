package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync/atomic"

	"kustospool/ingest"
	"kustospool/store"
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
	data, err := json.Marshal(v)
	if err != nil {
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

// Writer is an [io.WriteCloser] into the table. For a format of lines it cuts
// what is written into records at the line ends (for csv and scsv, at those
// outside of double quotes) and passes over empty lines; for any other format
// all that is written until Close is one object. It is not safe for use by
// several goroutines at once.
//
// ctx is used for every record the writer ingests.
func (t *Table) Writer(ctx context.Context) *Writer {
	return &Writer{t: t, ctx: ctx, lines: t.p.Concatenates() && t.p.Format != ingest.MultiJSON,
		quotes: t.p.Format == ingest.CSV || t.p.Format == ingest.SCSV}
}

// Writer is made by [Table.Writer].
type Writer struct {
	t      *Table
	ctx    context.Context
	lines  bool
	quotes bool

	partial []byte // of the record that has no end yet
	scanned int    // how much of partial has been searched for its end
	inside  bool   // a double quote is open at scanned
	err     error
	closed  bool
	records int64
}

// Records is the number of records that are durable so far.
func (w *Writer) Records() int64 { return w.records }

// Write takes p and makes the records that it completes durable, all of them
// or none as long as they fit one IngestAll. When it returns len(p) and nil, everything but an unfinished last
// record is on stable storage. After an error the writer refuses further
// writes with the same error, because what follows would begin in the middle
// of a record. A record over [ingest.MaxRecordBytes] is an error.
func (w *Writer) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	if w.closed {
		return 0, ErrClosed
	}
	w.partial = append(w.partial, p...)
	if err := w.ingestComplete(); err != nil {
		w.err = err
		return 0, err
	}
	if len(w.partial) > ingest.MaxRecordBytes {
		_, w.err = w.t.p.Record(w.partial)
		return 0, w.err
	}
	return len(p), nil
}

// ingestComplete ingests the complete records of partial and keeps the rest.
func (w *Writer) ingestComplete() error {
	if !w.lines {
		return nil
	}
	var records [][]byte
	begin, size := 0, 0
	ingestSome := func() error {
		if len(records) == 0 {
			return nil
		}
		if _, err := w.t.IngestAll(w.ctx, records); err != nil {
			return err
		}
		w.records += int64(len(records))
		records, size = nil, 0
		return nil
	}
	for w.scanned < len(w.partial) {
		end, ok := w.lineEnd()
		if !ok {
			break
		}
		if line := w.partial[begin:end]; len(bytes.TrimSpace(line)) > 0 {
			if size+len(line) > MaxIngestAllBytes || len(records) == MaxIngestAllRecords {
				if err := ingestSome(); err != nil {
					return err
				}
			}
			records = append(records, line)
			size += len(line)
		}
		begin = end
	}
	if err := ingestSome(); err != nil {
		return err
	}
	w.partial = append(w.partial[:0], w.partial[begin:]...)
	w.scanned -= begin
	return nil
}

// lineEnd searches on from scanned for the end of a line, and leaves scanned
// behind it, or at the end of what there is.
func (w *Writer) lineEnd() (end int, ok bool) {
	if !w.quotes {
		i := bytes.IndexByte(w.partial[w.scanned:], '\n')
		if i < 0 {
			w.scanned = len(w.partial)
			return 0, false
		}
		w.scanned += i + 1
		return w.scanned, true
	}
	for w.scanned < len(w.partial) {
		c := w.partial[w.scanned]
		w.scanned++
		switch {
		case c == '"':
			w.inside = !w.inside
		case c == '\n' && !w.inside:
			return w.scanned, true
		}
	}
	return 0, false
}

// Close makes the last record durable, whether or not it ended in a line end,
// and returns the first error of the writer's life. It does not close the
// spool.
func (w *Writer) Close() error {
	if w.closed || w.err != nil {
		w.closed = true
		return w.err
	}
	w.closed = true
	if len(bytes.TrimSpace(w.partial)) == 0 {
		return nil
	}
	if _, err := w.t.Ingest(w.ctx, w.partial); err != nil {
		w.err = err
		return err
	}
	w.records++
	w.partial = nil
	return nil
}

package engine

import (
	"context"

	"kustospool/ingest"
	"kustospool/ingest/record"
)

// Writer returns an [io.WriteCloser] into the table. For a format that
// concatenates, the writer cuts what is written into records by the rules of
// package record: lines, quoted lines, JSON documents. For any other format all
// that is written until Close is one object. ctx is used for every record that
// the writer ingests.
func (t *Table) Writer(ctx context.Context) *Writer {
	w := &Writer{t: t, ctx: ctx, whole: !t.p.Concatenates(), policy: t.s.opts.table(TableName{t.p.Database, t.p.Table}).OnBadRecord}
	// Prompt: a line that is no JSON object is reported without waiting for the next
	// line, which may come much later.
	w.cutter = record.Cutter{Rule: t.s.rule(&t.p), Prompt: true}
	return w
}

// Writer is made by [Table.Writer]. It must not be used by two goroutines at once.
type Writer struct {
	t      *Table
	ctx    context.Context
	whole  bool
	policy BadRecordPolicy
	cutter record.Cutter

	partial []byte // of the record that has no end yet
	behind  int64  // bytes that were written before partial
	at      func(int64) ingest.Position
	err     error
	closed  bool
	counts  record.Counts
}

// Records is the number of records that are durable so far. Bad ones do not count.
func (w *Writer) Records() int64 { return w.counts.Good }

// Counts says what the writer has cut so far: good and bad records, blank lines
// and byte order marks.
func (w *Writer) Counts() record.Counts { return w.counts }

// Carry makes every commit of the writer carry a position, so that a program that
// follows a file goes on at the right place after a crash. at gets the number of
// bytes that the commit is done with, up to the end of its last record with its
// line end, and returns the position to store: its name, and as its value the
// offset in the file. After a crash the program asks [Spool.Position] and goes on
// there with a new writer; no record is skipped or repeated. Dead letters are in
// the same commit. Blank lines, and bad records that were passed over, make no
// commit of their own, so they may be read again.
//
// Close takes a last line without a line end as a record. While that line may
// still grow, do not close the writer.
//
// Carry must be called before the first Write. at is called by Write and Close.
// A position outside the bounds of [ingest.Position] fails that Write, which then
// stores nothing of that commit. Carry returns an [ingest.FieldError] for a nil
// at, after a Write, and for the format multijson, where an offset may lie within
// an array.
func (w *Writer) Carry(at func(written int64) ingest.Position) error {
	switch {
	case at == nil:
		return &ingest.FieldError{Field: "position", Rule: "must be given by a function that is not nil"}
	case w.closed || w.err != nil || w.behind > 0 || len(w.partial) > 0:
		return &ingest.FieldError{Field: "position", Rule: "must be carried from before the writer's first Write on"}
	case !w.whole && w.cutter.Rule.Cut == record.Documents:
		return &ingest.FieldError{Field: "format", Value: string(w.t.p.Format), Rule: "must be one whose records are lines, or a single object, for a writer that carries positions"}
	}
	w.at = at
	return nil
}

// position is what a commit carries that ends after so many bytes.
func (w *Writer) position(written int64) []ingest.Position {
	if w.at == nil {
		return nil
	}
	return []ingest.Position{w.at(written)}
}

// Write makes the records that p completes durable, dead letters included: all of
// them or none, as long as they fit one IngestAll. When it returns len(p) and
// nil, everything but an unfinished last record is on stable storage. After an
// error every further Write returns the same error, because what follows would
// begin in the middle of a record. Errors: those of IngestAll; one that matches
// [ingest.ErrInvalid] for a record over [ingest.MaxRecordBytes]; a [*RecordError]
// with its line for a bad record where Options.OnBadRecord is StopAtBadRecord.
func (w *Writer) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	if w.closed {
		return 0, ErrClosed
	}
	w.partial = append(w.partial, p...)
	if err := w.ingestComplete(false); err != nil {
		w.err = err
		return 0, err
	}
	if w.whole && len(w.partial) > ingest.MaxRecordBytes {
		_, w.err = w.t.p.Record(w.partial)
		return 0, w.err
	}
	return len(p), nil
}

// ingestComplete ingests the complete records of partial and keeps the rest.
func (w *Writer) ingestComplete(end bool) error {
	if w.whole {
		return nil
	}
	var some cutRecords
	begin := 0
	for {
		n, p, ok := w.cutter.Cut(w.partial[begin:], end)
		begin += n
		if !ok {
			if n > 0 && begin < len(w.partial) {
				continue
			}
			break
		}
		if p.Marked {
			some.counts.Marks++
		}
		// The call is full: what it has is stored before this record.
		if some.size+len(p.Data) > MaxIngestAllBytes || len(some.records)+len(some.refused) == MaxIngestAllRecords {
			if err := w.ingest(&some); err != nil {
				return err
			}
		}
		some.end = w.behind + int64(begin)
		switch p.Kind {
		case record.Blank:
			some.counts.Blank++
		case record.Bad:
			err := &RecordError{Line: p.Line, Err: ingest.BadRecord(p.Data, p.Fault)}
			if p.Fault.Fatal || w.policy == StopAtBadRecord {
				return err
			}
			some.counts.Bad++
			if w.policy == DeadLetterBadRecords {
				some.refused = append(some.refused, Refused{Data: p.Data, Why: err.reason(p.Fault)})
				some.size += len(p.Data)
			}
		default:
			some.counts.Good++
			some.records = append(some.records, p.Data)
			some.size += len(p.Data)
		}
	}
	if err := w.ingest(&some); err != nil {
		return err
	}
	w.partial = append(w.partial[:0], w.partial[begin:]...)
	w.behind += int64(begin)
	return nil
}

// cutRecords are records that were cut and are to be stored together.
type cutRecords struct {
	records [][]byte
	refused []Refused
	size    int
	counts  record.Counts
	end     int64 // of them all, in the bytes written
}

// ingest makes the records durable, and in the same commit the bad ones between
// them and the position.
func (w *Writer) ingest(some *cutRecords) error {
	if len(some.records)+len(some.refused) > 0 {
		if err := w.t.ingestCut(w.ctx, some, w.position(some.end)); err != nil {
			return err
		}
	}
	w.counts.Add(some.counts)
	*some = cutRecords{}
	return nil
}

// ingestCut is IngestSorted of records that were cut by the table's rule, and so
// are checked.
func (t *Table) ingestCut(ctx context.Context, some *cutRecords, at []ingest.Position) error {
	if err := t.s.admit(ctx); err != nil {
		return err
	}
	caps, err := t.s.kept(&t.p)
	if err != nil {
		return err
	}
	for _, data := range some.records {
		if err := fitsBatch(caps, data); err != nil {
			return err
		}
	}
	_, err = t.storeSorted(ctx, some.records, some.refused, at)
	return err
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
	switch {
	case !w.whole:
		w.err = w.ingestComplete(true)
	case len(w.partial) > 0:
		if _, w.err = w.t.Ingest(w.ctx, w.partial, w.position(int64(len(w.partial)))...); w.err == nil {
			w.counts.Good++
		}
	}
	if w.err == nil {
		w.partial = nil
	}
	return w.err
}

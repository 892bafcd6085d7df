package engine

import (
	"context"

	"kustospool/ingest"
	"kustospool/ingest/record"
)

// Writer is an [io.WriteCloser] into the table. For a format that concatenates
// it cuts what is written into records as every source is cut (package
// record): lines, quoted lines, JSON documents. For any other format all that
// is written until Close is one object. It is not safe for use by several
// goroutines at once.
//
// ctx is used for every record the writer ingests.
func (t *Table) Writer(ctx context.Context) *Writer {
	w := &Writer{t: t, ctx: ctx, whole: !t.p.Concatenates(), policy: t.s.opts.table(TableName{t.p.Database, t.p.Table}).OnBadRecord}
	// A line that is wrong is said at once: the next may be long in coming.
	w.cutter = record.Cutter{Rule: t.s.rule(&t.p), Prompt: true}
	return w
}

// Writer is made by [Table.Writer].
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

// Records is the number of records that are durable so far, without those
// that were refused.
func (w *Writer) Records() int64 { return w.counts.Good }

// Counts are of what was cut so far: records, what was refused (by a policy
// other than StopAtBadRecord), blank lines and byte order marks.
func (w *Writer) Counts() record.Counts { return w.counts }

// Carry makes every commit of the writer carry a position, which at gives for
// the number of bytes written that are done with by that commit: up to the end
// of its last record, its line end included. A program that follows a
// file puts offset, and where it began to write, into it; after a crash it goes
// on there with a new writer, and neither skips nor repeats a record. Where a
// commit stores dead letters, they are in it too. Blank lines and records that
// were passed over make no commit of their own, so they may be read again.
//
// Close takes what has no line end as a record: while the file's last line may
// still grow, leave the writer open, or be without it.
//
// Carry is called before the first Write. at is called while Write and Close
// run. Its position has the bounds of [ingest.Position]; one that breaks them is
// the error of that Write, which then stores nothing of that commit. Carry
// is an [ingest.FieldError] for a nil at, after a Write, and for the format
// multijson, where an offset may lie within an array and no new writer could
// go on there.
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

// position is what a commit carries that ends behind so many bytes.
func (w *Writer) position(written int64) []ingest.Position {
	if w.at == nil {
		return nil
	}
	return []ingest.Position{w.at(written)}
}

// Write takes p and makes the records that it completes durable, all of them
// or none as long as they fit one IngestAll, dead letters among them. When it returns len(p) and nil, everything but an unfinished last
// record is on stable storage. After an error the writer refuses further
// writes with the same error, because what follows would begin in the middle
// of a record. A record over [ingest.MaxRecordBytes] is an error, and so, by the
// policy OnBadRecord, is what is no record: a [*RecordError] with its line.
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
		// What does not fit any more is stored first, up to where this begins.
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

// ingest makes records durable, and in the same commit what was refused
// between them and the position.
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

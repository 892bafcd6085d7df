package engine

import (
	"context"

	"kustospool/ingest"
	"kustospool/ingest/record"
	"kustospool/store"
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

// Write takes p and makes the records that it completes durable, all of them
// or none as long as they fit one IngestAll. When it returns len(p) and nil, everything but an unfinished last
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
		switch p.Kind {
		case record.Blank:
			some.counts.Blank++
			continue
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
			if some.size+len(p.Data) > MaxIngestAllBytes || len(some.records) == MaxIngestAllRecords {
				if err := w.ingest(&some); err != nil {
					return err
				}
			}
			some.counts.Good++
			some.records = append(some.records, p.Data)
			some.size += len(p.Data)
		}
	}
	if err := w.ingest(&some); err != nil {
		return err
	}
	w.partial = append(w.partial[:0], w.partial[begin:]...)
	return nil
}

// cutRecords are records that were cut and are to be stored together.
type cutRecords struct {
	records [][]byte
	refused []Refused
	size    int
	counts  record.Counts
}

// ingest makes records durable, and what was refused with them.
func (w *Writer) ingest(some *cutRecords) error {
	if err := w.t.ingestCut(w.ctx, some.records); err != nil {
		return err
	}
	if len(some.refused) > 0 {
		if _, err := w.t.DeadLetter(w.ctx, some.refused...); err != nil {
			return err
		}
	}
	w.counts.Add(some.counts)
	*some = cutRecords{}
	return nil
}

// ingestCut is IngestAll of records that were cut by the table's rule.
func (t *Table) ingestCut(ctx context.Context, records [][]byte) error {
	if len(records) == 0 {
		return nil
	}
	if err := t.s.admit(ctx); err != nil {
		return err
	}
	caps, err := t.s.kept(&t.p)
	if err != nil {
		return err
	}
	recs := make([]store.Record, len(records))
	for i, data := range records {
		if err := fitsBatch(caps, data); err != nil {
			return err
		}
		recs[i].Data = data
	}
	l, err := t.found(ctx)
	if err != nil {
		return err
	}
	for i := range recs {
		recs[i].Lane = l.id
	}
	_, err = t.s.ingestAll(ctx, recs)
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
		if _, w.err = w.t.Ingest(w.ctx, w.partial); w.err == nil {
			w.counts.Good++
		}
	}
	if w.err == nil {
		w.partial = nil
	}
	return w.err
}

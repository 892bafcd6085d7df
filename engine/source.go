package engine

import (
	"context"
	"errors"
	"fmt"
	"io"

	"kustospool/ingest"
	"kustospool/store"
)

// smallSource is up to how many bytes a source is stored like other records;
// above, it goes to disk as it is read, as objects.
const smallSource = 4 << 20

// IngestReader makes all that r holds durable, or nothing of it, and returns
// one receipt for it. r is read to its end and not closed; it must not be
// compressed. Memory is bounded by some megabytes, or by one record, whatever
// r holds.
//
// For a format that concatenates, r holds records as [Table.Writer] takes
// them, and multijson documents; a byte order mark and blank lines are passed
// over. More than one batch is cut at record boundaries. For any other format
// r is one object, of any size that the transport takes in one batch.
//
// The positions, if any, become durable with it all.
//
// The receipt's records are those of r in its order; [Spool.StatusAll] and
// [Spool.WaitAll] tell what became of them all.
//
// Errors are those of Ingest, and r's own, wrapped; after any of them but
// [ErrOutcomeUnknown] nothing is stored. ctx bounds the whole call, but cannot
// break off a Read of r. A source that finds the spool full waits, or does
// what else Options.Full says; one that alone is more than MaxDiskBytes is
// refused ([ingest.ErrInvalid]). Where only other sources that are being read
// have the room, and nothing stored could make any, it gives way with
// [ErrFull], whatever the policy: they would wait for each other for ever.
func (s *Spool) IngestReader(ctx context.Context, p ingest.Properties, r io.Reader, at ...ingest.Position) (ingest.Receipt, error) {
	if r == nil {
		return ingest.Receipt{}, &ingest.FieldError{Field: "reader", Rule: "must not be nil"}
	}
	return s.ingestSources(ctx, p, at, func(in *intake) error { return in.take(r) })
}

// ingestSources makes everything durable that feed takes in, or nothing.
func (s *Spool) ingestSources(ctx context.Context, p ingest.Properties, at []ingest.Position, feed func(*intake) error) (ingest.Receipt, error) {
	if err := s.admit(ctx); err != nil {
		return ingest.Receipt{}, err
	}
	if err := p.Validate(); err != nil {
		return ingest.Receipt{}, err
	}
	if p.ByReference {
		return ingest.Receipt{}, &ingest.FieldError{Field: "byReference", Rule: "is for IngestBlob; this call takes the data itself"}
	}
	if _, err := s.kept(&p); err != nil {
		return ingest.Receipt{}, err
	}
	in := &intake{s: s, ctx: ctx, p: &p, at: at, options: s.tableOptions(&p)}
	err := feed(in)
	var rcpt ingest.Receipt
	if err == nil {
		rcpt, err = in.finish()
	}
	in.discard()
	return rcpt, err
}

// intake collects what becomes durable together: in memory while it is small,
// and then in objects.
type intake struct {
	s       *Spool
	ctx     context.Context
	p       *ingest.Properties
	at      []ingest.Position
	options TableOptions

	small      [][]byte // copies, while there are no objects
	smallBytes int
	objects    []*store.Object
	bytes      int64 // in objects
}

// take reads one source to its end.
func (in *intake) take(r io.Reader) error {
	if !in.p.Concatenates() {
		return in.takeWhole(r)
	}
	scan := newRecordScanner(r, in.p.Format)
	for {
		rec, err := scan.next()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = in.ctx.Err()
		}
		if err == nil {
			if rec, err = in.s.check(in.p, rec, ""); err != nil {
				err = fmt.Errorf("record %d: %w", scan.n, err)
			}
		}
		if err == nil {
			err = in.record(rec)
		}
		if err != nil {
			return err
		}
	}
}

// record takes one record of a format that concatenates.
func (in *intake) record(rec []byte) error {
	if len(in.objects) == 0 {
		if in.smallBytes+len(rec) <= smallSource {
			in.keep(append([]byte(nil), rec...))
			return nil
		}
		if err := in.spill(); err != nil {
			return err
		}
	}
	return in.store(rec)
}

func (in *intake) keep(rec []byte) {
	in.small = append(in.small, rec)
	in.smallBytes += len(rec) + 64 // what a slice costs beside its bytes
}

// spill moves what was kept in memory into objects.
func (in *intake) spill() error {
	small := in.small
	in.small, in.smallBytes = nil, 0
	for _, rec := range small {
		if in.p.Concatenates() {
			if err := in.store(rec); err != nil {
				return err
			}
			continue
		}
		o, err := in.object()
		if err == nil {
			err = in.write(o, rec)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// store puts a record into the last object, or into the next where that has
// as much as a batch may have.
func (in *intake) store(rec []byte) error {
	var o *store.Object
	if n := len(in.objects); n > 0 {
		o = in.objects[n-1]
	}
	limit := in.options.Batch
	if o == nil || !o.Room(len(rec), limit.MaxBytes) || limit.MaxRecords > 0 && o.Records() >= limit.MaxRecords {
		var err error
		if o, err = in.object(); err != nil {
			return err
		}
	}
	in.bytes += int64(len(rec))
	return in.wait(func() error { return o.Record(rec) })
}

// object begins the next one.
func (in *intake) object() (*store.Object, error) {
	l, err := in.s.lane(in.ctx, in.p)
	if err != nil {
		return nil, err
	}
	var o *store.Object
	err = in.wait(func() (err error) {
		o, err = in.s.store.NewObject(l.id)
		return err
	})
	if err != nil {
		return nil, err
	}
	in.objects = append(in.objects, o)
	return o, nil
}

// takeWhole takes a source that is one record.
func (in *intake) takeWhole(r io.Reader) error {
	head, err := io.ReadAll(io.LimitReader(r, smallSource+1))
	if err != nil {
		return fmt.Errorf("reading the source: %w", err)
	}
	if len(head) == 0 {
		_, err := in.p.Record(head)
		return err
	}
	if len(in.objects) == 0 {
		if in.smallBytes+len(head) <= smallSource {
			if _, err := in.s.check(in.p, head, ""); err != nil {
				return err
			}
			in.keep(head)
			return nil
		}
		if err := in.spill(); err != nil {
			return err
		}
	}
	o, err := in.object()
	if err != nil {
		return err
	}
	if err := in.write(o, head); err != nil {
		return err
	}
	if len(head) <= smallSource {
		return nil
	}
	buf := head[:min(len(head), scanBuffer)]
	for {
		if err := in.ctx.Err(); err != nil {
			return err
		}
		n, err := r.Read(buf)
		if werr := in.write(o, buf[:n]); werr != nil {
			return werr
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading the source, behind byte %d: %w", o.Bytes(), err)
		}
	}
}

// write adds to the one record of an object.
func (in *intake) write(o *store.Object, p []byte) error {
	in.bytes += int64(len(p))
	if limit := in.s.capabilities(in.p, in.options.Guarantee).MaxBatchBytes; limit > 0 && o.Bytes()+int64(len(p)) > limit {
		return &ingest.FieldError{Field: "source", Rule: fmt.Sprintf("one object of format %s must have at most %d bytes, which the transport takes in one batch", in.p.Format, limit)}
	}
	return in.wait(func() error {
		n, err := o.Write(p)
		p = p[n:]
		return err
	})
}

var errGaveWay = errors.New("engine: gave way to other sources")

// wait tries what may find the spool full.
func (in *intake) wait(try func() error) error {
	err := try()
	if !errors.Is(err, ErrFull) {
		return err
	}
	var alone error
	err = in.s.whenRoom(in.ctx, func() error {
		err := try()
		if !errors.Is(err, ErrFull) {
			return err
		}
		if big := in.s.fitsAtAll(in.bytes); big != nil {
			return big
		}
		if in.s.Stats().Spooled() == 0 {
			// Nothing that is stored can make room: other sources that are being
			// taken in have it. One must give way, or all of them wait for ever.
			alone = err
			return errGaveWay
		}
		return err
	})
	if errors.Is(err, errGaveWay) {
		return alone
	}
	return err
}

// finish makes it all durable, in one transaction.
func (in *intake) finish() (ingest.Receipt, error) {
	if len(in.small) == 0 && len(in.objects) == 0 {
		return ingest.Receipt{}, &ingest.FieldError{Field: "source", Rule: "must hold at least one record"}
	}
	l, err := in.s.lane(in.ctx, in.p)
	if err != nil {
		return ingest.Receipt{}, err
	}
	if len(in.objects) == 0 {
		recs := make([]store.Record, len(in.small))
		for i, data := range in.small {
			recs[i] = store.Record{Lane: l.id, Data: data}
		}
		receipts, err := in.s.ingestAll(in.ctx, recs, in.at...)
		if err != nil {
			return ingest.Receipt{}, err
		}
		rcpt := receipts[0]
		rcpt.Records = int64(len(receipts)) // one transaction: their numbers follow each other
		return rcpt, nil
	}
	var appended []store.Appended
	if err := in.wait(func() (err error) {
		appended, err = in.s.store.AppendObjectsWith(in.ctx, in.objects, in.at)
		return err
	}); err != nil {
		return ingest.Receipt{}, err
	}
	rcpt := in.s.receipt(l.id, appended[0])
	rcpt.Records = 0
	for _, o := range in.objects {
		rcpt.Records += o.Records()
	}
	return rcpt, nil
}

// discard removes the objects that were not stored. What cannot be removed is
// no error of the call's: the next Open removes it.
func (in *intake) discard() {
	for _, o := range in.objects {
		if err := o.Discard(); err != nil {
			in.s.log.Warn("an object that was not stored cannot be removed", "err", err)
		}
	}
}

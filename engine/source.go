package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"kustospool/engine/internal/plug"
	"kustospool/ingest"
	"kustospool/ingest/content"
	"kustospool/ingest/record"
	"kustospool/store"
)

// smallSource is the size up to which a source is stored like other records. A
// larger one goes to disk while it is read, as objects.
const smallSource = 4 << 20

// copyBuffer is how much of an object is read at a time.
const copyBuffer = 256 << 10

// IngestReader makes all that r holds durable, or nothing of it, and returns
// one receipt for it. r is read to its end and not closed; it must not be
// compressed. Memory is bounded by some megabytes, or by one record, whatever
// r holds.
//
// For a format that concatenates, r is cut into records by the rules of package
// record: byte order marks are removed, blank lines passed over, and both are
// counted. What is too large for one batch becomes several, cut between records.
// For any other format r is one object, which must fit into one batch of the
// transport. The beginning of r must look like p's format (package content):
// archives, compressed data, UTF-16 and files of other formats are refused.
//
// The positions, if any, become durable in the same commit.
//
// The receipt is for all records of r, in its order; ask [Spool.StatusAll] or
// [Spool.WaitAll]. Bad records end as Options.OnBadRecord says and are counted in
// Receipt.Bad. Where r has only bad ones, and they are stored as dead letters,
// the receipt is for those and Bad is 0.
//
// Errors are those of Ingest, [*RecordError], and r's own, wrapped; after any of them but
// [ErrOutcomeUnknown] nothing is stored. ctx bounds the whole call, but cannot
// break off a Read of r. A source that finds the spool full does what Options.Full
// says; one that alone is larger than MaxDiskBytes is refused
// ([ingest.ErrInvalid]). Where all of the room is taken by other sources that are
// being read, it fails with [ErrFull] whatever the policy, because they would wait
// for each other for ever.
func (s *Spool) IngestReader(ctx context.Context, p ingest.Properties, r io.Reader, at ...ingest.Position) (ingest.Receipt, error) {
	if r == nil {
		return ingest.Receipt{}, &ingest.FieldError{Field: "reader", Rule: "must not be nil"}
	}
	return s.ingestSources(ctx, p, at, func(in *intake) error { return in.take(plug.Reader(r), "") })
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
	o, err := s.tableOptions(&p)
	if err != nil {
		return ingest.Receipt{}, err
	}
	in := &intake{s: s, ctx: ctx, p: &p, at: at, rule: s.rule(&p), options: o}
	defer in.discard()
	if err := feed(in); err != nil {
		return ingest.Receipt{}, err
	}
	return in.finish()
}

// intake collects what becomes durable together: in memory while it is small,
// and then in objects.
type intake struct {
	s       *Spool
	ctx     context.Context
	p       *ingest.Properties
	rule    record.Rule
	at      []ingest.Position
	options TableOptions

	small      [][]byte // copies, while there are no objects
	smallBytes int
	objects    []*store.Object
	bytes      int64 // in objects
	counts     record.Counts
	refused    refusedIntake
}

// take reads one source to its end. name is for errors and may be empty.
func (in *intake) take(r io.Reader, name string) error {
	if in.p.ZipPattern == "" { // else the source is an archive, as it should be
		r = content.NewReader(r, in.p.Format)
	}
	if !in.p.Concatenates() {
		return in.misfit(in.takeWhole(r), name)
	}
	caps, err := in.s.kept(in.p)
	if err != nil {
		return err
	}
	scan := record.NewReader(r, in.rule)
	for {
		piece, err := scan.Next()
		if err == io.EOF {
			in.counts.Add(scan.Counts())
			return nil
		}
		if err != nil {
			return in.misfit(fmt.Errorf("reading the source, behind record %d: %w", scan.Counts().Good, err), name)
		}
		if err := in.ctx.Err(); err != nil {
			return err
		}
		switch {
		case piece.Kind == record.Bad:
			err = in.bad(piece, name)
		default:
			if err = fitsBatch(caps, piece.Data); err != nil {
				return &RecordError{Source: name, Line: piece.Line, Err: err}
			}
			err = in.record(piece.Data)
		}
		if err != nil {
			return err
		}
	}
}

// misfit makes a [*RecordError] of a source that does not begin like its format.
func (in *intake) misfit(err error, name string) error {
	if m, ok := errors.AsType[*content.Mismatch](err); ok {
		return &RecordError{Source: name, Err: &ingest.FieldError{Field: "source", Rule: m.Error()}}
	}
	return err
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
	if err := in.spillRefused(); err != nil {
		return err
	}
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
	o, err := in.objectOf(in.p)
	if err == nil {
		in.objects = append(in.objects, o)
	}
	return o, err
}

func (in *intake) objectOf(p *ingest.Properties) (*store.Object, error) {
	l, err := in.s.lane(in.ctx, p)
	if err != nil {
		return nil, err
	}
	var o *store.Object
	err = in.wait(func() (err error) {
		o, err = in.s.store.NewObject(l.id)
		return err
	})
	return o, err
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
	buf := head[:min(len(head), copyBuffer)]
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

// write appends to the one record of an object.
func (in *intake) write(o *store.Object, p []byte) error {
	in.bytes += int64(len(p))
	caps, err := in.s.capabilities(in.p, in.options.Guarantee)
	if err != nil {
		return err
	}
	if limit := caps.MaxBatchBytes; limit > 0 && o.Bytes()+int64(len(p)) > limit {
		return &ingest.FieldError{Field: "source", Rule: fmt.Sprintf("one object of format %s must have at most %d bytes, which the transport takes in one batch", in.p.Format, limit)}
	}
	return in.wait(func() error {
		n, err := o.Write(p)
		p = p[n:]
		return err
	})
}

var errGaveWay = errors.New("engine: gave way to other sources")

// wait calls try, again and again while the spool is full.
func (in *intake) wait(try func() error) error {
	err := try()
	if !errors.Is(err, ErrFull) {
		if err == nil {
			in.s.noRoom.stored()
		}
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
		if in.s.spooled() == 0 {
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

// finish makes it all durable, in one transaction: the records first, and then
// what was refused.
func (in *intake) finish() (rcpt ingest.Receipt, err error) {
	if err := in.s.letters.ownNames(in.at); err != nil {
		return ingest.Receipt{}, err
	}
	forget := in.s.refusals.note(in.refused.noted)
	defer func() {
		if err != nil {
			forget()
		}
		if rcpt.Bad, rcpt.Blank, rcpt.Marks = in.counts.Bad, in.counts.Blank, in.counts.Marks; in.counts.Good == 0 && in.p.Concatenates() {
			rcpt.Bad = 0 // the receipt is for them
		}
	}()
	if objects := append(in.objects[:len(in.objects):len(in.objects)], in.refused.objects...); len(objects) > 0 {
		return in.finishObjects(objects)
	}
	recs := make([]store.Record, 0, len(in.small)+len(in.refused.small))
	for _, of := range []struct {
		p    ingest.Properties
		data [][]byte
	}{{*in.p, in.small}, {refusedProperties(in.p), in.refused.small}} {
		if len(of.data) == 0 {
			continue
		}
		l, err := in.s.lane(in.ctx, &of.p)
		if err != nil {
			return ingest.Receipt{}, err
		}
		for _, data := range of.data {
			recs = append(recs, store.Record{Lane: l.id, Data: data})
		}
	}
	if len(recs) == 0 {
		return ingest.Receipt{}, &ingest.FieldError{Field: "source", Rule: "must hold at least one record"}
	}
	receipts, err := in.s.ingestAll(in.ctx, recs, in.at...)
	if err != nil {
		return ingest.Receipt{}, err
	}
	rcpt = receipts[0]
	// One transaction: the numbers of each lane follow each other.
	if rcpt.Records = int64(len(in.small)); rcpt.Records == 0 {
		rcpt.Records = int64(len(receipts))
	}
	return rcpt, nil
}

func (in *intake) finishObjects(objects []*store.Object) (ingest.Receipt, error) {
	called := in.s.events.called()
	var appended []store.Appended
	if err := in.wait(func() (err error) {
		appended, err = in.s.store.AppendObjects(in.ctx, objects, in.at)
		return err
	}); err != nil {
		return ingest.Receipt{}, err
	}
	in.s.events.returned(called)
	p, first := *in.p, in.objects
	if len(first) == 0 {
		p, first = refusedProperties(in.p), in.refused.objects
	}
	l, err := in.s.lane(in.ctx, &p) // known: it has objects
	if err != nil {
		return ingest.Receipt{}, err
	}
	rcpt := in.s.receipt(l.id, appended[0])
	rcpt.Records = 0
	for _, o := range first {
		rcpt.Records += o.Records()
	}
	return rcpt, nil
}

// discard removes the objects that were not stored. A failure is only logged,
// because the next Open removes them.
func (in *intake) discard() {
	for _, o := range slices.Concat(in.objects, in.refused.objects) {
		if err := o.Discard(); err != nil {
			in.s.log.Warn("an object that was not stored cannot be removed", "err", err)
		}
	}
}

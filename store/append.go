package store

import (
	"context"
	"errors"
	"fmt"

	"kustospool/ingest"
	"kustospool/store/internal/object"
	"kustospool/store/internal/wal"
)

// appendCall is what one call of Append gives the log, kept for reuse.
type appendCall struct {
	recs []wal.Record
	out  []wal.Appended
	from []run // which of the caller's records each of recs is; for large ones
}

// run is neighbours among the records of a call.
type run struct{ first, n int }

// Append stores all of the records or none, in one transaction, and answers
// with their sequence numbers in the same order. They are on stable storage
// when it returns nil. The data is read as it is: the caller has checked it
// with [ingest.Properties.Record].
//
// A record with a Key that was stored in its lane within the key retention is
// not stored again; its answer is the first one's. A record of more than 1 MiB
// goes to a file of its own first, like an [Object], so that nothing later
// needs a buffer of its size.
//
// An error means that nothing was stored: one that matches
// [ingest.ErrInvalid], ErrNotFound for an unknown lane, ErrFull, ErrClosed,
// ErrFailed, or ctx's error when ctx ended while the call still waited for
// its turn. Once its commit has begun the outcome is waited for. The exception
// is ErrOutcomeUnknown, which says what its name says.
func (s *Store) Append(ctx context.Context, recs []Record) ([]Appended, error) {
	return s.AppendWith(ctx, recs, nil)
}

// AppendWith is Append with positions that become durable in the same commit:
// either all of the records and positions are stored or nothing is. A position
// replaces the one of the same name. Without records the positions alone are
// stored. The spool has at most MaxPositions.
func (s *Store) AppendWith(ctx context.Context, recs []Record, positions []Position) ([]Appended, error) {
	if len(recs) == 0 && len(positions) == 0 {
		return nil, s.Err()
	}
	large := false
	for i := range recs {
		r := &recs[i]
		if err := s.check(r.Lane, r.Data, r.Key); err != nil {
			return nil, err
		}
		large = large || len(r.Data) > DefaultFrameBytes
	}
	if err := s.ready(ctx); err != nil {
		return nil, err
	}
	var carried []wal.Position
	if len(positions) > 0 {
		list, drop, err := s.carry(positions)
		if err != nil {
			return nil, err
		}
		defer drop()
		carried = list
	}
	b := s.newAppendCall(len(recs))
	defer s.scratch.Put(b)
	if large {
		return s.appendLarge(ctx, b, recs, carried)
	}
	for i := range recs {
		b.recs = append(b.recs, s.record(&recs[i]))
	}
	if err := s.send(ctx, b, carried); err != nil {
		return nil, err
	}
	out := make([]Appended, len(recs))
	for i, a := range b.out {
		out[i] = Appended(a)
	}
	return out, nil
}

// AppendOne is Append for one record, without the slices.
func (s *Store) AppendOne(ctx context.Context, lane uint32, data []byte, key string) (Appended, error) {
	if len(data) > DefaultFrameBytes {
		out, err := s.Append(ctx, []Record{{Lane: lane, Data: data, Key: key}})
		if err != nil {
			return Appended{}, err
		}
		return out[0], nil
	}
	if err := s.check(lane, data, key); err != nil {
		return Appended{}, err
	}
	if err := s.ready(ctx); err != nil {
		return Appended{}, err
	}
	r := Record{Lane: lane, Data: data, Key: key}
	if key != "" {
		if err := s.keys.wait(ctx, s.failed); err != nil {
			return Appended{}, err
		}
	}
	a, err := s.wal.AppendOne(ctx, s.record(&r))
	if err != nil {
		return Appended{}, s.refused(err)
	}
	return Appended(a), nil
}

// newAppendCall gives an empty one with room for n records.
func (s *Store) newAppendCall(n int) *appendCall {
	b, ok := s.scratch.Get().(*appendCall)
	if !ok {
		b = &appendCall{}
	}
	clear(b.recs[:cap(b.recs)])
	b.recs, b.out, b.from = b.recs[:0], b.out[:0], b.from[:0]
	return b
}

// ready refuses what is not to be tried.
func (s *Store) ready(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.Err()
}

// check validates a record before it can disturb others.
func (s *Store) check(lane uint32, data []byte, key string) error {
	if s.lanes.get(lane) == nil {
		return fmt.Errorf("%w: no lane %d", ErrNotFound, lane)
	}
	if len(data) == 0 || len(data) > ingest.MaxRecordBytes {
		return recordSize(len(data))
	}
	if len(key) > ingest.MaxKeyBytes {
		return &ingest.FieldError{Field: "key", Value: fmt.Sprintf("of %d bytes", len(key)), Rule: fmt.Sprintf("must have at most %d bytes", ingest.MaxKeyBytes)}
	}
	return nil
}

func recordSize(n int) error {
	return &ingest.FieldError{Field: "data", Value: fmt.Sprintf("of %d bytes", n), Rule: fmt.Sprintf("must have 1 to %d bytes", ingest.MaxRecordBytes)}
}

// record is a record as the log takes it.
func (s *Store) record(r *Record) wal.Record {
	w := wal.Record{Lane: r.Lane, Data: r.Data}
	if r.Key != "" {
		w.HasKey, w.Key = true, hashKey(s.id, r.Lane, r.Key)
	}
	return w
}

// send gives the log what is in b.recs; the answers are in b.out.
func (s *Store) send(ctx context.Context, b *appendCall, positions []wal.Position) error {
	for i := range b.recs {
		if b.recs[i].HasKey {
			if err := s.keys.wait(ctx, s.failed); err != nil {
				return err
			}
			break
		}
	}
	if n := len(b.recs); cap(b.out) < n {
		b.out = make([]wal.Appended, n)
	} else {
		b.out = b.out[:n]
	}
	return s.refused(s.wal.Append(ctx, b.recs, positions, b.out))
}

// appendLarge is Append where some records are too large for a frame. These
// go to objects first; neighbours of one lane share one, unless they have keys,
// since each of these may turn out to be there already.
func (s *Store) appendLarge(ctx context.Context, b *appendCall, recs []Record, positions []wal.Position) ([]Appended, error) {
	var objects []*object.Writer
	stored := make([]bool, 0, 4) // whether the log refers to it, or may
	defer func() {
		for i, w := range objects {
			if stored[i] {
				w.Retain()
			}
			// What became of the records does not hang on it: the next Open removes it.
			if err := w.Discard(); err != nil {
				s.complain("a file of records that are not needed stays", err)
			}
		}
	}()
	answers := make([]Appended, len(recs))
	for i := 0; i < len(recs); i++ {
		r := &recs[i]
		wr, n := s.record(r), 1
		if len(r.Data) > DefaultFrameBytes {
			if wr.HasKey {
				seq, ok, err := gate{s}.Key(r.Lane, wr.Key)
				if err != nil {
					return nil, err
				}
				if ok {
					answers[i] = Appended{Seq: seq, Duplicate: true}
					continue
				}
			}
			n = s.neighbours(recs[i:])
			w, err := s.writeLarge(recs[i : i+n])
			if w != nil {
				objects, stored = append(objects, w), append(stored, false)
			}
			if err != nil {
				return nil, s.objectError(err)
			}
			wr.Data, wr.Ref = nil, refOf(w)
		}
		b.recs, b.from = append(b.recs, wr), append(b.from, run{i, n})
		i += n - 1
	}
	if len(objects) > 0 {
		if err := s.objects.Sync(); err != nil {
			return nil, err
		}
	}
	var err error
	if len(b.recs) > 0 || len(positions) > 0 {
		err = s.send(ctx, b, positions)
	}
	if err != nil && !errors.Is(err, ErrOutcomeUnknown) {
		return nil, err
	}
	next := 0
	for i := range b.recs {
		if b.recs[i].Ref != nil {
			stored[next] = err != nil || !b.out[i].Duplicate
			next++
		}
	}
	if err != nil {
		return nil, err
	}
	for i, a := range b.out {
		for j := range b.from[i].n {
			answers[b.from[i].first+j] = Appended{Seq: a.Seq + uint64(j), Duplicate: a.Duplicate}
		}
	}
	return answers, nil
}

// neighbours is how many records, from the first on, may share an object.
func (s *Store) neighbours(recs []Record) int {
	if s.lanes.get(recs[0].Lane).separator == 0 || recs[0].Key != "" {
		return 1
	}
	for n := 1; ; n++ {
		if n == len(recs) || recs[n].Lane != recs[0].Lane || recs[n].Key != "" || len(recs[n].Data) <= DefaultFrameBytes {
			return n
		}
	}
}

// writeLarge writes records of one lane to an object, which the caller discards.
func (s *Store) writeLarge(recs []Record) (*object.Writer, error) {
	l := s.lanes.get(recs[0].Lane)
	w, err := s.objects.New(l.separator)
	if err != nil {
		return nil, err
	}
	for i := range recs {
		if l.separator > 0 {
			err = w.Record(recs[i].Data)
		} else {
			_, err = w.Write(recs[i].Data)
		}
		if err != nil {
			return w, err
		}
	}
	return w, w.Finish()
}

func refOf(w *object.Writer) *wal.Ref {
	return &wal.Ref{Object: w.ID(), Size: w.Size(), Records: uint32(w.Records()), Bytes: w.Bytes()}
}

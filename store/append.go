package store

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"kustospool/ingest"
)

// waiter is one call of Append in the committer's queue.
type waiter struct {
	recs  []Record
	out   []Appended
	bytes int64 // data of all records

	one    [1]Record
	oneOut [1]Appended

	// joined is 0 while it waits, 1 once its records are read and its outcome
	// must be waited for, 2 when its caller gave up first. Who moves it from 0
	// says who may touch the waiter last.
	joined atomic.Uint32
	err    error         // valid once done is closed
	done   chan struct{} // its cohort's
}

// waiterPool keeps waiters for reuse.
type waiterPool struct{ pool sync.Pool }

func (p *waiterPool) get() *waiter {
	if w, ok := p.pool.Get().(*waiter); ok {
		return w
	}
	return &waiter{}
}

func (p *waiterPool) put(w *waiter) {
	w.recs, w.out, w.one[0], w.err, w.done = nil, nil, Record{}, nil, nil
	w.joined.Store(0)
	p.pool.Put(w)
}

// Append stores all of the records or none, in one transaction, and answers
// with their sequence numbers in the same order. They are on stable storage
// when it returns nil. The data is read as it is: the caller has checked it
// with [ingest.Properties.Record].
//
// A record with a Key that was stored in its lane within the key retention is
// not stored again; its answer is the first one's.
//
// An error means that nothing was stored: one that matches
// [ingest.ErrInvalid], ErrNotFound for an unknown lane, ErrFull, ErrClosed,
// ErrFailed, or ctx's error when ctx ended while the call still waited for
// its turn. Once its commit has begun the outcome is waited for. The exception
// is ErrOutcomeUnknown, which says what its name says.
func (s *Store) Append(ctx context.Context, recs []Record) ([]Appended, error) {
	if len(recs) == 0 {
		return nil, s.Err()
	}
	w := s.waiters.get()
	out := make([]Appended, len(recs))
	w.recs, w.out = recs, out
	if err := s.append(ctx, w); err != nil {
		return nil, err
	}
	return out, nil
}

// AppendOne is Append for one record, without the slices.
func (s *Store) AppendOne(ctx context.Context, lane uint32, data []byte, key string) (Appended, error) {
	w := s.waiters.get()
	w.one[0] = Record{Lane: lane, Data: data, Key: key}
	w.recs, w.out = w.one[:], w.oneOut[:]
	w.oneOut[0] = Appended{}
	return s.appendOne(ctx, w)
}

// appendOne reads the answer before the waiter is anybody else's.
func (s *Store) appendOne(ctx context.Context, w *waiter) (Appended, error) {
	recycled, err := s.submit(ctx, w)
	if recycled {
		return Appended{}, err
	}
	out := w.oneOut[0]
	s.waiters.put(w)
	if err != nil {
		return Appended{}, err
	}
	return out, nil
}

func (s *Store) append(ctx context.Context, w *waiter) error {
	recycled, err := s.submit(ctx, w)
	if !recycled {
		s.waiters.put(w)
	}
	return err
}

// submit queues a waiter and waits for its outcome. gone says that the waiter
// is the committer's to recycle.
func (s *Store) submit(ctx context.Context, w *waiter) (gone bool, err error) {
	if err := s.check(w); err != nil {
		return false, err
	}
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if err := s.Err(); err != nil {
		return false, err
	}
	if err := s.commit.enqueue(w); err != nil {
		return false, err
	}
	if ctx.Done() == nil {
		<-w.done
		return false, w.err
	}
	select {
	case <-w.done:
	case <-ctx.Done():
		if w.joined.CompareAndSwap(0, 2) {
			return true, ctx.Err()
		}
		<-w.done
	}
	return false, w.err
}

// check validates records before they can disturb others.
func (s *Store) check(w *waiter) error {
	w.bytes = 0
	for i := range w.recs {
		r := &w.recs[i]
		if s.lanes.get(r.Lane) == nil {
			return fmt.Errorf("%w: no lane %d", ErrNotFound, r.Lane)
		}
		if r.object != nil {
			w.bytes += frameHeaderLen + objectRefLen
			continue
		}
		if len(r.Data) == 0 || len(r.Data) > ingest.MaxRecordBytes {
			return recordSize(len(r.Data))
		}
		if len(r.Key) > ingest.MaxKeyBytes {
			return &ingest.FieldError{Field: "key", Value: fmt.Sprintf("of %d bytes", len(r.Key)), Rule: fmt.Sprintf("must have at most %d bytes", ingest.MaxKeyBytes)}
		}
		w.bytes += int64(len(r.Data))
	}
	return nil
}

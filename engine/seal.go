package engine

import (
	"context"
	"errors"
	"sync"
	"time"

	"kustospool/batching"
	"kustospool/store"
)

// sealer turns the open ranges of lanes into batches. The store's committer
// feeds it; one goroutine writes the seals, so they reach the ledger in order.
//
// While a lane has sealed batches that have not left, its open range is not
// sealed by age: an outage then ends in few large batches, which is what the
// service wants, and the ledger stays as small as the disk quota divided by
// the batch size.
type sealer struct {
	s *Spool

	mu      sync.Mutex // guards open and ready
	open    *batching.Aggregator
	ready   []batching.Span // decided, not yet in the ledger; in lane order
	flushes chan flush
	wake    chan struct{} // holds at most one token
}

type flush struct {
	ctx  context.Context
	done chan error // holds one
}

func newSealer(s *Spool) *sealer {
	policy := func(lane uint32) batching.Policy { return s.laneByID(lane).options.Batch }
	single := func(lane uint32) bool { return !s.laneByID(lane).properties.Concatenates() }
	return &sealer{
		s:       s,
		open:    batching.NewAggregator(policy, single),
		flushes: make(chan flush),
		wake:    make(chan struct{}, 1),
	}
}

// committed is the store's committer telling what it wrote. It decides and
// returns; the ledger is written by run.
func (q *sealer) committed(frames []store.Frame) {
	q.mu.Lock()
	defer q.mu.Unlock()
	lanes := q.open.Lanes()
	for _, f := range frames {
		q.addLocked(f)
	}
	// A span that only grows needs nobody's attention: its age is that of its
	// first record.
	if len(q.ready) > 0 || q.open.Lanes() != lanes {
		signal(q.wake)
	}
}

// recovered takes a frame that was written before this process began.
func (q *sealer) recovered(f store.Frame) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.addLocked(f)
	signal(q.wake)
}

func (q *sealer) addLocked(f store.Frame) {
	// The age as it is now, so that a clock that is set back later, or was ahead
	// when the record came, does not hold the span open.
	now := time.Now()
	oldest := now.Add(-max(0, now.Sub(f.At)))
	span := batching.Span{Lane: f.Lane, First: f.First, Last: f.Last, Bytes: f.Bytes, Oldest: oldest}
	q.ready = append(q.ready, q.open.Add(span)...)
}

// flush seals everything that is open and returns when it is durable.
func (q *sealer) flush(ctx context.Context) error {
	f := flush{ctx: ctx, done: make(chan error, 1)}
	select {
	case q.flushes <- f:
	case <-ctx.Done():
		return ctx.Err()
	case <-q.s.changes.closed():
		return ErrClosed
	}
	select {
	case err := <-f.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-q.s.changes.closed():
		return ErrClosed
	}
}

func (q *sealer) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	failures := 0
	for {
		var f *flush
		wake := q.wake
		if failures > 0 {
			wake = nil // it is the ledger that fails; new records do not hurry it
		}
		select {
		case <-ctx.Done():
			return
		case <-wake:
		case <-timer.C:
		case request := <-q.flushes:
			f = &request
		}
		// One moment for both: a deadline between two would be missed by both.
		now := time.Now()
		err := q.seal(ctx, now, f != nil)
		if f != nil {
			f.done <- err
		}
		next := q.next(now)
		switch {
		case err == nil:
			failures = 0
		case errors.Is(err, store.ErrClosed) || ctx.Err() != nil:
			return
		default:
			if failures == 0 {
				q.s.log.Error("cannot write the batch ledger; the records stay in the spool", "err", err)
			}
			failures++
			next = retryDelay(failures, q.s.opts.RetryMin, q.s.opts.RetryMax)
		}
		timer.Reset(next)
	}
}

// seal writes what is decided, and what is due now, to the ledger, and hands
// the new batches to the sender. What the ledger does not take stays ready.
func (q *sealer) seal(ctx context.Context, now time.Time, all bool) error {
	q.mu.Lock()
	q.ready = append(q.ready, q.open.Due(now, q.s.sender.waiting)...)
	if all {
		q.ready = append(q.ready, q.open.FlushAll()...)
	}
	spans := q.ready
	q.mu.Unlock()
	if len(spans) == 0 {
		return nil
	}
	seals := make([]store.Seal, len(spans))
	for i, span := range spans {
		o := q.s.laneByID(span.Lane).options
		seals[i] = store.Seal{Lane: span.Lane, First: span.First, Last: span.Last, Bytes: span.Bytes,
			Guarantee: o.Guarantee, Confirm: o.Confirm, Oldest: span.Oldest}
	}
	entries, err := q.s.batches.seal(ctx, seals)
	if err != nil {
		return err
	}
	q.mu.Lock()
	q.ready = q.ready[len(spans):] // the committer may have appended meanwhile
	if len(q.ready) == 0 {
		q.ready = nil
	}
	q.mu.Unlock()
	for _, e := range entries {
		q.s.queue(e)
	}
	return nil
}

// next is how long the sealer may sleep. A lane that is due and waits for its
// earlier batches does not count: the sender wakes the sealer when they leave.
func (q *sealer) next(now time.Time) time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	if at, ok := q.open.NextAfter(now); ok {
		return time.Until(at)
	}
	return time.Hour
}

// signal puts a token into a wake channel unless one is there.
func signal(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}

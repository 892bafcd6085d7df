package engine

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"kustospool/batching"
	"kustospool/engine/internal/lock"
	"kustospool/engine/internal/retry"
	"kustospool/internal/wake"
	"kustospool/store"
)

// sealer turns the open ranges of lanes into batches. One goroutine owns it and
// writes the seals, so they reach the ledger in order; what the log commits
// comes to it through a queue of its own.
//
// While a lane has sealed batches that have not left, its open range is sealed
// neither by age nor by a drain: an outage then ends in few large batches, which
// is what the service wants, however often the program is started meanwhile, and
// the ledger stays as small as the disk quota divided by the batch size. For age a
// lane with FreshFirst waits only for a batch that is fresh itself, so that an
// outage of hours does not end in one batch with the news of the last minute at
// its end.
type sealer struct {
	lanes              laneTerms
	books              sealBooks
	queue              sealedQueue
	news               *news
	emptied            <-chan struct{} // a lane has nothing waiting, or nothing unsent, any more
	closed             <-chan struct{} // the spool is closed
	flushes            chan flush
	drains             atomic.Int32 // Drains under way
	ledgerTrouble      *trouble
	retryMin, retryMax time.Duration

	// Owned by the goroutine.
	open  *batching.Aggregator
	ready []batching.Span // decided, not yet in the ledger; in lane order
	freed time.Time       // when a lane that is due waits for its earlier batches no more
}

// laneTerms says how a lane is cut into batches.
type laneTerms interface {
	get(lane uint32) *lane
}

// sealBooks makes batches durable.
type sealBooks interface {
	seal(context.Context, []store.Seal) ([]store.Entry, error)
}

// sealedQueue is where sealed batches wait.
type sealedQueue interface {
	Add(...store.Entry)
	// Waits is for how long at most a lane has batches that keep it from being
	// sealed by age.
	Waits(lane uint32, now time.Time) time.Duration
	Unsent(lane uint32) bool
}

// news is what the engine learns of the log's commits, until the sealer takes
// it in. It is all of the engine that is on the way of an acknowledgement: its
// lock is held for the copying of a few words.
type news struct {
	wake wake.Signal // for the sealer

	mu     lock.Mutex // guards frames and spare
	frames []store.Frame
	spare  []store.Frame // what was taken in before, to be filled again
}

func newNews() *news { return &news{wake: wake.New(), mu: lock.Mutex{Name: "news"}} }

// committed is the store's committer telling what it wrote.
func (n *news) committed(frames []store.Frame) {
	n.mu.Lock()
	n.frames = append(n.frames, frames...)
	n.mu.Unlock()
	n.wake.Raise()
}

// maxSpare bounds the frames for which memory is kept.
const maxSpare = 1 << 12

// take gives what there is. It is valid until the next call.
func (n *news) take() []store.Frame {
	n.mu.Lock()
	defer n.mu.Unlock()
	frames := n.frames
	n.frames = n.spare[:0]
	if n.spare = frames; cap(frames) > maxSpare {
		n.spare = nil
	}
	return frames
}

type flush struct {
	ctx    context.Context
	gently bool       // leave open what has something unsent before it in its lane
	done   chan error // holds one
}

func newSealer(lanes laneTerms) *sealer {
	policy := func(id uint32) batching.Policy { return lanes.get(id).options.Batch }
	single := func(id uint32) bool { return !lanes.get(id).properties.Concatenates() }
	return &sealer{lanes: lanes, open: batching.NewAggregator(policy, single), flushes: make(chan flush)}
}

// takeIn adds a frame to its lane's open range.
func (q *sealer) takeIn(f store.Frame) {
	// The age as it is now, so that a clock that is set back later, or was ahead
	// when the record came, does not hold the range open.
	now := time.Now()
	oldest := now.Add(-max(0, now.Sub(f.At)))
	span := batching.Span{Lane: f.Lane, First: f.First, Last: f.Last, Bytes: f.Bytes, Oldest: oldest}
	q.ready = append(q.ready, q.open.Add(span)...)
}

// flush seals everything that is open and returns when it is durable. Gently, it
// leaves open what has something unsent before it in its lane.
func (q *sealer) flush(ctx context.Context, gently bool) error {
	f := flush{ctx: ctx, gently: gently, done: make(chan error, 1)}
	select {
	case q.flushes <- f:
	case <-ctx.Done():
		return ctx.Err()
	case <-q.closed:
		return ErrClosed
	}
	select {
	case err := <-f.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-q.closed:
		return ErrClosed
	}
}

// restAfterNews is how long the sealer takes in no more commits after some.
// Waking it costs the committer a system call; one a commit cost a lone producer
// 8 % of its acknowledgements.
const restAfterNews = time.Millisecond

func (q *sealer) run(ctx context.Context) {
	timer := time.NewTimer(0) // what was found at the start may be due
	defer timer.Stop()
	rest := time.NewTimer(restAfterNews)
	defer rest.Stop()
	var news <-chan struct{} // nil while the sealer rests
	failures := 0
	for {
		var f *flush
		forced := false
		select {
		case <-ctx.Done():
			return
		case <-rest.C:
			news = q.news.wake
			continue
		case <-news:
			news = nil
			rest.Reset(restAfterNews)
		case <-q.emptied:
		case <-timer.C:
			forced = true
		case request := <-q.flushes:
			f, forced = &request, true
		}
		// Asked before the news are taken: what was acknowledged before the drain
		// began is then among them, and is not sealed in two.
		draining := q.drains.Load() > 0 || f != nil && f.gently
		for _, frame := range q.news.take() {
			q.takeIn(frame)
		}
		if failures > 0 && !forced {
			continue // it is the ledger that fails; new records do not hurry it
		}
		// One moment for both: a deadline between two would be missed by both.
		now := time.Now()
		err := q.seal(ctx, now, draining, f != nil && !f.gently)
		if f != nil {
			f.done <- err
		}
		next := q.next(now)
		switch {
		case err == nil:
			if failures > 0 {
				q.ledgerTrouble.end()
			}
			failures = 0
		case errors.Is(err, store.ErrClosed) || ctx.Err() != nil:
			return
		default:
			q.ledgerTrouble.begin("err", err)
			failures++
			next = retry.Delay(failures, q.retryMin, q.retryMax)
		}
		timer.Reset(next)
	}
}

// seal writes what is decided, and what is due now, to the ledger, and hands
// the new batches on. What the ledger does not take stays ready. All that is open is
// due in a flush, and in a drain where nothing unsent is before it.
func (q *sealer) seal(ctx context.Context, now time.Time, draining, all bool) error {
	q.freed = now.Add(time.Hour)
	q.ready = append(q.ready, q.open.Due(now, func(lane uint32) bool {
		d := q.queue.Waits(lane, now)
		if d > 0 && d < q.freed.Sub(now) {
			q.freed = now.Add(d)
		}
		return d > 0
	})...)
	switch {
	case all:
		q.ready = append(q.ready, q.open.Flush(nil)...)
	case draining:
		decided := make(map[uint32]bool, len(q.ready)) // and not in the queue yet
		for i := range q.ready {
			decided[q.ready[i].Lane] = true
		}
		q.ready = append(q.ready, q.open.Flush(func(lane uint32) bool { return decided[lane] || q.queue.Unsent(lane) })...)
	}
	if len(q.ready) == 0 {
		return nil
	}
	seals := make([]store.Seal, len(q.ready))
	for i, span := range q.ready {
		o := q.lanes.get(span.Lane).options
		seals[i] = store.Seal{Lane: span.Lane, First: span.First, Last: span.Last, Bytes: span.Bytes,
			Guarantee: o.Guarantee, Confirm: o.Confirm, Oldest: span.Oldest}
	}
	entries, err := q.books.seal(ctx, seals)
	if err != nil {
		return err
	}
	q.ready = nil
	q.queue.Add(entries...)
	return nil
}

// next is how long the sealer may sleep. A lane that is due and waits for its
// earlier batches counts with when it does not wait any more; it is told when
// they have left before.
func (q *sealer) next(now time.Time) time.Duration {
	at, ok := q.open.NextAfter(now)
	if !ok || q.freed.Before(at) {
		at = q.freed
	}
	return time.Until(at)
}

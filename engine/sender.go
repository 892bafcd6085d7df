package engine

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"kustospool/ingest"
	"kustospool/store"
	"kustospool/transport"
)

// parcel is a sealed batch as the sender's queues hold it. The rest of it is
// in the ledger.
type parcel struct {
	id       ingest.BatchID
	rotates  bool // goes to the end of its lane
	doubtful bool // an earlier attempt may have brought it in
	lane     uint32
	to       string // the destination
	first    uint64
	sealedAt time.Time
}

func (s *Spool) parcelOf(e store.Entry) parcel {
	return parcel{id: e.Batch.ID, rotates: e.Batch.Properties.ByReference, doubtful: e.Unresolved > 0, lane: e.Batch.Lane, to: s.destination(&e),
		first: e.Batch.First, sealedAt: e.Batch.SealedAt}
}

// queueKey names a queue: a lane and a destination. A lane has more than one
// only while a router has batches of it that were begun another way.
type queueKey struct {
	lane uint32
	to   string
}

// laneQueue holds what one lane has sealed and not yet sent to one destination,
// oldest first. In a lane of references to blobs what failed goes to the end:
// what is wrong with one blob says nothing of the next.
type laneQueue struct {
	key      queueKey
	queue    []parcel
	inFlight int
	probe    ingest.BatchID // the batch taken last

	// While the destination holds the lane back (a missing table, say), one
	// batch at a time probes, after notBefore.
	failures  int
	notBefore time.Time
	held      bool
	failure   *ingest.Failure
}

// sender decides which batch is attempted next and runs the attempts. Lanes
// take turns. At most as many attempts run as the destination's breaker allows,
// and none is begun while too many outcomes are awaited.
type sender struct {
	s    *Spool
	wake chan struct{} // holds at most one token

	mu       sync.Mutex // guards everything below; tracking.mu may be taken under it
	lanes    map[queueKey]*laneQueue
	turns    []*laneQueue // every lane, in turn
	turn     int
	ways     map[string]*way // by destination
	inFlight int             // on all ways
	begun    int64           // attempts
}

func newSender(s *Spool) *sender {
	return &sender{
		s:     s,
		wake:  make(chan struct{}, 1),
		lanes: make(map[queueKey]*laneQueue),
		ways:  make(map[string]*way),
	}
}

// add queues a sealed batch at its place in its lane.
func (d *sender) add(e store.Entry) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.queueLocked(d.s.parcelOf(e))
	signal(d.wake)
}

func (d *sender) queueLocked(p parcel) {
	q := d.laneLocked(queueKey{p.lane, p.to})
	if p.rotates { // sealed in order, so that new ones are at their place there, too
		q.queue = append(q.queue, p)
		return
	}
	at, _ := slices.BinarySearchFunc(q.queue, p.first, func(p parcel, first uint64) int { return cmp.Compare(p.first, first) })
	q.queue = slices.Insert(q.queue, at, p)
}

func (d *sender) laneLocked(key queueKey) *laneQueue {
	q := d.lanes[key]
	if q == nil {
		q = &laneQueue{key: key}
		d.lanes[key] = q
		d.turns = append(d.turns, q)
		d.wayLocked(key.to)
	}
	return q
}

// waiting reports whether the lane has sealed batches that have not left.
func (d *sender) waiting(lane uint32) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for to := range d.ways {
		if q := d.lanes[queueKey{lane, to}]; q != nil && len(q.queue) > 0 {
			return true
		}
	}
	return false
}

// takeOldest removes the oldest waiting batch of all lanes, so that no attempt
// begins on it. One that an earlier attempt may have brought in is taken only
// when there is no other.
func (d *sender) takeOldest() (parcel, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, doubtful := range []bool{false, true} {
		var from *laneQueue
		at := 0
		for _, q := range d.turns {
			i := slices.IndexFunc(q.queue, func(p parcel) bool { return p.doubtful == doubtful })
			if i >= 0 && (from == nil || q.queue[i].sealedAt.Before(from.queue[at].sealedAt)) {
				from, at = q, i
			}
		}
		if from != nil {
			p := from.queue[at]
			from.queue = slices.Delete(from.queue, at, at+1)
			d.takenLocked(from)
			return p, true
		}
	}
	return parcel{}, false
}

// takeLocked removes the lane's first batch.
func (d *sender) takeLocked(q *laneQueue) parcel {
	p := q.queue[0]
	q.queue = q.queue[1:]
	d.takenLocked(q)
	return p
}

// takenLocked tells the sealer of a lane that has nothing waiting any more: it
// may be sealed by age again.
func (d *sender) takenLocked(q *laneQueue) {
	if len(q.queue) == 0 {
		q.queue = nil
		signal(d.s.sealer.wake)
	}
}

// giveBack undoes takeOldest.
func (d *sender) giveBack(p parcel) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.queueLocked(p)
	signal(d.wake)
}

// run begins attempts until ctx ends, and then waits for those under way,
// which see the same ctx.
func (d *sender) run(ctx context.Context) {
	var attempts sync.WaitGroup
	defer attempts.Wait()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		p, wait, ok := d.pick(time.Now())
		if ok {
			attempts.Go(func() { d.attempt(ctx, p) })
			continue
		}
		timer.Reset(wait)
		select {
		case <-d.wake:
		case <-timer.C:
		case <-ctx.Done():
		}
	}
}

// pick takes the next batch that may be attempted now. When there is none,
// wait is how long it can be until there is, if nothing else happens.
func (d *sender) pick(now time.Time) (p parcel, wait time.Duration, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	open, wait := d.anyOpenLocked(now)
	if !open {
		return parcel{}, wait, false
	}
	for range d.turns {
		d.turn = (d.turn + 1) % len(d.turns)
		q := d.turns[d.turn]
		if len(q.queue) == 0 || q.failures > 0 && (q.inFlight > 0 || d.s.tracking.awaits(q.probe)) {
			continue
		}
		w := d.wayLocked(q.key.to)
		// A lane may await as many outcomes as it leaves free for the others:
		// one table of which nothing is heard must not stop them.
		if d.s.tracking.inLane(q.key)+q.inFlight >= d.s.tracking.room(w.to)-w.inFlight {
			continue
		}
		if until := q.notBefore.Sub(now); until > 0 {
			wait = min(wait, until)
			continue
		}
		if open, _ := d.openLocked(w, now); !open {
			continue // its pause is in wait
		}
		p = d.takeLocked(q)
		q.inFlight++
		q.probe = p.id
		w.inFlight++
		d.inFlight++
		d.begun++
		return p, 0, true
	}
	return parcel{}, wait, false
}

// result is what an attempt, or a verdict, means for the lane and the
// destination.
type result struct {
	again   []store.Entry // sealed batches to queue: the same one, or its halves
	err     *transport.Error
	settled bool // the batch's state is final
}

// finished takes an attempt's result into account.
func (d *sender) finished(p parcel, started time.Time, r result) {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.inFlight--
	q, w := d.laneLocked(queueKey{p.lane, p.to}), d.wayLocked(p.to)
	q.inFlight--
	w.inFlight--
	d.resultLocked(q, w, started, now, r)
	signal(d.wake)
}

// verdict takes the late outcome of a batch into account. It says nothing about whether the
// destination can be reached now.
func (d *sender) verdict(p parcel, r result) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.laneResultLocked(d.laneLocked(queueKey{p.lane, p.to}), time.Now(), r)
	signal(d.wake)
}

// resultLocked applies the result of an attempt.
func (d *sender) resultLocked(q *laneQueue, w *way, started, now time.Time, r result) {
	switch {
	case r.err != nil && r.err.Class.Destination():
		if w.gate.failed(started, now) {
			d.pauseLocked(w, now, r.err)
		}
		if r.err.RetryAfter > 0 { // a wish counts also beside another failure
			w.gate.pause(now.Add(r.err.RetryAfter))
		}
		w.failure = r.err.Failure(now).Following(w.failure)
		r.err = nil // not the lane's fault
	case r.err != nil && r.err.Class == transport.Unknown:
		if w.gate.doubted(started, now) {
			d.pauseLocked(w, now, r.err)
		}
		w.failure = r.err.Failure(now).Following(w.failure)
		r.err = nil
	default:
		w.gate.answered()
		w.failure = nil
	}
	d.laneResultLocked(q, now, r)
}

// pauseLocked keeps all lanes of a destination back after a failure of it.
func (d *sender) pauseLocked(w *way, now time.Time, err *transport.Error) {
	pause := retryDelay(w.gate.failures, d.s.opts.RetryMin, d.s.opts.RetryMax)
	w.gate.pause(now.Add(max(pause, err.RetryAfter)))
	if w.gate.failures == 1 {
		d.s.log.Warn("the destination is in trouble; batches wait", "err", err)
	}
}

// laneResultLocked applies what a result means for its lane. An attempt that
// is accepted is no success yet: a lane that is held back stays so until a
// batch of it is settled.
func (d *sender) laneResultLocked(q *laneQueue, now time.Time, r result) {
	for _, e := range r.again {
		d.queueLocked(d.s.parcelOf(e))
	}
	switch {
	case r.settled:
		q.failures, q.held, q.failure, q.notBefore = 0, false, nil, time.Time{}
	case r.err != nil && r.err.Class != transport.Malformed && r.err.Class != transport.Permanent:
		d.holdLocked(q, now, r.err)
	}
}

func (d *sender) holdLocked(q *laneQueue, now time.Time, err *transport.Error) {
	q.failures++
	q.held = err.Class == transport.Held
	q.failure = err.Failure(now).Following(q.failure)
	pause := retryDelay(q.failures, d.s.opts.RetryMin, d.s.opts.RetryMax)
	q.notBefore = now.Add(max(pause, err.RetryAfter))
	if q.held && q.failures == 1 {
		d.s.log.Warn("a table waits for an operator", "lane", q.key.lane, "err", err)
	}
}

package live

import (
	"cmp"
	"container/heap"
	"context"
	"log/slog"
	"time"

	"kustospool/engine/internal/lock"
	"kustospool/ingest"
	"kustospool/internal/wake"
	"kustospool/store"
)

// Mirror is what the engine knows of the live batches beside the ledger: where
// each of them is, whose turn it is, and how the destinations are. The sealer
// and the tracker add to it, and the dispatcher and the tracker take their work
// from it. Its methods may be called by many goroutines.
type Mirror struct {
	options Options // immutable

	// Signals, made by New: there may be something to Pick, Due or TakeRefused again, and
	// a lane has nothing waiting any more.
	ToSend, ToAsk, ToRefuse, Emptied wake.Signal

	mu           lock.Mutex // guards everything below
	batches      map[ingest.BatchID]*batch
	lanes        map[queueKey]*laneQueue
	destinations map[string]*destination
	inTurn       []*destination
	turn         int
	refused      []store.Entry // sealed, and of lanes of what is no record
	queued       uint64        // counts what goes to the end of its lane
	attempts     int64         // begun
	began        [Classes]began
	paused       map[Table]bool
	unsaid       []func() // lines for the log, which unlock writes
}

// began counts the attempts of a class.
type began struct {
	attempts int64
	bytes    [2]int64 // of their batches, by side
}

// place is where the engine has a batch.
type place uint8

const (
	nowhere  place = iota
	waiting        // for its turn
	sending        // an attempt is under way
	awaiting       // its outcome
)

// batch is a batch that is not final. The rest of it is in the ledger.
// It is guarded by the mirror's mu, but for what never changes.
type batch struct {
	id       ingest.BatchID
	place    place
	lane     *laneQueue
	order    uint64 // in its lane
	index    int    // among those that wait in its lane
	newIndex int    // and among its newest, of a lane with FreshFirst
	side     side   // from which it was taken, while it is being sent
	bytes    int64
	sealedAt time.Time
	doubtful bool   // an earlier attempt may have brought it in
	turns    uint64 // that it had
	awaited         // while its outcome is
}

// Turn is a batch that has its turn, until the attempt is finished.
type Turn struct {
	ID    ingest.BatchID
	lane  *laneQueue // it may await its outcome in another one
	batch *batch
	count uint64
}

// Lane is the lane of the batch.
func (t Turn) Lane() uint32 { return t.lane.key.lane }

// queueKey names a queue: a lane and a destination. A lane has more than one
// only while a router has batches of it that were begun by another transport.
type queueKey struct {
	lane uint32
	to   string
}

// laneQueue holds what one lane has sealed and not yet sent to one destination,
// oldest first. In a lane of references to blobs what failed goes to the end:
// what is wrong with one blob says nothing of the next. A lane with FreshFirst is
// sent from both ends.
type laneQueue struct {
	key         queueKey
	table       Table
	paused      bool // by an operator
	destination *destination
	class       Class
	freshFor    time.Duration // of a batch of it; 0 without FreshFirst
	places      [2]int        // in the rings of its class, by side; of fresh with FreshFirst only
	waiting     batchHeap
	newest      newestHeap // the same, with FreshFirst; empty without
	sending     int
	awaiting    int
	probe       *batch // the batch taken last

	// While the destination holds the lane back (a missing table, say), one
	// batch at a time probes, after notBefore.
	failures  int
	notBefore time.Time
	pause     int // its place among the pauses; -1 for none
	held      bool
	told      time.Time // when a line told that it is held; zero while none did
	failure   *ingest.Failure
}

// destination is one place that batches go to. Most transports have one, whose
// name is empty; a [transport.Router] has several.
type destination struct {
	to       string
	breaker  breaker
	sending  int
	alarms   int             // of sending, those of Alarm
	rest     int             // of sending, those that are neither alarms nor fresh
	failure  *ingest.Failure // what it last failed with; nil when well
	ranks    [Classes]rank
	troubled time.Time // when a line told of that; zero while none did
	pauses   pauseHeap // lanes whose time has not come
	awaiting map[ingest.BatchID]*batch
	// awaitingAlarms counts, of awaiting, those of Alarm.
	awaitingAlarms int
	inquiry        inquiry
	// freshFirst is set when a lane of it is of FreshFirst.
	freshFirst bool
}

// New makes a mirror without batches. The options are taken as they are.
func New(o Options) *Mirror {
	return &Mirror{options: o, ToSend: wake.New(), ToAsk: wake.New(), ToRefuse: wake.New(), Emptied: wake.New(), mu: lock.Mutex{Name: "live"},
		batches: make(map[ingest.BatchID]*batch), lanes: make(map[queueKey]*laneQueue), destinations: make(map[string]*destination)}
}

// Add takes sealed batches: each waits for its turn, at its place in its lane.
// What holds no records waits for its dead letter instead.
func (l *Mirror) Add(entries ...store.Entry) {
	for i := range entries {
		if e := &entries[i]; e.Batch.Properties.Refused {
			l.mu.Lock()
			l.refused = append(l.refused, *e)
			l.mu.Unlock()
			l.ToRefuse.Raise()
		} else {
			l.Retry(*e)
		}
	}
}

// Retry takes one sealed batch, whatever it holds: the dispatcher tries again
// what could not be set aside.
func (l *Mirror) Retry(e store.Entry) {
	to := l.options.Route(&e) // a router's own code: not under the lock
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queueLocked(&e, to, time.Now())
	l.ToSend.Raise()
}

// sayLocked has a line logged when the lock is let go: the handler of the log is
// the caller's, and may wait for a disk or for whoever reads a pipe.
func (l *Mirror) sayLocked(level slog.Level, text string, args ...any) {
	l.unsaid = append(l.unsaid, func() { l.options.Log.Log(context.Background(), level, text, args...) })
}

// sayOfLocked names the table of a lane, which is looked up under another lock.
func (l *Mirror) sayOfLocked(level slog.Level, lane uint32, text string, args ...any) {
	l.unsaid = append(l.unsaid, func() {
		p := l.options.Properties(lane)
		l.options.Log.Log(context.Background(), level, text, append([]any{"database", p.Database, "table", p.Table, "lane", lane}, args...)...)
	})
}

// named are the attributes of a line about a destination.
func (d *destination) named(args ...any) []any {
	if d.to == "" {
		return args
	}
	return append([]any{"destination", d.to}, args...)
}

// unlock lets go of the lock and logs what was to be said.
func (l *Mirror) unlock() {
	unsaid := l.unsaid
	l.unsaid = nil
	l.mu.Unlock()
	for _, say := range unsaid {
		say()
	}
}

// TakeRefused takes up to n of the batches that wait for their dead letters.
func (l *Mirror) TakeRefused(n int) []store.Entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	n = min(len(l.refused), n)
	some := l.refused[:n:n]
	if l.refused = l.refused[n:]; len(l.refused) == 0 {
		l.refused = nil
	}
	return some
}

func (l *Mirror) queueLocked(e *store.Entry, to string, now time.Time) {
	b := l.batchLocked(e, to)
	b.order, b.sealedAt, b.doubtful, b.bytes = e.Batch.First, e.Batch.SealedAt, e.Unresolved > 0, e.Batch.RawBytes
	if e.Batch.Properties.ByReference { // sealed in order, so that new ones are at their place there, too
		b.order = l.queued
		l.queued++
	}
	b.place = waiting
	b.lane.push(b)
	l.refreshLocked(b.lane, now)
}

// batchLocked is a batch that is taken from where it was, and in a queue of the
// right name.
func (l *Mirror) batchLocked(e *store.Entry, to string) *batch {
	b := l.batches[e.Batch.ID]
	if b == nil {
		b = &batch{id: e.Batch.ID}
		l.batches[b.id] = b
	} else {
		l.leaveLocked(b)
	}
	b.lane = l.laneLocked(e, to)
	return b
}

// leaveLocked takes a batch from where it is.
func (l *Mirror) leaveLocked(b *batch) {
	q := b.lane
	switch b.place {
	case waiting:
		if q.remove(b); len(q.waiting) == 0 || q.freshFor > 0 {
			l.Emptied.Raise() // the lane may be sealed by age again
		}
	case sending:
		q.destination.sending--
		switch {
		case q.class == Alarm:
			q.destination.alarms--
		case b.side == rest:
			q.destination.rest--
		}
		if q.sending--; q.sending == 0 && len(q.waiting) == 0 {
			l.Emptied.Raise() // a drain may seal the lane
		}
	case awaiting:
		q.awaiting--
		if q.class == Alarm {
			q.destination.awaitingAlarms--
		}
		delete(q.destination.awaiting, b.id)
	}
	b.place = nowhere
	l.refreshLocked(q, time.Now())
}

// dropLocked forgets a batch that nobody is to move any more.
func (l *Mirror) dropLocked(b *batch) {
	l.leaveLocked(b)
	delete(l.batches, b.id)
}

// laneLocked is the queue of a batch for a destination.
func (l *Mirror) laneLocked(e *store.Entry, to string) *laneQueue {
	key := queueKey{e.Batch.Lane, to}
	q := l.lanes[key]
	if q == nil {
		d := l.destinationLocked(to)
		class, freshFirst := l.options.Order(&e.Batch.Properties)
		table := Table{e.Batch.Properties.Database, e.Batch.Properties.Table}
		q = &laneQueue{key: key, table: table, paused: l.paused[table], destination: d, class: class, pause: -1}
		sides := &d.ranks[class-1].sides
		q.places[rest] = sides[rest].add(q)
		if freshFirst {
			q.freshFor = l.options.FreshFor
			q.places[fresh] = sides[fresh].add(q)
			d.freshFirst = true
		}
		l.lanes[key] = q
	}
	return q
}

func (l *Mirror) destinationLocked(to string) *destination {
	d := l.destinations[to]
	if d == nil {
		d = &destination{to: to, breaker: newBreaker(l.options.Senders), awaiting: make(map[ingest.BatchID]*batch)}
		l.destinations[to] = d
		l.inTurn = append(l.inTurn, d)
	}
	return d
}

// Waits is for how long at most the lane has sealed batches of which no attempt
// has begun, and that keep it from being sealed by age; 0 where it has none. In
// the order of acceptance it is as long as one waits; a lane with FreshFirst goes
// on once the newest that waits is not fresh any more.
func (l *Mirror) Waits(lane uint32, now time.Time) (long time.Duration) {
	l.anyQueue(lane, func(q *laneQueue) bool {
		switch {
		case len(q.waiting) == 0:
		case q.freshFor > 0:
			long = max(long, q.freshLeft(now))
		default:
			long = forever
		}
		return false
	})
	return long
}

// Unsent reports whether the lane has sealed batches that no destination has
// taken yet.
func (l *Mirror) Unsent(lane uint32) bool {
	return l.anyQueue(lane, func(q *laneQueue) bool { return len(q.waiting) > 0 || q.sending > 0 })
}

// anyQueue reports whether is holds for one of the lane's queues. It is called
// under the lock.
func (l *Mirror) anyQueue(lane uint32, is func(*laneQueue) bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for to := range l.destinations {
		if q := l.lanes[queueKey{lane, to}]; q != nil && is(q) {
			return true
		}
	}
	return false
}

// refreshLocked brings the lane's turns up to date, after any change of it.
func (l *Mirror) refreshLocked(q *laneQueue, now time.Time) {
	d := q.destination
	ready := len(q.waiting) > 0 && !q.paused && !(q.failures > 0 && (q.sending > 0 || q.probe != nil && q.probe.place == awaiting))
	paused := ready && q.notBefore.After(now)
	load := [2]int32{never, never}
	if ready && !paused {
		isFresh := q.freshFor > 0 && q.newest[0].isFresh(now)
		if isFresh {
			load[fresh] = int32(q.sending + q.awaiting)
		}
		if !isFresh || !q.waiting[0].isFresh(now) { // a part of a split batch is younger than those behind it
			load[rest] = int32(q.sending + q.awaiting)
		}
	}
	sides := &d.ranks[q.class-1].sides
	sides[rest].turns.set(q.places[rest], load[rest])
	if q.freshFor > 0 {
		sides[fresh].turns.set(q.places[fresh], load[fresh])
	}
	switch {
	case paused && q.pause < 0:
		heap.Push(&d.pauses, q)
	case paused:
		heap.Fix(&d.pauses, q.pause)
	case q.pause >= 0:
		heap.Remove(&d.pauses, q.pause)
	}
}

// TakeOldest removes the oldest waiting batch of all lanes, so that no attempt
// begins on it. One that an earlier attempt may have brought in is taken only
// when there is no other. Its time grows with what waits.
func (l *Mirror) TakeOldest() (id ingest.BatchID, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var oldest *batch
	before := func(a, b *batch) bool {
		if a.doubtful != b.doubtful {
			return b.doubtful
		}
		if c := a.sealedAt.Compare(b.sealedAt); c != 0 {
			return c < 0
		}
		return cmp.Or(cmp.Compare(a.lane.key.lane, b.lane.key.lane), cmp.Compare(a.order, b.order)) < 0
	}
	for _, q := range l.lanes {
		for _, b := range q.waiting {
			if oldest == nil || before(b, oldest) {
				oldest = b
			}
		}
	}
	if oldest == nil {
		return id, false
	}
	l.dropLocked(oldest)
	return oldest.id, true
}

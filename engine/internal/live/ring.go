package live

import (
	"math"
	"time"
)

// side is one of the two streams of a class: what is fresh, and the rest.
type side uint8

const (
	rest  side = iota // oldest first
	fresh             // newest first; of lanes with FreshFirst only
)

// ring is lanes that take turns.
type ring struct {
	turns turns
	lanes []*laneQueue
	last  int // the lane that had the last turn
}

func (r *ring) add(q *laneQueue) (place int) {
	r.lanes = append(r.lanes, q)
	return r.turns.add()
}

// next is the lane whose turn it is, of those with a load below a bound; nil
// where there is none.
func (r *ring) next(below int32) *laneQueue {
	i, ok := r.turns.next(r.last, below)
	if !ok {
		return nil
	}
	return r.lanes[i]
}

// idle reports whether no lane has anything that may be sent.
func (r *ring) idle() bool { return r.turns.lanes == 0 || r.turns.least[1] == never }

// rank is the lanes of one class at one destination.
type rank struct {
	sides [2]ring
	// credit is what fresh batches have coming, in bytes times percent: while it
	// is not negative it is a fresh one's turn.
	credit int64
	last   [2]int64  // what the last batch of each side was charged
	since  time.Time // since when others went that have no more right to; zero for never
	passed int       // how many of others have gone since its own last one
}

// idle reports whether the class has nothing that may be sent.
func (r *rank) idle() bool { return r.sides[rest].idle() && r.sides[fresh].idle() }

// starvedAfter is how long a class is passed over before it gets every
// courtesy-th batch.
const (
	starvedAfter = 10 * time.Minute
	courtesy     = 10
)

// starved reports whether the class was passed over for that long.
func (r *rank) starved(now time.Time) bool {
	return !r.since.IsZero() && now.Sub(r.since) >= starvedAfter
}

// due reports whether the class is to have its tenth batch.
func (r *rank) due(now time.Time) bool { return r.starved(now) && r.passed >= courtesy-1 }

// charge counts a batch that goes while the other side has something, too. The
// credit is bounded by what one batch is charged: what a side did not want of its
// share is not kept for it.
func (r *rank) charge(s side, bytes, share int64) {
	if bytes = max(bytes, 1); s == fresh {
		r.last[fresh] = bytes * (100 - share)
		r.credit -= r.last[fresh]
	} else {
		r.last[rest] = bytes * share
		r.credit += r.last[rest]
	}
	most := max(r.last[fresh], r.last[rest])
	r.credit = min(max(r.credit, -most), most)
}

// isFresh reports whether a batch goes before the backlog. One that was sealed
// long after now, because the clock was ahead, does not.
func (b *batch) isFresh(now time.Time) bool {
	return b.lane.freshFor > 0 && now.Sub(b.sealedAt).Abs() < b.lane.freshFor
}

// freshLeft is how long the newest waiting batch of a lane is still fresh; 0 where
// there is none that is.
func (q *laneQueue) freshLeft(now time.Time) time.Duration {
	if len(q.newest) == 0 || !q.newest[0].isFresh(now) {
		return 0
	}
	return q.freshFor - now.Sub(q.newest[0].sealedAt)
}

// forever is longer than anything waits.
const forever = time.Duration(math.MaxInt64)

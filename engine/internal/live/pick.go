package live

import "time"

// room is how many more batches of a class may await their outcome, with all that are
// under way. Alarms have room of their own: what nothing is heard of stops none of them.
func (l *Mirror) room(d *destination, c Class) int {
	alarms := d.alarms + d.awaitingAlarms
	if c == Alarm {
		return l.options.MaxUnconfirmed - alarms
	}
	return l.options.MaxUnconfirmed - (d.sending + len(d.awaiting) - alarms)
}

// open reports whether an attempt of a class may begin where the breaker allows
// n at once. Alarms have n of their own. What is under way may end up awaiting its
// outcome, so there must be room for that too.
func (l *Mirror) open(d *destination, c Class, n int) bool {
	busy := d.sending - d.alarms
	if c == Alarm {
		busy = d.alarms
	}
	return busy < n && l.room(d, c) > 0
}

// admits reports whether a batch that is neither fresh nor an alarm may begin
// where the breaker allows n at once, at a destination with a table of FreshFirst.
// Its share of the n is its own, and where that is no whole number one more while
// it has had less than its share, or nothing is fresh. But it never has all: what
// is on the wire keeps its place there for as long as it takes, and what is fresh
// is to begin at once.
func (l *Mirror) admits(d *destination, r *rank, n int) bool {
	share := n * (100 - l.options.FreshShare)
	own := max(1, share/100)
	most := max(1, min((share+99)/100, n-1))
	return d.rest < min(own, most) || d.rest < most && (r.credit < 0 || !d.hasFresh())
}

// hasFresh reports whether something fresh, and no alarm, waits or is sent.
func (d *destination) hasFresh() bool {
	if d.sending > d.alarms+d.rest {
		return true
	}
	for i := range d.ranks {
		if Class(i+1) != Alarm && !d.ranks[i].sides[fresh].idle() {
			return true
		}
	}
	return false
}

// Pick takes the next batch that may be attempted now. When there is none,
// wait is how long it can be until there is, if nothing else happens. Its time
// grows with the destinations, and with the logarithm of lanes and batches.
func (l *Mirror) Pick(now time.Time) (t Turn, wait time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	wait = time.Hour
	for range l.inTurn {
		l.turn = (l.turn + 1) % len(l.inTurn)
		d := l.inTurn[l.turn]
		for len(d.pauses) > 0 && !d.pauses[0].notBefore.After(now) {
			l.refreshLocked(d.pauses[0], now)
		}
		n, pause := d.breaker.allowed(now)
		if n == 0 {
			wait = min(wait, pause)
			continue
		}
		q, s := l.chooseLocked(d, n, now)
		if q == nil {
			if len(d.pauses) > 0 {
				wait = min(wait, d.pauses[0].notBefore.Sub(now))
			}
			continue
		}
		return l.takeLocked(q, s, now), 0, true
	}
	return Turn{}, wait, false
}

// offer is what a class could send now.
type offer [2]*laneQueue

func (o offer) any() bool { return o[rest] != nil || o[fresh] != nil }

// chooseLocked is the lane whose turn it is at a destination, and which end of
// it; nil where none may go.
func (l *Mirror) chooseLocked(d *destination, n int, now time.Time) (*laneQueue, side) {
	var offers [Classes]offer
	chosen := -1
	for i := range offers {
		c := Class(i + 1)
		if !l.open(d, c, n) {
			continue
		}
		r := &d.ranks[i]
		// A lane may await as many outcomes as it leaves free for the others: one
		// table of which nothing is heard must not stop them.
		below := int32(l.room(d, c))
		offers[i][fresh] = l.freshLocked(&r.sides[fresh], below, now)
		if c == Alarm || !d.freshFirst || l.admits(d, r, n) {
			offers[i][rest] = r.sides[rest].next(below) // behind freshLocked, which may add to it
		}
		if chosen < 0 && offers[i].any() {
			chosen = i
		}
	}
	if chosen < 0 {
		return nil, rest
	}
	first := chosen
	for i := first + 1; i < Classes; i++ {
		if offers[i].any() && d.ranks[i].due(now) {
			chosen = i
		}
	}
	for i := range offers {
		r := &d.ranks[i]
		switch {
		case i == chosen:
			r.passed = 0
			if chosen == first {
				r.since = time.Time{}
			}
		case offers[i].any():
			r.passed++
			if r.since.IsZero() {
				r.since = now
			}
		case r.idle():
			r.since, r.passed = time.Time{}, 0
		}
	}
	r, o := &d.ranks[chosen], offers[chosen]
	s := rest
	if o[fresh] != nil && (o[rest] == nil || r.credit >= 0) {
		s = fresh
	}
	contested := o[fresh] != nil && o[rest] != nil
	if c := Class(chosen + 1); c != Alarm && d.freshFirst {
		contested = s == fresh && (d.rest > 0 || !r.sides[rest].idle()) || s == rest && d.hasFresh()
	}
	if contested {
		r.charge(s, o[s].end(s).bytes, int64(l.options.FreshShare))
	}
	r.sides[s].last = o[s].places[s]
	return o[s], s
}

// freshLocked is the next lane with a fresh batch. Lanes whose newest one has
// become old meanwhile are moved to the other side.
func (l *Mirror) freshLocked(r *ring, below int32, now time.Time) *laneQueue {
	for {
		q := r.next(below)
		if q == nil || q.newest[0].isFresh(now) {
			return q
		}
		l.refreshLocked(q, now)
	}
}

// end is the batch that a lane sends next on a side.
func (q *laneQueue) end(s side) *batch {
	if s == fresh {
		return q.newest[0]
	}
	return q.waiting[0]
}

// takeLocked begins an attempt at the batch at one end of a lane.
func (l *Mirror) takeLocked(q *laneQueue, s side, now time.Time) Turn {
	b, d := q.end(s), q.destination
	l.leaveLocked(b)
	b.place, b.side = sending, s
	b.turns++
	q.sending++
	d.sending++
	switch {
	case q.class == Alarm:
		d.alarms++
	case s == rest:
		d.rest++
	}
	q.probe = b
	l.attempts++
	began := &l.began[q.class-1]
	began.attempts++
	began.bytes[s] += b.bytes
	l.refreshLocked(q, now)
	return Turn{b.id, q, b, b.turns}
}

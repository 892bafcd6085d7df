package live

import (
	"time"

	"kustospool/ingest"
)

// State is what is known beside the books, of one moment.
type State struct {
	Attempts int64 // begun
	// Unhealthy is what a destination last failed with, of several the latest; where
	// all are well, what the last question to one failed with.
	Unhealthy *ingest.Failure
	// Queues are those of which there is something to tell, in no order.
	Queues  []QueueState
	Classes [Classes]ClassState // the first one first
}

// QueueState is what one lane has for one destination. It has more than one queue
// only while some of its batches are bound to another destination.
type QueueState struct {
	Lane    uint32
	Waiting bool            // it has batches that no attempt has taken
	Held    bool            // until an operator has done something
	Next    time.Time       // when the next attempt may be; may be past
	Failure *ingest.Failure // what its batches last failed with, if that still counts
	// Unhealthy is the class of what the destination last failed with; where that takes
	// batches, and outcomes of this lane are awaited, of what the last question failed
	// with. Empty while it is well.
	Unhealthy string
}

// ClassState counts the attempts of a class. Of the bytes of their batches, before
// compression, FreshBytes went as fresh ones and RestBytes did not.
type ClassState struct {
	Attempts, FreshBytes, RestBytes int64
	// Starved is set while some destination has passed it over for so long that it
	// gets every tenth batch.
	Starved bool
}

// Look tells how all is. Its time grows with the queues.
func (l *Mirror) Look(now time.Time) *State {
	l.mu.Lock()
	defer l.mu.Unlock()
	st := &State{Attempts: l.attempts, Queues: make([]QueueState, 0, len(l.lanes))}
	var asking *ingest.Failure
	for _, d := range l.destinations {
		st.Unhealthy = later(st.Unhealthy, d.failure)
		asking = later(asking, d.inquiry.failure)
	}
	if st.Unhealthy == nil {
		st.Unhealthy = asking
	}
	for key, q := range l.lanes {
		s := QueueState{Lane: key.lane, Waiting: len(q.waiting) > 0, Held: q.held, Next: q.notBefore, Failure: q.failure}
		switch d := q.destination; {
		case d.failure != nil:
			s.Unhealthy = d.failure.Class
		case d.inquiry.failure != nil && q.awaiting > 0:
			s.Unhealthy = d.inquiry.failure.Class
		}
		if s != (QueueState{Lane: key.lane}) {
			st.Queues = append(st.Queues, s)
		}
	}
	for i := range st.Classes {
		began, c := &l.began[i], &st.Classes[i]
		*c = ClassState{Attempts: began.attempts, FreshBytes: began.bytes[fresh], RestBytes: began.bytes[rest]}
		for _, d := range l.destinations {
			c.Starved = c.Starved || d.ranks[i].starved(now)
		}
	}
	return st
}

// later is the later one of two failures; either may be nil.
func later(a, b *ingest.Failure) *ingest.Failure {
	if a == nil || b != nil && b.At.After(a.At) {
		return b
	}
	return a
}

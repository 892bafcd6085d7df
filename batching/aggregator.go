package batching

import (
	"container/heap"
	"slices"
	"time"
)

// Aggregator holds the open span of every lane. It is not safe for use by
// two goroutines at once: one goroutine of the caller owns it.
type Aggregator struct {
	policy func(lane uint32) Policy
	single func(lane uint32) bool

	lanes map[uint32]*openSpan
	ages  ageHeap // the same spans, by deadline
}

// openSpan is a lane's span and the policy it was opened under. A changed
// policy counts from the lane's next span on.
type openSpan struct {
	span     Span
	policy   Policy
	deadline time.Time
	index    int // place in the heap
}

// NewAggregator makes an empty one. policy is asked when a lane's span is
// opened and its zero values are replaced by the defaults; it should have
// passed [Policy.Validate]. single says that every frame of a lane is a batch
// of its own. A nil policy means the defaults for all lanes, a nil single
// means no such lane.
func NewAggregator(policy func(lane uint32) Policy, single func(lane uint32) bool) *Aggregator {
	if policy == nil {
		policy = func(uint32) Policy { return Policy{} }
	}
	if single == nil {
		single = func(uint32) bool { return false }
	}
	return &Aggregator{policy: policy, single: single, lanes: make(map[uint32]*openSpan)}
}

// Add takes the next frame of its lane and returns what is to be sealed now,
// in the lane's order: nothing, the span that was open, the span that the
// frame completes, or both. A frame without records is passed over.
func (a *Aggregator) Add(s Span) (sealed []Span) {
	if s.Records() == 0 {
		return nil
	}
	o := a.lanes[s.Lane]
	alone := a.single(s.Lane)
	if o != nil && (alone || s.First != o.span.Last+1 || o.policy.overflows(o.span, s)) {
		sealed = append(sealed, a.take(o))
		o = nil
	}
	if alone {
		return append(sealed, s)
	}
	if o == nil {
		p := a.policy(s.Lane).WithDefaults()
		if p.full(s) {
			return append(sealed, s)
		}
		o = &openSpan{span: s, policy: p, deadline: s.Oldest.Add(p.MaxAge)}
		a.lanes[s.Lane] = o
		heap.Push(&a.ages, o)
		return sealed
	}
	o.span.Last = s.Last
	o.span.Bytes += s.Bytes
	if s.Oldest.Before(o.span.Oldest) {
		o.span.Oldest = s.Oldest
		o.deadline = s.Oldest.Add(o.policy.MaxAge)
		heap.Fix(&a.ages, o.index)
	}
	if o.policy.full(o.span) {
		sealed = append(sealed, a.take(o))
	}
	return sealed
}

// Due seals the spans whose age is up at now, oldest first, and passes over
// the lanes that are waiting: those with sealed batches that have not left yet.
// The span of such a lane stays open and goes on growing up to its other limits;
// the caller asks again when the batches have left. A nil waiting means no lane.
// The cost grows with the number of overdue lanes, not of all.
func (a *Aggregator) Due(now time.Time, waiting func(lane uint32) bool) (sealed []Span) {
	var due []*openSpan
	a.ages.until(0, now, func(o *openSpan) {
		if waiting == nil || !waiting(o.span.Lane) {
			due = append(due, o)
		}
	})
	for _, o := range due {
		sealed = append(sealed, a.take(o))
	}
	slices.SortFunc(sealed, byAge)
	return sealed
}

// NextAfter is the earliest deadline later than now; false when there is
// none. It is the time to wait for after Due(now, waiting): what is overdue then
// is of a lane that waits, and it is its batches' leaving, not the clock, that is
// the reason to call Due again.
func (a *Aggregator) NextAfter(now time.Time) (time.Time, bool) {
	return a.ages.after(0, now)
}

// Lanes is the number of lanes with an open span.
func (a *Aggregator) Lanes() int { return len(a.lanes) }

// Flush seals every open span, whatever its size and age, oldest first, and
// passes over the lanes that are waiting, as Due does. A nil waiting means no
// lane. The cost grows with the number of open spans.
func (a *Aggregator) Flush(waiting func(lane uint32) bool) []Span {
	sealed := make([]Span, 0, len(a.lanes))
	for _, o := range slices.Clone(a.ages) {
		if waiting == nil || !waiting(o.span.Lane) {
			sealed = append(sealed, a.take(o))
		}
	}
	slices.SortFunc(sealed, byAge)
	return sealed
}

// take closes an open span.
func (a *Aggregator) take(o *openSpan) Span {
	heap.Remove(&a.ages, o.index)
	delete(a.lanes, o.span.Lane)
	return o.span
}

package live

import "math"

// turns is the order in which lanes get their turn: round and round, past those
// that cannot go. It finds the next one in time that grows with the logarithm of
// the lanes, and allocates only when a lane is added.
//
// It is a tree of minima: the load of each lane is a leaf, and a lane that
// cannot go has the load never.
type turns struct {
	lanes int
	leafs int // a power of two
	least []int32
}

// never is the load of a lane that has nothing to send, or must not.
const never = math.MaxInt32

// add makes a place behind the last one, which cannot go yet.
func (t *turns) add() (i int) {
	i = t.lanes
	t.lanes++
	if t.lanes <= t.leafs {
		return i
	}
	old := t.least[t.leafs:]
	t.leafs = max(1, 2*t.leafs)
	t.least = make([]int32, 2*t.leafs)
	for i := range t.leafs {
		t.least[t.leafs+i] = never
	}
	copy(t.least[t.leafs:], old)
	for i := t.leafs - 1; i > 0; i-- {
		t.least[i] = min(t.least[2*i], t.least[2*i+1])
	}
	return i
}

// set gives a lane its load.
func (t *turns) set(i int, load int32) {
	at := t.leafs + i
	for t.least[at] = load; at > 1; {
		at /= 2
		least := min(t.least[2*at], t.least[2*at+1])
		if t.least[at] == least {
			return
		}
		t.least[at] = least
	}
}

// next is the first lane behind another, in turn, whose load is below a bound.
func (t *turns) next(behind int, below int32) (i int, ok bool) {
	if t.lanes == 0 || t.least[1] >= below {
		return 0, false
	}
	if i, ok = t.from(behind+1, below); !ok {
		i, ok = t.from(0, below)
	}
	return i, ok
}

// from is the first lane at a place or behind it whose load is below a bound.
func (t *turns) from(i int, below int32) (int, bool) {
	if i >= t.lanes {
		return 0, false
	}
	at := t.leafs + i
	for t.least[at] >= below {
		for at%2 == 1 { // a right child: what is behind it is behind its parent
			at /= 2
		}
		if at == 0 {
			return 0, false
		}
		at++
	}
	for at < t.leafs {
		if at *= 2; t.least[at] >= below {
			at++
		}
	}
	return at - t.leafs, true
}

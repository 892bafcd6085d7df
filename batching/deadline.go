package batching

import "time"

// ageHeap is a binary heap of the open spans, the earliest deadline first. It
// implements [container/heap.Interface].
type ageHeap []*openSpan

func (h ageHeap) Len() int           { return len(h) }
func (h ageHeap) Less(i, j int) bool { return h[i].deadline.Before(h[j].deadline) }

func (h ageHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push is for package heap.
func (h *ageHeap) Push(x any) {
	o := x.(*openSpan)
	o.index = len(*h)
	*h = append(*h, o)
}

// Pop is for package heap.
func (h *ageHeap) Pop() any {
	old := *h
	o := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return o
}

// until visits the spans under node i whose deadline is not after now. A
// child's deadline is never before its parent's, so the walk ends at the
// first span on each path that is not due.
func (h ageHeap) until(i int, now time.Time, visit func(*openSpan)) {
	if i >= len(h) || h[i].deadline.After(now) {
		return
	}
	visit(h[i])
	h.until(2*i+1, now, visit)
	h.until(2*i+2, now, visit)
}

// after finds the earliest deadline under node i that is after now.
func (h ageHeap) after(i int, now time.Time) (time.Time, bool) {
	if i >= len(h) {
		return time.Time{}, false
	}
	if h[i].deadline.After(now) {
		return h[i].deadline, true
	}
	left, okLeft := h.after(2*i+1, now)
	right, okRight := h.after(2*i+2, now)
	if !okLeft || okRight && right.Before(left) {
		return right, okRight
	}
	return left, okLeft
}

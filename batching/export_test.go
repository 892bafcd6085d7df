package batching

// Open is the lane's open span; false when it has none.
func (a *Aggregator) Open(lane uint32) (Span, bool) {
	o, ok := a.lanes[lane]
	if !ok {
		return Span{}, false
	}
	return o.span, true
}

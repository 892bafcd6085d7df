package ledger

// Open is how many records up to high are in no batch.
func (m *Watermarks) Open(high uint64) int64 { return m.Records(Span{m.Sealed + 1, max(high, m.Sealed)}) }

// Acked is how many records up to high the books know.
func (m *Watermarks) Acked(high uint64) int64 { return m.Records(Span{m.Base + 1, max(high, m.Base)}) }

// Records counts the numbers of a span that are records.
func (m *Watermarks) Records(r Span) int64 {
	n := r.Count()
	for _, g := range m.Gaps {
		n -= g.Overlap(r)
	}
	return n
}

// GapAt is the gap that holds seq.
func (m *Watermarks) GapAt(seq uint64) (Span, bool) {
	for _, g := range m.Gaps {
		if g.First <= seq && seq <= g.Last {
			return g, true
		}
	}
	return Span{}, false
}

// Next is the number of the next record of a lane whose last one is high.
func (m *Watermarks) Next(high uint64) uint64 {
	if gap, ok := m.GapAt(high + 1); ok {
		return gap.Last + 1
	}
	return high + 1
}

// Pieces cuts a span at the lane's gaps.
func (m *Watermarks) Pieces(r Span) []Span {
	out := []Span{}
	for _, g := range m.Gaps {
		if g.Overlap(r) == 0 {
			continue
		}
		if g.First > r.First {
			out = append(out, Span{r.First, g.First - 1})
		}
		if g.Last >= r.Last {
			return out
		}
		r.First = g.Last + 1
	}
	return append(out, r)
}

package engine

// ClassStats is one class of tables ([Class]): what of it waits, and what of it
// this process has sent. A View does not know of classes.
type ClassStats struct {
	Class   Class   `json:"class"`
	Waiting Backlog `json:"waiting"` // of its lanes together
	// Attempts is how many attempts at its batches this process has begun. Of
	// their bytes, before compression, FreshBytes are of batches that went as
	// fresh ones ([FreshFirst]), and RestBytes of all others.
	Attempts   int64 `json:"attempts"`
	FreshBytes int64 `json:"fresh_bytes"`
	RestBytes  int64 `json:"rest_bytes"`
	// Starved is set while it was passed over for so long at some destination
	// that it gets every tenth batch.
	Starved bool `json:"starved"`
}

// fillOrder tells of a snapshot in which order its lanes are sent.
func (s *Spool) fillOrder(st *Stats) {
	st.Classes = make([]ClassStats, classes)
	for i := range st.Classes {
		st.Classes[i].Class = Class(i + 1)
	}
	for i := range st.Lanes {
		l := &st.Lanes[i]
		l.Class, l.Order = s.opts.orderOf(&l.Properties)
		w := &st.Classes[l.Class-1].Waiting
		w.Records += l.Waiting.Records
		w.Bytes += l.Waiting.Bytes
		w.Open += l.Waiting.Open
		if o := l.Waiting.Oldest; !o.IsZero() && (w.Oldest.IsZero() || o.Before(w.Oldest)) {
			w.Oldest = o
		}
	}
	l := s.live
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range st.Classes {
		c := &st.Classes[i]
		c.Waiting.aged(st.At)
		b := &l.began[i]
		c.Attempts, c.FreshBytes, c.RestBytes = b.attempts, b.bytes[fresh], b.bytes[rest]
		for _, d := range l.destinations {
			r := &d.ranks[i]
			c.Starved = c.Starved || !r.since.IsZero() && st.At.Sub(r.since) >= starvedAfter
		}
	}
}

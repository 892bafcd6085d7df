package engine

import "kustospool/engine/internal/live"

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
func (s *Spool) fillOrder(st *Stats, known *live.State) {
	st.Classes = make([]ClassStats, live.Classes)
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
	for i := range st.Classes {
		c, b := &st.Classes[i], &known.Classes[i]
		c.Waiting.aged(st.At)
		c.Attempts, c.FreshBytes, c.RestBytes, c.Starved = b.Attempts, b.FreshBytes, b.RestBytes, b.Starved
	}
}

package ledger

import (
	"maps"
	"slices"

	"kustospool/ingest"
)

// What these give is shared in what it refers to, and must not be changed.

// Entry gives the row of a live batch.
func (l *Ledger) Entry(id ingest.BatchID) (Entry, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if e := l.mirror.entries[id]; e != nil {
		return *e, true
	}
	return Entry{}, false
}

// EntryAt gives the live batch that holds a record.
func (l *Ledger) EntryAt(lane uint32, seq uint64) (Entry, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if e := holding(l.mirror.live[lane], seq); e != nil {
		return *e, true
	}
	return Entry{}, false
}

// Live lists the live batches, by lane and first record.
func (l *Ledger) Live() []Entry {
	l.mu.RLock()
	defer l.mu.RUnlock()
	out := make([]Entry, 0, len(l.mirror.entries))
	for _, lane := range slices.Sorted(maps.Keys(l.mirror.live)) {
		for _, e := range l.mirror.live[lane] {
			out = append(out, *e)
		}
	}
	return out
}

// LiveOf lists the live batches of a lane, by first record.
func (l *Ledger) LiveOf(lane uint32) []Entry {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var out []Entry
	for _, e := range l.mirror.live[lane] {
		out = append(out, *e)
	}
	return out
}

// Unsettled is how many records of a lane's range are in no batch, or in a
// live one, when the lane's records end at high.
func (l *Ledger) Unsettled(lane uint32, r Span, high uint64) int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	row := l.mirror.lanes[lane]
	if row == nil {
		return 0
	}
	n := overlapping(l.mirror.live[lane], r, nil)
	if first, last := max(r.First, row.Marks.Mark+1), min(r.Last, high); first <= last {
		n += row.Marks.Records(Span{first, last})
	}
	return n
}

// State is the state as it is durable.
func (l *Ledger) State() State {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.mirror.state.State
}

// Written is how many bytes this process has written to the file: the pages of
// its transactions.
func (l *Ledger) Written() int64 { return l.written.Load() }

// Counters are the counters as they are durable.
func (l *Ledger) Counters() Counters {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.mirror.state.counters
}

// Spool is the spool's identity.
func (l *Ledger) Spool() ingest.SpoolID { return l.mirror.spool }

// Look runs fn with the live batches and lanes held still: counters, marks
// and batches that it reads belong together. fn must be quick, and must not
// call the ledger.
func (l *Ledger) Look(fn func(*View)) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	fn(&View{&l.mirror})
}

// View is the mirror while it is held still.
type View struct{ m *mirror }

// Counters are the counters.
func (v *View) Counters() Counters { return v.m.state.counters }

// Live is how many batches are live, and how many records are in them.
func (v *View) Live() (batches, records int64) { return int64(len(v.m.entries)), v.m.records }

// Batches gives the live batches of each lane that has any, by first record,
// in no order of lanes.
func (v *View) Batches(yield func(lane uint32, live []*Entry) bool) {
	for lane, live := range v.m.live {
		if len(live) > 0 && !yield(lane, live) {
			return
		}
	}
}

// Lane gives a lane, nil where there is none, and its live batches, by first record.
func (v *View) Lane(no uint32) (*Lane, []*Entry) { return v.m.lanes[no], v.m.live[no] }

// Lanes gives every lane, in no order.
func (v *View) Lanes(yield func(*Lane) bool) {
	for _, l := range v.m.lanes {
		if !yield(l) {
			return
		}
	}
}

package ledger

import (
	"cmp"
	"maps"
	"slices"

	"kustospool/ingest"
)

// mirror is the ledger in memory, without history and keys. Its values are
// replaced, never changed, so that what a reader got stays as it was. The
// writer alone changes it, under Ledger.mu.
type mirror struct {
	spool     ingest.SpoolID
	state     state
	lanes     map[uint32]*Lane
	byKey     map[string]uint32
	entries   map[ingest.BatchID]*Entry
	live      map[uint32][]*Entry // by lane, in order of their records
	records   int64               // in live batches
	segments  map[uint64]*Segment
	tombs     map[uint64]*Tombstone
	objects   map[ObjectID]*Object
	positions map[string]*Position // with those that were removed and may not come back
}

func newMirror() mirror {
	return mirror{lanes: map[uint32]*Lane{}, byKey: map[string]uint32{}, entries: map[ingest.BatchID]*Entry{}, live: map[uint32][]*Entry{},
		segments: map[uint64]*Segment{}, tombs: map[uint64]*Tombstone{}, objects: map[ObjectID]*Object{}, positions: map[string]*Position{}}
}

// publish shows the others what is durable now.
func (l *Ledger) publish(tx *Tx) {
	l.mu.Lock()
	m := &l.mirror
	// Rows that go first: one of a split batch's parts begins where it began.
	for id, e := range tx.entries.over {
		if old := m.entries[id]; old != nil && e == nil {
			m.cut(old)
		}
	}
	for id, e := range tx.entries.over {
		if e == nil {
			continue
		}
		if old := m.entries[id]; old != nil {
			m.cut(old)
		}
		m.insert(e)
	}
	tx.entries.publish()
	tx.lanes.publish()
	for key, no := range tx.byKey {
		m.byKey[key] = no
	}
	tx.segments.publish()
	tx.tombs.publish()
	tx.objects.publish()
	tx.positions.publish()
	m.state = tx.state
	l.mu.Unlock()
	l.measure()
	if l.opts.Settled != nil {
		for _, e := range tx.settled {
			l.opts.Settled(e)
		}
	}
	for _, after := range tx.afters {
		after()
	}
}

// liveAt is where in a lane's live batches one that begins at seq is, or would be.
func liveAt(live []*Entry, seq uint64) (int, bool) {
	return slices.BinarySearchFunc(live, seq, func(e *Entry, seq uint64) int { return cmp.Compare(e.Batch.First, seq) })
}

func (m *mirror) insert(e *Entry) {
	live := m.live[e.Batch.Lane]
	i, _ := liveAt(live, e.Batch.First)
	m.live[e.Batch.Lane] = slices.Insert(live, i, e)
	m.records += e.Batch.Records()
}

func (m *mirror) cut(e *Entry) {
	live := m.live[e.Batch.Lane]
	if i, ok := liveAt(live, e.Batch.First); ok {
		m.live[e.Batch.Lane] = slices.Delete(live, i, i+1)
		m.records -= e.Batch.Records()
	}
}

// holding is the live batch that holds seq.
func holding(live []*Entry, seq uint64) *Entry {
	i, ok := liveAt(live, seq)
	if !ok {
		i--
	}
	if i < 0 || live[i].Batch.Last < seq {
		return nil
	}
	return live[i]
}

// overlapping counts the records of r that are in live batches.
func overlapping(live []*Entry, r Span, skip func(*Entry) bool) (n int64) {
	i, ok := liveAt(live, r.First)
	if !ok && i > 0 {
		i--
	}
	for ; i < len(live) && live[i].Batch.First <= r.Last; i++ {
		if skip == nil || !skip(live[i]) {
			n += r.Overlap(Span{live[i].Batch.First, live[i].Batch.Last})
		}
	}
	return n
}

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
	if first, last := max(r.First, row.Watermarks.Sealed+1), min(r.Last, high); first <= last {
		n += row.Watermarks.Records(Span{first, last})
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

// Look runs fn with the live batches and lanes held still: counters, watermarks
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

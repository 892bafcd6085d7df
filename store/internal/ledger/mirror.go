package ledger

import (
	"cmp"
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

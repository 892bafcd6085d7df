package store

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"kustospool/ingest"
)

// lane is the queue of one set of properties.
type lane struct {
	// Immutable.
	no        uint32
	key       string
	props     ingest.Properties
	separator int64 // bytes that a record adds to a payload beside itself

	limit atomic.Pointer[FrameLimit]

	// Owned by the committer.
	next  uint64     // the next record's number
	bytes int64      // payload bytes so far
	frame int        // about the size of its largest frame of late
	build *laneBuild // its part of the group commit under way

	// Guarded by Store.mu.
	marks   laneMarks
	segs    []held    // where its records are, in order
	objects []*object // its objects that are not settled, in order
	live    []*Entry  // its live batches, in order; the entries are never changed
	ages    ages
}

// held says that a segment holds a range of the lane.
type held struct {
	seg *segment
	span
}

func newLane(no uint32, key string) (*lane, error) {
	l := &lane{no: no, key: key}
	if err := json.Unmarshal([]byte(key), &l.props); err != nil {
		return nil, err
	}
	if l.props.Concatenates() {
		l.separator = 1
	}
	l.setLimit(FrameLimit{})
	return l, nil
}

func (l *lane) setLimit(lim FrameLimit) {
	if lim.Bytes <= 0 || lim.Bytes > DefaultFrameBytes {
		lim.Bytes = DefaultFrameBytes
	}
	if lim.Records <= 0 || lim.Records > maxFrameRecords {
		lim.Records = maxFrameRecords
	}
	if l.separator == 0 {
		lim.Records = 1
	}
	l.limit.Store(&lim)
}

// open is the number of records in no batch.
func (m *laneMarks) open() int64 { return m.records(span{m.Mark + 1, m.High}) }

// acked is the number of records the books know.
func (m *laneMarks) acked() int64 { return m.records(span{m.Base + 1, m.High}) }

// records counts the numbers of a range that are records. An empty range is
// one whose Last is one below its First.
func (m *laneMarks) records(r span) int64 {
	n := r.count()
	for _, g := range m.Gaps {
		n -= g.overlap(r)
	}
	return n
}

// gapAt is the gap that holds seq.
func (m *laneMarks) gapAt(seq uint64) (span, bool) {
	for _, g := range m.Gaps {
		if g.First <= seq && seq <= g.Last {
			return g, true
		}
	}
	return span{}, false
}

// pieces cuts a range at the lane's gaps.
func (m *laneMarks) pieces(r span) []span {
	out := []span{}
	for _, g := range m.Gaps {
		if g.overlap(r) == 0 {
			continue
		}
		if g.First > r.First {
			out = append(out, span{r.First, g.First - 1})
		}
		if g.Last >= r.Last {
			return out
		}
		r.First = g.Last + 1
	}
	return append(out, r)
}

// entryAt is the live batch that holds seq. Store.mu is held.
func (l *lane) entryAt(seq uint64) *Entry {
	i, ok := slices.BinarySearchFunc(l.live, seq, func(e *Entry, seq uint64) int { return cmp.Compare(e.Batch.First, seq) })
	if !ok {
		i--
	}
	if i < 0 || l.live[i].Batch.Last < seq {
		return nil
	}
	return l.live[i]
}

// putEntry inserts or replaces a live batch. Store.mu is held.
func (l *lane) putEntry(e *Entry) {
	i, ok := slices.BinarySearchFunc(l.live, e.Batch.First, func(e *Entry, seq uint64) int { return cmp.Compare(e.Batch.First, seq) })
	if ok {
		l.live[i] = e
		return
	}
	l.live = slices.Insert(l.live, i, e)
}

// cutEntry removes a live batch. Store.mu is held.
func (l *lane) cutEntry(first uint64) {
	i, ok := slices.BinarySearchFunc(l.live, first, func(e *Entry, seq uint64) int { return cmp.Compare(e.Batch.First, seq) })
	if ok {
		l.live = slices.Delete(l.live, i, i+1)
	}
}

// heldAt is where a record is. Store.mu is held.
func (l *lane) heldAt(seq uint64) (held, bool) {
	i, _ := slices.BinarySearchFunc(l.segs, seq, func(h held, seq uint64) int { return cmp.Compare(h.Last, seq) })
	if i == len(l.segs) || l.segs[i].First > seq {
		return held{}, false
	}
	return l.segs[i], true
}

// nextHeld is the first range that begins after seq. Store.mu is held.
func (l *lane) nextHeld(seq uint64) (held, bool) {
	i, _ := slices.BinarySearchFunc(l.segs, seq, func(h held, seq uint64) int { return cmp.Compare(h.First, seq+1) })
	if i == len(l.segs) {
		return held{}, false
	}
	return l.segs[i], true
}

// ages remembers roughly when the records that are in no batch were accepted:
// a few marks, each the oldest accept time of the records up to it.
type ages []age

type age struct {
	last uint64
	at   time.Time
}

const agesKept = 32

func (a *ages) add(last uint64, at time.Time) {
	if n := len(*a); n == agesKept {
		// Two neighbours become one, which keeps the older time.
		kept := (*a)[:0]
		for i := 0; i < n; i += 2 {
			kept = append(kept, age{last: (*a)[min(i+1, n-1)].last, at: (*a)[i].at})
		}
		*a = kept
	}
	*a = append(*a, age{last: last, at: at})
}

// sealed forgets what is in a batch now.
func (a *ages) sealed(mark uint64) {
	i := 0
	for i < len(*a) && (*a)[i].last <= mark {
		i++
	}
	*a = slices.Delete(*a, 0, i)
}

// laneTable finds lanes by number and by key.
type laneTable struct {
	byNo atomic.Pointer[map[uint32]*lane] // replaced, never changed

	mu    sync.RWMutex
	byKey map[string]*lane
}

func newLaneTable() *laneTable {
	t := &laneTable{byKey: map[string]*lane{}}
	t.byNo.Store(&map[uint32]*lane{})
	return t
}

func (t *laneTable) get(no uint32) *lane { return (*t.byNo.Load())[no] }

func (t *laneTable) find(key string) *lane {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.byKey[key]
}

func (t *laneTable) add(lanes ...*lane) {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := *t.byNo.Load()
	fresh := make(map[uint32]*lane, len(old)+len(lanes))
	for no, l := range old {
		fresh[no] = l
	}
	for _, l := range lanes {
		fresh[l.no] = l
		t.byKey[l.key] = l
	}
	t.byNo.Store(&fresh)
}

// sorted lists all lanes by number.
func (t *laneTable) sorted() []*lane {
	all := *t.byNo.Load()
	out := make([]*lane, 0, len(all))
	for _, l := range all {
		out = append(out, l)
	}
	slices.SortFunc(out, func(a, b *lane) int { return cmp.Compare(a.no, b.no) })
	return out
}

// Lane gives the number of the lane of p, and makes it durable when it is
// new. Properties with equal keys have one lane for the life of the spool;
// lanes count from 1. The limit holds for this process, from now on; a format
// that does not concatenate has one record in a frame whatever it says.
//
// It returns an error that matches [ingest.ErrInvalid] for invalid
// properties, ErrClosed, ErrFailed, or ctx's error, after which the lane may
// exist nevertheless.
func (s *Store) Lane(ctx context.Context, p *ingest.Properties, lim FrameLimit) (uint32, error) {
	if err := p.Validate(); err != nil {
		return 0, err
	}
	key := p.Key()
	l := s.lanes.find(key)
	if l == nil {
		err := s.manifest.do(ctx, func(g *group) error {
			if l = s.lanes.find(key); l != nil {
				return nil
			}
			if l = g.newLanes[key]; l != nil {
				return nil
			}
			g.state.Lanes++
			fresh, err := newLane(g.state.Lanes, key)
			if err != nil {
				return err
			}
			fresh.next = 1
			l = fresh
			g.newLanes[key] = fresh
			g.put(bktLanes, u32(fresh.no), pack(key))
			g.setMarks(fresh.no, laneMarks{})
			g.saveState()
			g.publish(func() { s.lanes.add(fresh) })
			return nil
		})
		if err != nil {
			return 0, err
		}
	}
	l.setLimit(lim)
	return l.no, nil
}

// LaneProperties gives a lane's properties. What they refer to is shared and
// must not be changed.
func (s *Store) LaneProperties(lane uint32) (ingest.Properties, bool) {
	l := s.lanes.get(lane)
	if l == nil {
		return ingest.Properties{}, false
	}
	return l.props, true
}

// Lanes lists the numbers of all lanes, ascending.
func (s *Store) Lanes() []uint32 {
	var out []uint32
	for _, l := range s.lanes.sorted() {
		out = append(out, l.no)
	}
	return out
}

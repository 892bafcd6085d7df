package store

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"kustospool/ingest"
	"kustospool/store/internal/ledger"
	"kustospool/store/internal/wal"
)

// lane is the queue of one set of properties, as the door needs it: where its
// records are in the log. How far it is sealed, and its batches, are the
// ledger's to know.
type lane struct {
	// Immutable.
	no        uint32
	key       string
	props     ingest.Properties
	separator int64 // bytes that a record adds to a payload beside itself

	// Guarded by Store.mu.
	high    uint64         // last record that is acknowledged
	bytes   int64          // payload bytes up to there
	segs    []segmentRange // where its records are, in order
	objects []*liveObject  // its objects that are not settled, in order
	ages    ages
	// openBytes is what the records in no batch add to a payload, as far as they
	// were met: those up to countedTo.
	openBytes int64
	countedTo uint64
}

// addOpen counts records that are in no batch yet, once. Store.mu is held.
func (l *lane) addOpen(last uint64, bytes int64) {
	if last > l.countedTo {
		l.openBytes += bytes
		l.countedTo = last
	}
}

// segmentRange is a range of the lane that is in one segment.
type segmentRange struct {
	seg *segment
	span
}

func newLane(l ledger.Lane) *lane {
	out := &lane{no: l.No, key: l.Key, props: l.Properties, high: l.Watermarks.High, bytes: l.Watermarks.Bytes}
	if out.props.Concatenates() {
		out.separator = 1
	}
	return out
}

// forLog is the lane as the log is told of it.
func (l *lane) forLog(next uint64) wal.Lane {
	return wal.Lane{No: l.no, Key: l.key, Separator: l.separator, Next: next, Bytes: l.bytes}
}

func (l *lane) limit(lim FrameLimit) wal.FrameLimit {
	if l.separator == 0 {
		lim.Records = 1
	}
	return wal.FrameLimit{Bytes: min(max(lim.Bytes, 0), DefaultFrameBytes), Records: max(lim.Records, 0)}
}

// rangeAt is where a record is. Store.mu is held.
func (l *lane) rangeAt(seq uint64) (segmentRange, bool) {
	i, _ := slices.BinarySearchFunc(l.segs, seq, func(h segmentRange, seq uint64) int { return cmp.Compare(h.Last, seq) })
	if i == len(l.segs) || l.segs[i].First > seq {
		return segmentRange{}, false
	}
	return l.segs[i], true
}

// rangeAfter is the first range that begins after seq. Store.mu is held.
func (l *lane) rangeAfter(seq uint64) (segmentRange, bool) {
	i, _ := slices.BinarySearchFunc(l.segs, seq, func(h segmentRange, seq uint64) int { return cmp.Compare(h.First, seq+1) })
	if i == len(l.segs) {
		return segmentRange{}, false
	}
	return l.segs[i], true
}

// ages remembers roughly when the records that are in no batch were accepted:
// a few points, each with the oldest accept time of the records up to it.
type ages []age

type age struct {
	last uint64
	at   time.Time
}

const maxAges = 32

func (a *ages) add(last uint64, at time.Time) {
	if n := len(*a); n == maxAges {
		// Two neighbours become one, which keeps the older time.
		half := (*a)[:0]
		for i := 0; i < n; i += 2 {
			half = append(half, age{last: (*a)[min(i+1, n-1)].last, at: (*a)[i].at})
		}
		*a = half
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
	// pages are by number / lanesInPage. The map is replaced and never changed, so
	// that a reader takes no lock, and is copied only for a new page, so that many
	// lanes are made in a time that grows little faster than their number.
	pages atomic.Pointer[map[uint32]*lanePage]

	mu    sync.RWMutex
	byKey map[string]*lane
}

const lanesInPage = 64

type lanePage [lanesInPage]atomic.Pointer[lane]

func newLaneTable() *laneTable {
	t := &laneTable{byKey: map[string]*lane{}}
	t.pages.Store(&map[uint32]*lanePage{})
	return t
}

func (t *laneTable) get(no uint32) *lane {
	if p := (*t.pages.Load())[no/lanesInPage]; p != nil {
		return p[no%lanesInPage].Load()
	}
	return nil
}

// all gives every lane, in no order.
func (t *laneTable) all(yield func(*lane) bool) {
	for _, p := range *t.pages.Load() {
		for i := range p {
			if l := p[i].Load(); l != nil && !yield(l) {
				return
			}
		}
	}
}

func (t *laneTable) find(key string) *lane {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.byKey[key]
}

func (t *laneTable) add(lanes ...*lane) {
	t.mu.Lock()
	defer t.mu.Unlock()
	pages := *t.pages.Load()
	copied := false
	for _, l := range lanes {
		p := pages[l.no/lanesInPage]
		if p == nil {
			if !copied {
				pages, copied = maps.Clone(pages), true
			}
			p = new(lanePage)
			pages[l.no/lanesInPage] = p
		}
		p[l.no%lanesInPage].Store(l)
		t.byKey[l.key] = l
	}
	t.pages.Store(&pages)
}

// sorted lists all lanes by number.
func (t *laneTable) sorted() []*lane {
	return slices.SortedFunc(t.all, func(a, b *lane) int { return cmp.Compare(a.no, b.no) })
}

// Lane gives the number of the lane of p, and makes it durable when it is
// new. Properties with equal keys have one lane for the life of the spool;
// lanes count from 1. The limit holds for this process, from now on; a format
// that does not concatenate has one record in a frame whatever it says.
//
// It returns an error that matches [ingest.ErrInvalid] for invalid
// properties, ErrClosed, ErrFailed, ErrFull, or ctx's error, after which the
// lane may exist nevertheless.
func (s *Store) Lane(ctx context.Context, p *ingest.Properties, lim FrameLimit) (uint32, error) {
	if err := p.Validate(); err != nil {
		return 0, err
	}
	l := s.lanes.find(p.Key())
	if l == nil {
		var err error
		if l, err = s.newLane(ctx, p); err != nil {
			return 0, err
		}
	}
	if err := s.wal.SetLimit(l.no, l.limit(lim)); err != nil {
		return 0, s.translate(err)
	}
	return l.no, nil
}

// newLane makes a lane, first in the ledger and then in the log.
func (s *Store) newLane(ctx context.Context, p *ingest.Properties) (*lane, error) {
	if err := s.Err(); err != nil {
		return nil, err
	}
	var row ledger.Lane
	err := s.ledger.Do(ctx, func(tx *ledger.Tx) (err error) {
		row, err = tx.AddLane(p)
		return err
	})
	if err != nil {
		return nil, err
	}
	s.adding.Lock()
	defer s.adding.Unlock()
	if l := s.lanes.find(row.Key); l != nil {
		return l, nil // made by another call meanwhile
	}
	l := newLane(row)
	if err := s.wal.AddLane(l.forLog(l.high + 1)); err != nil {
		return nil, s.translate(err)
	}
	s.lanes.add(l)
	return l, nil
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

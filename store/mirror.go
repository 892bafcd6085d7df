package store

import (
	"cmp"
	"slices"
	"time"

	"kustospool/internal/crashpoint"
	"kustospool/store/internal/ledger"
	"kustospool/store/internal/object"
	"kustospool/store/internal/wal"
)

// segment is a segment of the log as the door sees it: which records it has,
// and how many of them are not settled.
type segment struct {
	no uint64

	// Guarded by Store.mu.
	lanes   map[uint32]span // of its records; there can be holes
	live    int64           // records not settled
	rotated bool            // info is what the log says of it
	listed  bool            // the ledger has its row
	leaving bool            // it is being given back
	lost    bool            // its file is gone
	damage  int64           // found by Open, and counted when it is listed
	info    wal.SegmentInfo

	// Of compaction; see there.
	remaining int64     // records that are left in it; 0: not counted yet
	sparse    time.Time // since when it holds little that is live
	solid     int64     // live records when it turned out not to be worth it
}

// liveObject is an object that a committed frame refers to. Its file lives as long
// as one of its records is not settled.
type liveObject struct {
	id      object.ID
	size    int64
	segment uint64
	lane    uint32
	span

	// Guarded by Store.mu.
	live    int64 // records not settled
	saved   bool  // the ledger has its row
	damaged bool  // found so by a reader
}

func (o *liveObject) row() ledger.Object {
	return ledger.Object{ID: ledger.ObjectID(o.id), Lane: o.lane, First: o.First, Last: o.Last, Size: o.size}
}

// committed is told of each commit of the log once it is durable, one at a
// time and in order.
func (s *Store) committed(c *wal.Commit) {
	s.mu.Lock()
	seg := s.segmentLocked(c.Segment)
	for i := range c.Frames {
		s.addFrameLocked(seg, &c.Frames[i])
	}
	for i := range c.Refs {
		s.addObjectLocked(&c.Refs[i])
	}
	s.mu.Unlock()
	if len(c.Keys) > 0 && s.keys.add(c.Keys) {
		s.maintenance.signal()
	}
	if len(c.Positions) > 0 {
		s.positions.add(c.Number, c.Positions)
	}
	s.positions.last.Store(c.Number)
	crashpoint.Reach("append.committed")
	if s.opts.Committed == nil || len(c.Frames) == 0 {
		return
	}
	if s.opts.Timed != nil {
		s.opts.Timed(c.Took, c.Synced)
	}
	s.frames = s.frames[:0]
	for i := range c.Frames {
		s.frames = append(s.frames, frameOf(&c.Frames[i]))
	}
	s.opts.Committed(s.frames)
}

func frameOf(f *wal.Frame) Frame {
	return Frame{Lane: f.Lane, First: f.First, Last: f.Last, Bytes: f.Bytes, At: time.Unix(0, f.At).UTC()}
}

func (s *Store) segmentLocked(no uint64) *segment {
	seg := s.segments[no]
	if seg == nil {
		seg = &segment{no: no, lanes: map[uint32]span{}}
		s.segments[no] = seg
	}
	return seg
}

// addFrameLocked enters a frame into the mirror.
func (s *Store) addFrameLocked(seg *segment, f *wal.Frame) {
	l := s.lanes.get(f.Lane)
	l.high, l.bytes = f.Last, f.Before+f.Bytes
	if n := len(l.segs); n > 0 && l.segs[n-1].seg == seg {
		l.segs[n-1].Last = f.Last
	} else {
		l.segs = append(l.segs, segmentRange{seg: seg, span: span{First: f.First, Last: f.Last}})
	}
	r, ok := seg.lanes[f.Lane]
	if !ok {
		r.First = f.First
	}
	r.Last = f.Last
	seg.lanes[f.Lane] = r
	n := int64(f.Last - f.First + 1)
	seg.live += n
	s.unsettled += n
	l.ages.add(f.Last, time.Unix(0, f.At))
	l.addOpen(f.Last, f.Bytes)
}

// addObjectLocked enters an object. The ledger gets it when its segment is
// listed: until then Open finds the frame in the log.
func (s *Store) addObjectLocked(r *wal.RefAt) {
	l := s.lanes.get(r.Lane)
	o := &liveObject{id: object.ID(r.Object), size: r.Size, segment: r.Segment, lane: r.Lane, span: span{First: r.First, Last: r.Last}}
	o.live = o.Count()
	l.objects = append(l.objects, o)
}

// settled is told by the ledger of each batch that reached a final state.
func (s *Store) settled(e ledger.Entry) {
	s.mu.Lock()
	r := span{First: e.Batch.First, Last: e.Batch.Last}
	l := s.lanes.get(e.Batch.Lane)
	i, _ := slices.BinarySearchFunc(l.segs, r.First, func(h segmentRange, seq uint64) int { return cmp.Compare(h.Last, seq) })
	work := false
	for ; i < len(l.segs) && l.segs[i].First <= r.Last; i++ {
		n := l.segs[i].Overlap(r)
		seg := l.segs[i].seg
		seg.live -= n
		s.unsettled -= n
		work = work || seg.live*compactShare <= seg.remaining || seg.live == 0 || seg.remaining == 0
	}
	work = s.freeObjectsLocked(l, r) || work || s.unsettled == 0
	s.mu.Unlock()
	if work {
		s.maintenance.signal()
	}
	if s.opts.Settled != nil {
		s.opts.Settled(e)
	}
}

// freeObjectsLocked takes a settled range off the objects that hold it, and
// reports whether that was the last of one.
func (s *Store) freeObjectsLocked(l *lane, r span) (spent bool) {
	i, _ := slices.BinarySearchFunc(l.objects, r.First, func(o *liveObject, seq uint64) int { return cmp.Compare(o.Last, seq) })
	for ; i < len(l.objects) && l.objects[i].First <= r.Last; i++ {
		o := l.objects[i]
		if o.live -= o.Overlap(r); o.live == 0 || s.opts.bugs.dropObjects {
			o.live = 0
			s.spent = append(s.spent, o)
			spent = true
		}
	}
	if spent {
		l.objects = slices.DeleteFunc(l.objects, func(o *liveObject) bool { return o.live == 0 })
	}
	return spent
}

// rotated is told by the log of each segment that was completed.
func (s *Store) rotated(info wal.SegmentInfo) {
	s.mu.Lock()
	seg := s.segmentLocked(info.No)
	seg.info, seg.rotated = info, true
	s.listing = append(s.listing, seg)
	s.mu.Unlock()
	crashpoint.Reach("rotate.rotated")
	s.maintenance.signal()
}

// forgetLocked takes a segment out of the mirror.
func (s *Store) forgetLocked(seg *segment) {
	delete(s.segments, seg.no)
	for lane := range seg.lanes {
		l := s.lanes.get(lane)
		rest := l.segs[:0:0]
		for _, h := range l.segs {
			if h.seg != seg {
				rest = append(rest, h)
			}
		}
		l.segs = rest
	}
}

// end is where a lane's acknowledged records end. It is the ledger's Ends.
func (s *Store) end(lane uint32) (high uint64, bytes int64) {
	l := s.lanes.get(lane)
	if l == nil {
		return 0, 0
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return l.high, l.bytes
}

// laneEnd is a lane's floor for the ledger.
type laneEnd struct {
	lane  uint32
	high  uint64
	bytes int64
}

// ends are the floors of the lanes of a segment, or of all.
func (s *Store) ends(seg *segment) (out []laneEnd) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for l := range s.lanes.all {
		if seg != nil {
			if _, ok := seg.lanes[l.no]; !ok {
				continue
			}
		}
		if l.high > 0 {
			out = append(out, laneEnd{l.no, l.high, l.bytes})
		}
	}
	return out
}

package wal

import (
	"cmp"
	"fmt"
	"slices"

	"kustospool/internal/vfs"
)

// adopt takes over what the surveys found.
func (r *recovery) adopt() error {
	ends := map[uint32]uint64{} // last record of each lane in the segment before
	var before *surveyed
	for _, s := range r.surveys {
		r.crossCheck(before, s, ends)
		before = s
		clear(ends)
		for no, x := range s.index.lanes {
			ln := r.lane(no)
			if x.defined && ln.Key == "" {
				ln.Key, ln.Separator = x.key, x.separator
			}
			if len(x.places) > 0 {
				ends[no] = x.Last
				if x.Last >= ln.Next {
					ln.Next, ln.Bytes = x.Last+1, x.bytes
				}
			}
		}
		if !s.listed { // else they are in the ledger, which may have newer ones
			r.out.Keys = append(r.out.Keys, s.extras.keys...)
			r.out.Positions = append(r.out.Positions, s.extras.positions...)
		}
		r.out.Refs = append(r.out.Refs, s.refs...)
		r.out.Damage = append(r.out.Damage, s.damage...)
		r.out.TailMissing = r.out.TailMissing || s.tailUnread
	}
	for _, no := range sortedKeys(r.lanes) {
		ln := *r.lanes[no]
		r.out.Lanes = append(r.out.Lanes, ln)
		r.l.addLane(ln)
	}
	r.out.RestatedThrough, r.out.Positions = counting(r.out.Positions)
	a := r.known.Active
	r.out.TailMissing = r.out.TailMissing || a.End > headBytes && a.Commit > r.last && !r.tombstoneOrRow(a.No)
	r.noteLast(a.Commit, 0)
	return nil
}

// counting drops what later commits, which say what there was, do not say any more.
// Removals stay: the ledger may not know of them.
func counting(all []Position) (through uint64, out []Position) {
	for _, p := range all {
		if p.Name != "" {
			out = append(out, p)
			continue
		}
		through = max(through, p.Commit)
		out = slices.DeleteFunc(out, func(o Position) bool { return o.Value != nil && o.Commit <= p.Commit })
	}
	slices.SortStableFunc(out, func(a, b Position) int { return cmp.Compare(a.Commit, b.Commit) })
	return through, out
}

// tombstoneOrRow reports whether the ledger answers for a segment.
func (r *recovery) tombstoneOrRow(no uint64) bool {
	return slices.ContainsFunc(r.known.Tombstones, func(s Tombstone) bool { return s.No == no }) ||
		slices.ContainsFunc(r.known.Segments, func(s SegmentInfo) bool { return s.No == no })
}

// crossCheck tells of commits that are missing between two segments: the first
// commit of a segment proves all of the one before it.
func (r *recovery) crossCheck(a, b *surveyed, ends map[uint32]uint64) {
	if a == nil || a.compacted || b.compacted || b.info.FirstCommit == 0 || b.info.No != a.info.No+1 {
		return
	}
	if a.info.LastCommit+1 >= b.info.FirstCommit {
		return
	}
	if !a.tailHole {
		a.tailHole = true
		r.out.Damage = append(r.out.Damage, Damage{Segment: a.info.No, Name: a.name, Off: a.info.End, Err: ErrDamaged})
	}
	d := &r.out.Damage[len(r.out.Damage)-1]
	d.Err = fmt.Errorf("%w; commits %d to %d are missing", d.Err, a.info.LastCommit+1, b.info.FirstCommit-1)
	for _, no := range sortedKeys(b.index.lanes) {
		x := b.index.lanes[no]
		if last, ok := ends[no]; ok && len(x.places) > 0 && x.First > last+1 {
			d.Lost = append(d.Lost, Lost{no, Span{last + 1, x.First - 1}})
		}
	}
}

// activeOne is the segment to go on with: the last one where that has room and
// nothing about its end is in doubt; nil for a new one.
func (r *recovery) activeOne() *surveyed {
	if len(r.surveys) == 0 {
		return nil
	}
	s := r.surveys[len(r.surveys)-1]
	for no := range r.k.segs {
		if no > s.info.No {
			return nil
		}
	}
	if s.listed || s.compacted || s.unread || s.tailHole || s.headless || s.info.LastCommit != r.last ||
		s.info.End+s.index.grow() >= r.l.opts.SegmentBytes || s.index.frames >= maxIndexed || s.index.full {
		return nil
	}
	return s
}

// activate makes ready the segment that is written next.
func (r *recovery) activate() error {
	l := r.l
	active := r.activeOne()
	for _, s := range r.surveys {
		seg := &segment{info: s.info, compacted: s.compacted, index: s.index}
		seg.info.Lanes = nil
		r.k.segs[s.info.No] = seg
		if s == active {
			continue
		}
		if !s.sealed && !s.headless && !s.unread {
			// Without an index it is read from front to back when it is needed. One
			// that could not be read in whole may be another time: nothing is
			// written over its end, and no index leaves out what is there.
			if err := r.again(s); err != nil {
				return err
			}
			_ = r.k.writeIndex(s.file, seg)
		}
		_ = s.file.Close()
		s.file = nil
		seg.info.Lanes, seg.index = s.index.spans(), nil
		r.out.Rotated = append(r.out.Rotated, seg.info)
	}
	l.w.number, l.w.chain = r.last, r.chain
	if active == nil {
		p, err := r.k.prepare()
		if err != nil {
			if vfs.NoSpace(err) {
				err = fmt.Errorf("%w: %w", ErrNoSpace, err)
			}
			return err
		}
		l.activate(p)
		r.out.Active = p.seg.describe()
		return nil
	}
	w := &l.w
	w.file, w.seg, w.end, w.size = active.file, r.k.segs[active.info.No], active.info.End, active.info.Size
	active.file = nil
	w.sealed = active.sealed
	if !active.sealed {
		active.file = w.file
		err := r.again(active)
		active.file = nil
		if err != nil {
			return err
		}
	}
	l.seed.Store(seedOf(active.info.Generation))
	r.k.active = w.seg
	l.end, l.size, l.index = w.end, w.size, w.seg.index.grow()
	for no, x := range w.seg.index.lanes {
		if x.defined {
			l.lanes[no].definedIn = active.info.No
		}
	}
	r.out.Active = w.seg.describe()
	return nil
}

// again writes the last commit of a segment once more and syncs it.
func (r *recovery) again(s *surveyed) error {
	if r.l.opts.NoSync || r.l.opts.bugs.noRewrite || s.lastOff == 0 {
		return nil
	}
	buf := make([]byte, min(s.info.End-s.lastOff, windowBytes))
	for off := s.lastOff; off < s.info.End; {
		p := buf[:min(int64(len(buf)), s.info.End-off)]
		if err := readFull(s.file, p, off); err != nil {
			return err
		}
		if _, err := s.file.WriteAt(p, off); err != nil {
			return err
		}
		off += int64(len(p))
	}
	return s.file.Sync()
}

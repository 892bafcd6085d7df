package store

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"kustospool/internal/vfs"
	"kustospool/store/internal/ledger"
	"kustospool/store/internal/wal"
)

// skipAhead is how far a lane's numbers jump when records may have been lost
// whose count nobody knows: more than fit into the largest segment and the
// objects that it refers to, so that no number is given out twice.
const skipAhead = 1 << 40

// recovery is Open's work between the lock and the maintenance. Each step is a row
// of the crash matrix in doc.go, and can be repeated. Look takes those of the steps
// that find out, and none that changes a file.
type recovery struct {
	s           *Store
	look        bool
	log         *wal.Recovered
	clean       bool   // the last Close finished
	tailMissing bool   // records may have been acknowledged that no file tells of
	ahead       uint64 // how far numbers jump then

	damaged, suspect int64 // found now, and not in the counters yet
	active           bool  // the active segment is damaged
	mustRotate       bool  // the log has what cannot be used
	forget           []uint64
	lost             []*segment
	fresh            []ledger.ObjectID // settled, to be forgotten
}

func (r *recovery) run() error {
	s := r.s
	if err := r.openLedger(); err != nil {
		return err
	}
	for _, step := range []func() error{
		r.openLog, r.quarantineOrphanLanes, r.restoreLanes, r.mirror, r.foreignFiles, r.damage, r.missing, r.loadObjects, r.undoneDeadLetters, r.handledDeadLetters, r.loadPaused, r.account, r.begin,
	} {
		if err := step(); err != nil {
			return fmt.Errorf("opening %s: %w", s.dir, err)
		}
	}
	return nil
}

// abandon lets go of what a failed Open had taken.
func (r *recovery) abandon() error {
	s := r.s
	var errs []error
	if s.wal != nil {
		_, err := s.wal.Close()
		errs = append(errs, err)
	}
	if s.ledger != nil {
		errs = append(errs, s.ledger.Close())
	}
	return errors.Join(append(errs, s.lock.Close())...)
}

// prepare makes the directories and removes what was half written.
func (r *recovery) prepare() error {
	s := r.s
	for _, sub := range subdirectories {
		if err := s.fs.MkdirAll(s.path(sub)); err != nil {
			return err
		}
	}
	// A file is only as durable as the entries that lead to it.
	if err := s.syncDir(s.dir); err != nil {
		return err
	}
	return s.sweep()
}

// openLog opens the log with what the ledger knows of it.
func (r *recovery) openLog() error {
	if r.s.wal != nil {
		return nil // by the rebuild
	}
	st := r.s.ledger.State()
	known := wal.Known{HighestNo: st.HighestNo,
		Active: wal.LogEnd{No: st.Active.No, Generation: st.Active.Generation, End: st.Active.End, Commit: st.Active.LastCommit}}
	for _, row := range r.s.ledger.Segments() {
		if !row.Lost {
			known.Segments = append(known.Segments, infoOf(&row))
		}
	}
	for _, t := range r.s.ledger.Tombstones() {
		known.Tombstones = append(known.Tombstones, wal.Tombstone{No: t.No, Generation: t.Generation})
	}
	for _, row := range r.s.ledger.Lanes() {
		known.Lanes = append(known.Lanes, newLane(row).forLog(row.Watermarks.Next(row.Watermarks.High)))
	}
	return r.startLog(known)
}

func infoOf(row *ledger.Segment) wal.SegmentInfo {
	i := wal.SegmentInfo{No: row.No, Generation: row.Generation, Size: row.Size, End: row.End, Index: row.Index,
		FirstCommit: row.FirstCommit, LastCommit: row.LastCommit, Chain: row.Chain, Lanes: map[uint32]wal.Span{}}
	for lane, span := range row.Lanes {
		i.Lanes[lane] = wal.Span(span)
	}
	return i
}

func (r *recovery) startLog(known wal.Known) error {
	s := r.s
	o := &s.opts
	var err error
	lo := wal.Options{
		FS: s.fs, Dir: s.path(segmentsName), Spool: s.id, SegmentBytes: o.SegmentBytes, OpenSegments: o.OpenSegments,
		CommitInterval: o.CommitInterval, Compress: o.Compression == S2, NoSync: o.NoSync,
		Gate: gate{s}, Committed: s.committed, Rotated: s.rotated, Freed: s.disk.reclaimed, Failed: func(err error) { _ = s.fail(err) },
	}
	if o.tune != nil {
		o.tune(&lo)
	}
	open := wal.Open
	if r.look {
		open = wal.Look
	}
	s.wal, r.log, err = open(lo, known)
	if err != nil {
		return err
	}
	r.tailMissing = r.tailMissing || r.log.TailMissing
	// All tombstones are served: their files are recycled, or gone.
	for _, t := range known.Tombstones {
		r.forget = append(r.forget, t.No)
	}
	return nil
}

// restoreLanes enters the lanes. One that only the log knows is there because
// the ledger fell back: it is made there before its first record.
func (r *recovery) restoreLanes() error {
	s := r.s
	known := map[uint32]wal.Lane{}
	for _, l := range r.log.Lanes {
		known[l.No] = l
		if _, ok := s.ledger.Lane(l.No); ok {
			continue
		}
		r.suspect++
		restore := func(tx *ledger.Tx) error { _, err := tx.RestoreLane(l.No, l.Key); return err }
		if r.look {
			if err := s.ledger.AssumeLane(l.No, l.Key); err != nil {
				return err
			}
		} else if err := s.ledger.Do(background, restore); err != nil {
			return err
		}
	}
	var lanes []*lane
	for _, row := range s.ledger.Lanes() {
		l := newLane(row)
		if in, ok := known[l.no]; ok && in.Next > row.Watermarks.Next(row.Watermarks.High) {
			l.high, l.bytes = in.Next-1, max(in.Bytes, l.bytes)
		}
		lanes = append(lanes, l)
	}
	s.lanes.add(lanes...)
	return nil
}

// mirror enters segments, keys and positions, and counts what is not settled.
func (r *recovery) mirror() error {
	s := r.s
	for _, row := range s.ledger.Segments() {
		s.segments[row.No] = &segment{no: row.No, lanes: row.Lanes, rotated: true, listed: true, lost: row.Lost, info: infoOf(&row)}
	}
	enter := func(info wal.SegmentInfo) *segment {
		seg := &segment{no: info.No, lanes: map[uint32]span{}, info: info}
		for lane, seqs := range info.Lanes {
			seg.lanes[lane] = span(seqs)
		}
		s.segments[info.No] = seg
		return seg
	}
	s.mu.Lock()
	for _, info := range r.log.Rotated {
		seg := enter(info)
		seg.rotated = true
		s.listing = append(s.listing, seg)
	}
	if r.log.Active.No != 0 {
		enter(r.log.Active)
	}
	slices.SortFunc(s.listing, func(a, b *segment) int { return cmp.Compare(a.no, b.no) })
	s.mu.Unlock()
	for _, seg := range s.segments {
		for lane, seqs := range seg.lanes {
			l := s.lanes.get(lane)
			if l == nil {
				return fmt.Errorf("segment %d has records of lane %d, which nobody knows", seg.no, lane)
			}
			l.segs = append(l.segs, rangeIn(seg, seqs))
			n := s.ledger.Unsettled(lane, seqs, l.high)
			seg.live += n
			s.unsettled += n
		}
	}
	for _, l := range s.lanes.sorted() {
		slices.SortFunc(l.segs, func(a, b segmentRange) int { return cmp.Compare(a.First, b.First) })
	}
	r.dropInvalidPositions()
	s.keys.add(r.log.Keys)
	r.positions()
	return nil
}

func rangeIn(seg *segment, r span) segmentRange { return segmentRange{seg: seg, span: r} }

// foreignFiles sets aside what is no segment.
func (r *recovery) foreignFiles() error {
	s := r.s
	for _, f := range r.log.ForeignFiles {
		s.log.Error("a file in the log is not a segment of it", "path", s.path(segmentsName, f.Name), "cause", f.Err)
		r.damaged++
		if !r.look {
			if err := s.quarantine(s.path(segmentsName, f.Name)); err != nil && !vfs.Missing(err) {
				return err
			}
		}
		// Where it has the name of a listed segment, that one is lost with it.
		no, _ := strconv.ParseUint(strings.TrimSuffix(f.Name, segmentSuffix), 10, 64)
		if seg := s.segments[no]; seg != nil && seg.listed && numbered(f.Name, segmentSuffix) {
			seg.lost = true
			r.lost = append(r.lost, seg)
		} else if numbered(f.Name, segmentSuffix) {
			r.tailMissing = true // it may have held what no other file tells of
		}
	}
	return nil
}

// damage keeps the bytes of damaged stretches. Records that went with them stay
// in the books until they are dead-lettered.
func (r *recovery) damage() error {
	s := r.s
	for _, d := range r.log.Damage {
		s.log.Error("the log is damaged", "path", s.path(segmentsName, filepath.Base(d.Name)), "offset", d.Off, "bytes", d.Len, "lost", d.Lost, "cause", d.Err)
		if seg := s.segments[d.Segment]; seg != nil && !seg.listed {
			seg.damage++
		} else {
			r.damaged++
		}
		r.active = r.active || d.Segment == r.log.Active.No
		if d.Len == 0 || r.look {
			continue
		}
		name := s.quarantineName(fmt.Sprintf("%s-%d", filepath.Base(d.Name), d.Off))
		if err := s.quarantineBytes(name, func(keep func([]byte) bool) error {
			buf := make([]byte, 256<<10)
			for off, end := d.Off, d.Off+d.Len; off < end; {
				n, err := s.wal.ReadAt(d.Segment, buf[:min(int64(len(buf)), end-off)], off)
				if n == 0 || !keep(buf[:n]) {
					return nil
				}
				if off += int64(n); err != nil {
					return nil // what can be had was had
				}
			}
			return nil
		}); err != nil && !vfs.NoSpace(err) {
			return err
		}
	}
	return nil
}

// missing notices segments whose file is gone, and records that the ledger
// knows to have been acknowledged and no segment claims. All of them are told
// as damaged when they are read.
func (r *recovery) missing() error {
	s := r.s
	for _, no := range r.log.Missing {
		seg := s.segments[no]
		if seg == nil || seg.lost {
			continue
		}
		s.log.Error("a segment is lost", "dir", s.dir, "segment", no)
		r.damaged++
		seg.lost = true
		r.lost = append(r.lost, seg)
	}
	for _, l := range s.lanes.sorted() {
		end := uint64(0)
		if n := len(l.segs); n > 0 {
			end = l.segs[n-1].Last
		}
		if n := s.ledger.Unsettled(l.no, span{First: end + 1, Last: l.high}, l.high); end < l.high && n > 0 {
			s.log.Error("acknowledged records are lost", "dir", s.dir, "lane", l.no, "records", n, "last", l.high)
			if !r.tailMissing {
				r.damaged++
			}
			r.tailMissing = true
		}
	}
	return nil
}

// account measures all files that are not accounted for.
func (r *recovery) account() error {
	s := r.s
	for _, sub := range []string{objectsName, deadName, quarantined} {
		if err := s.measureDir(s.path(sub)); err != nil && !(r.look && vfs.Missing(err)) {
			return err
		}
	}
	s.measure(s.path(lockName))
	return nil
}

// begin makes what was found durable, and notes that the spool is in use.
func (r *recovery) begin() error {
	s := r.s
	jump := r.tailMissing && !r.clean
	if jump || r.active || r.mustRotate {
		// No segment has numbers from both sides of a gap, and a damaged one is
		// not written any further: once it is listed its damage is not met again.
		if err := s.wal.Rotate(); err != nil {
			return s.translate(err)
		}
	}
	if r.active || r.mustRotate || len(r.log.Damage) > 0 {
		// With the rows, so that the damage is counted once.
		if err := s.listAll(); err != nil {
			return err
		}
	}
	nexts := map[uint32]uint64{}
	active := s.wal.Active()
	err := s.ledger.Do(background, func(tx *ledger.Tx) error {
		clear(nexts)
		for _, no := range r.forget {
			if err := tx.ForgetSegment(no); err != nil {
				return err
			}
		}
		for _, id := range r.fresh {
			if err := tx.DeleteObject(id); err != nil {
				return err
			}
		}
		for _, seg := range r.lost {
			if err := tx.PutSegment(s.rowOf(seg)); err != nil {
				return err
			}
		}
		for _, l := range s.lanes.sorted() {
			if err := tx.Advance(l.no, l.high, l.bytes); err != nil {
				return err
			}
			row, _ := tx.Lane(l.no)
			// A lane that is at the end of all numbers takes nothing any more.
			if room := wal.MaxSeq - min(row.Watermarks.Next(l.high), wal.MaxSeq); jump && l.high > 0 && room > 0 {
				next, err := tx.Jump(l.no, min(r.ahead, room))
				if err != nil {
					return err
				}
				nexts[l.no] = next
			}
		}
		tx.Count(r.damaged, r.suspect, 0)
		st := tx.State()
		st.Epoch++
		st.Clean, st.HighestNo = false, max(st.HighestNo, active.No)
		st.Active = ledger.Active{No: active.No, Generation: active.Generation, End: active.End,
			LastCommit: max(st.Active.LastCommit, active.LastCommit), Chain: active.Chain}
		tx.SetState(st)
		return nil
	})
	if err != nil {
		return err
	}
	for lane, next := range nexts {
		if err := s.wal.Skip(lane, next); err != nil {
			return s.translate(err)
		}
	}
	return nil
}

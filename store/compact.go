package store

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"kustospool/internal/crashpoint"
)

// A segment's file goes when its last record is settled, so that one table that
// is not delivered would keep the files of all others. Segments that hold
// little that is live are therefore written again without the rest, under the
// same number, so that nothing that refers to them changes.
const (
	// compactShare is the part of a segment's records, and of its bytes, that
	// may be live: what is written is at most a third of what is given back.
	compactShare = 4
	// compactAfter is how long a segment must have been that empty. In a spool
	// that is drained every segment is, for a moment before it goes.
	compactAfter = time.Minute
	// compactFull is the part of the room for records, in quarters, from which
	// on it is not waited for.
	compactFull = 3
)

// sparseLocked finds the rotated segment with the smallest live part of those that
// are worth to be written again now.
func (s *Store) sparseLocked(now time.Time) (least *segment) {
	pressed := s.disk.total() > (s.opts.MaxBytes-s.opts.reserve())/4*compactFull
	for _, seg := range s.segments {
		if !seg.rotated || !seg.listed || seg.leaving || seg.keys || seg.lost || seg.live == 0 || seg.live > seg.solid/2 && seg.solid > 0 {
			continue
		}
		if seg.kept == 0 {
			for _, r := range seg.lanes {
				seg.kept += r.count()
			}
		}
		if seg.live > seg.kept/compactShare {
			seg.sparse = time.Time{}
			continue
		}
		if seg.sparse.IsZero() {
			seg.sparse = now
		}
		wait := compactAfter
		if pressed {
			wait = 0
		}
		if now.Sub(seg.sparse) >= wait && (least == nil || seg.live < least.live) {
			least = seg
		}
	}
	return least
}

// liveLocked lists what is not settled of each lane's records in a segment.
func (seg *segment) liveLocked(s *Store) map[uint32][]span {
	out := map[uint32][]span{}
	for no, held := range seg.lanes {
		l := s.lanes.get(no)
		for _, e := range l.live {
			if r := (span{e.Batch.First, e.Batch.Last}); r.overlap(held) > 0 {
				out[no] = append(out[no], span{max(r.First, held.First), min(r.Last, held.Last)})
			}
		}
		if open := (span{max(l.marks.Mark+1, held.First), min(l.marks.High, held.Last)}); open.First <= open.Last {
			out[no] = append(out[no], open)
		}
	}
	return out
}

// compactLater is for a segment that could not be written again for now.
func (s *Store) compactLater(seg *segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seg.sparse = time.Now().Add(compactAfter)
}

// errSolid is met where a segment turns out not to be worth it.
var errSolid = errors.New("more of the segment is live than is worth writing again")

// compact writes a segment again with the frames that hold live records. The new
// file is complete under a name of its own before it takes the old one's place,
// so a crash leaves one or the other. Readers wait for the exchange.
func (k *keeper) compact(seg *segment) (err error) {
	s := k.s
	s.repairs.Lock()
	defer s.repairs.Unlock()
	defer func() {
		if err != nil {
			s.compactLater(seg)
		}
	}()
	s.mu.RLock()
	wanted, leaving := seg.liveLocked(s), seg.leaving
	snaps := map[uint32]laneSnapshot{}
	for lane := range seg.lanes {
		snaps[lane] = laneSnapshot{Key: s.lanes.get(lane).key}
	}
	s.mu.RUnlock()
	if leaving {
		return nil
	}
	records, room := int64(0), s.disk.size(seg.path)/compactShare
	if s.disk.total()+room > s.opts.MaxBytes {
		return fmt.Errorf("%w: to write segment %d again", ErrFull, seg.no)
	}
	frames := func(yield func(frameAtRest, error) bool) {
		for _, lane := range slices.Sorted(maps.Keys(wanted)) {
			done := uint64(0)
			for _, r := range wanted[lane] {
				if r.First = max(r.First, done+1); r.First > r.Last {
					continue // the frame before has them
				}
				for f, err := range s.framesIn(seg, lane, r) {
					done = f.last
					records += int64(f.last - f.first + 1)
					if room -= int64(len(f.value)); err == nil && room < 0 {
						err = errSolid
					}
					if !yield(f, err) || err != nil {
						return
					}
				}
			}
		}
	}
	fresh := seg.path + salvageSuffix
	mark := func(tx *bolt.Tx, _ *tally) error { return tx.Bucket(bktMeta).Put(keyCompacted, []byte{1}) }
	if err := writeSegment(fresh, s.id, seg.no, snaps, frames, mark, &s.opts); err != nil {
		if errors.Is(err, errSolid) || errors.Is(err, errDamaged) {
			s.mu.Lock()
			seg.solid = seg.live
			s.mu.Unlock()
			err = nil
		}
		return errors.Join(err, s.unlink(fresh))
	}
	crashpoint.Reach("compact.written")
	// The new file has other transaction numbers.
	err = k.change(func(g *group) error {
		s.mu.RLock()
		row := seg.rowLocked(s)
		s.mu.RUnlock()
		row.Txid = 0
		g.put(bktSegments, u64(seg.no), pack(&row))
		g.publish(func() { seg.txid = 0 })
		return nil
	})
	if err != nil {
		return errors.Join(err, s.unlink(fresh))
	}
	crashpoint.Reach("compact.noted")
	defer s.handles.restore(seg)
	if err := s.handles.drop(seg, errRepair); err != nil {
		s.log.Warn("closing a segment that was written again", "path", seg.path, "cause", err)
	}
	if err := renameDurably(fresh, seg.path); err != nil {
		return errors.Join(err, s.unlink(fresh))
	}
	crashpoint.Reach("compact.exchanged")
	s.mu.Lock()
	seg.kept, seg.sparse = records, time.Time{}
	s.mu.Unlock()
	s.disk.measure(seg.path)
	s.disk.reclaimed()
	s.relist(seg)
	return nil
}

// framesIn gives the frames of a lane in a segment that hold any of some
// records. One that is damaged ends them with an error that matches errDamaged.
func (s *Store) framesIn(seg *segment, lane uint32, r span) iter.Seq2[frameAtRest, error] {
	return func(yield func(frameAtRest, error) bool) {
		l := s.lanes.get(lane)
		more := true
		for from := r.First; from <= r.Last && more; {
			// One frame for each transaction: what is done with it takes time.
			var f frameAtRest
			var damage error
			next := from
			err := s.handles.view(seg, func(tx *bolt.Tx) error {
				var scratch *[]byte
				defer func() { putBlock(scratch) }()
				walkFrames(tx, lane, openSheaves(tx).from(lane, from), from, r.Last, func(p place) bool {
					found := s.inspect(l, seg, p, &scratch)[0]
					if found.err != nil {
						damage = fmt.Errorf("%w: %v", errDamaged, found.err)
						return false
					}
					f = frameAtRest{lane: lane, first: found.h.first, last: found.h.last(), value: slices.Clone(found.raw)}
					next = f.last + 1
					return false
				})
				return nil
			})
			if err = errors.Join(err, damage); err == nil && next == from {
				err = fmt.Errorf("%w: no frame at %d", errDamaged, from)
			}
			from = next
			more = yield(f, err) && err == nil
		}
	}
}

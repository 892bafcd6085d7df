package store

import (
	"errors"
	"time"

	"kustospool/internal/crashpoint"
	"kustospool/store/internal/ledger"
	"kustospool/store/internal/wal"
)

// A segment's file goes when its last record is settled, so that one table that
// is not delivered would keep the files of all others. Segments that hold
// little that is live are therefore written again without the rest, under the
// same number, so that nothing that refers to them changes.
const (
	// compactShare is the part of a segment's records that may be live.
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
	pressed := s.diskBytes() > (s.opts.MaxBytes-s.opts.reserve())/4*compactFull
	for _, seg := range s.segments {
		if !seg.rotated || !seg.listed || seg.leaving || seg.lost || seg.live == 0 || seg.live > seg.solid/2 && seg.solid > 0 {
			continue
		}
		if seg.remaining == 0 {
			for _, r := range seg.lanes {
				seg.remaining += r.Count()
			}
		}
		if seg.live > seg.remaining/compactShare {
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

// liveIn lists what is not settled of each lane's records in a segment.
func (s *Store) liveIn(seg *segment) map[uint32][]span {
	s.mu.RLock()
	lanes := make(map[uint32]span, len(seg.lanes))
	for no, r := range seg.lanes {
		lanes[no] = r
	}
	s.mu.RUnlock()
	out := map[uint32][]span{}
	for no, r := range lanes {
		// The watermark before the batches: what is sealed meanwhile is in either.
		row, _ := s.ledger.Lane(no)
		for _, e := range s.ledger.LiveOf(no) {
			if b := (span{First: e.Batch.First, Last: e.Batch.Last}); b.Overlap(r) > 0 {
				out[no] = append(out[no], b)
			}
		}
		if row.Watermarks.Sealed < r.Last {
			out[no] = append(out[no], span{First: max(row.Watermarks.Sealed+1, r.First), Last: r.Last})
		}
	}
	return out
}

// compact writes a segment again with the frames that hold live records, and
// their keys. All keys and positions are in the ledger since it was listed.
func (s *Store) compact(seg *segment) error {
	if err := s.restatePositions([]*segment{seg}); err != nil {
		return err
	}
	wanted := s.liveIn(seg)
	info, err := s.wal.Compact(seg.no, func(f wal.Frame) bool {
		for _, r := range wanted[f.Lane] {
			if r.Overlap(span{First: f.First, Last: f.Last}) > 0 {
				return true
			}
		}
		return false
	})
	if err != nil {
		s.mu.Lock()
		if seg.sparse = time.Now().Add(compactAfter); errors.Is(err, wal.ErrDamaged) {
			seg.solid = max(seg.live, 1) // not again before much of what is wanted is settled, the damage perhaps
		}
		s.mu.Unlock()
		return s.translate(err)
	}
	crashpoint.Reach("compact.exchanged")
	s.mu.Lock()
	if info.Generation == seg.info.Generation {
		seg.solid = max(seg.live, 1) // it would not have freed enough
		s.mu.Unlock()
		return nil
	}
	seg.info = info
	seg.remaining, seg.sparse = max(seg.live, 1), time.Time{}
	s.mu.Unlock()
	s.disk.reclaimed()
	return s.ledger.Do(background, func(tx *ledger.Tx) error { return tx.PutSegment(s.rowOf(seg)) })
}

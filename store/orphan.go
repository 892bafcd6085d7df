package store

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"

	"kustospool/ingest"
	"kustospool/store/internal/ledger"
	"kustospool/store/internal/wal"
)

// quarantineOrphanLanes sets aside what the log has of lanes that cannot be restored: that no
// commit defines, whose definition is no text of properties, or is that of
// another lane. Their frames prove themselves, and nobody can say where their
// records belong. Their bytes are kept in the quarantine.
func (r *recovery) quarantineOrphanLanes() error {
	s := r.s
	why := r.orphanLanes()
	if len(why) == 0 {
		return nil
	}
	r.log.Lanes = slices.DeleteFunc(r.log.Lanes, func(l wal.Lane) bool { return why[l.No] != nil })
	r.log.Refs = slices.DeleteFunc(r.log.Refs, func(ref wal.RefAt) bool { return why[ref.Lane] != nil })
	r.log.Keys = slices.DeleteFunc(r.log.Keys, func(k wal.KeyAt) bool { return why[k.Lane] != nil })
	from := func(info *wal.SegmentInfo) error {
		for no, seqs := range info.Lanes {
			if why[no] == nil {
				continue
			}
			s.log.Error("the log has records of a lane that cannot be restored", "dir", s.dir, "segment", info.No, "lane", no, "cause", why[no])
			r.damaged++
			if err := r.quarantineLane(info.No, no, seqs); err != nil {
				return err
			}
			info.Lanes = maps.Clone(info.Lanes)
			delete(info.Lanes, no)
		}
		return nil
	}
	for i := range r.log.Rotated {
		if err := from(&r.log.Rotated[i]); err != nil {
			return err
		}
	}
	if err := from(&r.log.Active); err != nil {
		return err
	}
	for no := range why {
		s.wal.DropLane(no)
	}
	r.mustRotate = true
	return nil
}

// orphanLanes finds the lanes that cannot be restored, and says why. Of two lanes
// with the same properties the ledger's is the right one, else the one that is
// in the older segment.
func (r *recovery) orphanLanes() map[uint32]error {
	s := r.s
	owner, why := map[string]uint32{}, map[uint32]error{}
	if s.ledger != nil {
		for _, row := range s.ledger.Lanes() {
			owner[row.Key] = row.No
		}
	}
	since := map[uint32]uint64{}
	for _, info := range slices.Backward(r.inLog()) {
		for no := range info.Lanes {
			since[no] = info.No
		}
	}
	lanes := slices.Clone(r.log.Lanes)
	slices.SortStableFunc(lanes, func(a, b wal.Lane) int { return cmp.Compare(since[a.No], since[b.No]) })
	for _, l := range lanes {
		if s.ledger != nil {
			if _, known := s.ledger.Lane(l.No); known {
				continue
			}
		}
		var props ingest.Properties
		if l.Key == "" {
			why[l.No] = errors.New("nothing defines it")
		} else if err := json.Unmarshal([]byte(l.Key), &props); err != nil {
			why[l.No] = err
		} else if other, taken := owner[l.Key]; taken && other != l.No {
			why[l.No] = fmt.Errorf("its properties are those of lane %d", other)
		} else {
			owner[l.Key] = l.No
		}
	}
	return why
}

// quarantineLane copies the frames of a lane in one segment to the quarantine.
func (r *recovery) quarantineLane(segment uint64, lane uint32, seqs wal.Span) error {
	s := r.s
	if r.look {
		return nil
	}
	return s.quarantineBytes(s.quarantineName(fmt.Sprintf("lane-%d-%d", lane, segment)), func(keep func([]byte) bool) error {
		return s.wal.Scan(segment, lane, seqs.First, seqs.Last, func(f *wal.Found) bool { return len(f.Raw) == 0 || keep(f.Raw) })
	})
}

// dropInvalidPositions leaves out what no call of this store has carried: positions
// that break a bound. They would keep all others from the ledger.
func (r *recovery) dropInvalidPositions() {
	s := r.s
	names := map[string]bool{}
	for _, pos := range s.ledger.Positions() {
		names[pos.Name] = true
	}
	before := len(r.log.Positions)
	r.log.Positions = slices.DeleteFunc(r.log.Positions, func(pos wal.Position) bool {
		if len(pos.Name) == 0 || len(pos.Name) > ledger.MaxPositionName || !utf8.ValidString(pos.Name) || len(pos.Value) > ledger.MaxPositionBytes ||
			!names[pos.Name] && len(names) >= ledger.MaxPositions {
			return true
		}
		names[pos.Name] = true
		return false
	})
	if n := before - len(r.log.Positions); n > 0 {
		s.log.Error("the log has positions that no spool can have", "dir", s.dir, "positions", n)
		r.damaged++
		r.mustRotate = true
	}
}

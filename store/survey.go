package store

import (
	"encoding/binary"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"kustospool/ingest"
)

// survey is what a segment file says of itself.
type survey struct {
	spool     ingest.SpoolID
	no        uint64
	activated bool
	hasKeys   bool
	compacted bool // between its frames there may be settled ones that are gone
	suspect   bool // an invalid meta page: a torn commit, or a damaged one
	txid      uint64
	tally     tally // of an activated one
	size      int64
	snaps     map[uint32]laneSnapshot
	lanes     map[uint32]laneSurvey
	objects   map[objectID]objectRow // referred to; by a deep survey only
	bad       int64                  // damaged frames; counted by a deep survey only
}

// laneSurvey is where a lane begins and ends in a segment.
type laneSurvey struct {
	span
	before   int64  // payload bytes of the lane before First
	after    int64  // and up to Last
	doubtful bool   // the last frame is damaged: Last and after are a guess
	holes    []span // of a compacted segment: records that are in no frame of it
}

// surveySegment reads a segment file without changing it. It costs a few
// pages for each lane; deep also reads and proves every frame. An error that
// matches errDamaged says that the file cannot be used as it is.
func surveySegment(path string, opts *Options, deep bool) (*survey, error) {
	found, err := preflight(path)
	if err != nil {
		return nil, err
	}
	if deep {
		warm(path)
	}
	db, file, err := openBoltFile(path, &bolt.Options{ReadOnly: true, Timeout: opts.LockTimeout, NoStatistics: true})
	if err != nil {
		return nil, err
	}
	defer db.Close()
	sv := &survey{suspect: found.suspect, size: found.size, snaps: map[uint32]laneSnapshot{}, lanes: map[uint32]laneSurvey{}, objects: map[objectID]objectRow{}}
	if err := viewDB(db, func(tx *bolt.Tx) error {
		if err := checkWays(tx, file, found.meta, segmentBuckets...); err != nil {
			return err
		}
		_ = newCold(tx, nil) // for its advice
		return sv.read(tx, deep)
	}); err != nil {
		return nil, err
	}
	return sv, nil
}

func (sv *survey) read(tx *bolt.Tx, deep bool) error {
	sv.txid = uint64(tx.ID())
	meta := tx.Bucket(bktMeta)
	if meta == nil {
		return fmt.Errorf("%w: not a segment", errDamaged)
	}
	id, no := meta.Get(keyIdentity), meta.Get(keyNumber)
	if len(id) != len(sv.spool) || len(no) != 8 {
		return fmt.Errorf("%w: segment without identity or number", errDamaged)
	}
	copy(sv.spool[:], id)
	sv.no = binary.BigEndian.Uint64(no)
	if err := checkSegment(tx, sv.spool, sv.no); err != nil {
		return err
	}
	if sv.activated = meta.Get(keyActivated) != nil; sv.activated {
		var err error
		if sv.tally, err = parseTally(tx.Cursor().Bucket().Get(keyTally), sv.txid); err != nil {
			return fmt.Errorf("%w: %v", errDamaged, err)
		}
	}
	sv.compacted = meta.Get(keyCompacted) != nil
	key, _ := tx.Bucket(bktKeys).Cursor().First()
	sv.hasKeys = key != nil
	err := tx.Bucket(bktLanes).ForEach(func(k, v []byte) error {
		var snap laneSnapshot
		if len(k) != 4 {
			return fmt.Errorf("%w: lane snapshot without number", errDamaged)
		}
		if err := unpack(v, &snap); err != nil {
			return fmt.Errorf("%w: lane snapshot: %v", errDamaged, err)
		}
		sv.snaps[binary.BigEndian.Uint32(k)] = snap
		return nil
	})
	if err != nil {
		return err
	}
	tied := openSheaves(tx).all()
	for lane := range sv.snaps {
		if err := sv.readLane(tx, lane, tied[lane], deep); err != nil {
			return err
		}
	}
	return nil
}

func (sv *survey) readLane(tx *bolt.Tx, lane uint32, tied []slot, deep bool) error {
	first, last, ok := ends(tx, lane, tied)
	if !ok {
		return nil
	}
	ls := laneSurvey{span: span{first, last}}
	// A header is enough, and one page of a cold file, where nothing hangs on it.
	if h, err := sv.frame(tx, lane, tied, first, deep); err == nil {
		ls.before = h.before
	}
	h, err := sv.frame(tx, lane, tied, last, true)
	ls.Last, ls.after, ls.doubtful = h.last(), h.before+h.bytes, err != nil
	if sv.compacted {
		ls.holes = sv.holes(tx, lane, tied, ls.span)
	}
	sv.lanes[lane] = ls
	if !deep {
		return nil
	}
	walkFrames(tx, lane, listed(tied), first, ls.Last, func(p place) bool {
		if err := guard(func() error {
			h, body, err := parseFrame(sv.spool, p.value())
			if err == nil && (h.lane != lane || h.first != p.First) {
				err = errFrame
			}
			switch {
			case err != nil:
			case h.codec == codecObject:
				var ref objectRef
				if ref, err = h.objectRef(body); err == nil {
					sv.objects[ref.id] = objectRow{Lane: lane, First: h.first, Last: h.last()}
				}
			default:
				err = h.eachRecord(body, func(uint64, []byte) bool { return true })
			}
			return err
		}); err != nil {
			sv.bad++
		}
		return true
	})
	return nil
}

// holes lists the records of a lane between its frames.
func (sv *survey) holes(tx *bolt.Tx, lane uint32, tied []slot, of span) (out []span) {
	walkFrames(tx, lane, listed(tied), of.First, of.Last, func(p place) bool {
		h, err := sv.frame(tx, lane, tied, p.First, false)
		if err == nil && h.last() < p.Last {
			out = append(out, span{h.last() + 1, p.Last})
		}
		return true
	})
	return out
}

// frame reads the header of the frame under a key, and proves it where that is
// wanted. With an error it is as much as the key and an unproven header tell.
func (sv *survey) frame(tx *bolt.Tx, lane uint32, tied []slot, first uint64, proven bool) (h frameHeader, err error) {
	guess := frameHeader{lane: lane, first: first, count: 1}
	err = guard(func() (err error) {
		walkFrames(tx, lane, listed(tied), first, first, func(p place) bool {
			if p.value == nil {
				err = errMissing
				return false
			}
			raw := p.value()
			if hint, herr := parseHeader(sv.spool, raw); herr == nil && hint.lane == lane && hint.first == first {
				guess = hint
			}
			if proven {
				h, _, err = parseFrame(sv.spool, raw)
			} else {
				h, err = parseHeader(sv.spool, raw)
			}
			return false
		})
		return err
	})
	if err == nil && (h.lane != lane || h.first != first) {
		err = errFrame
	}
	if err != nil {
		h = guess
	}
	return h, err
}

package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	bolt "go.etcd.io/bbolt"

	"kustospool/internal/crashpoint"
)

// shelf holds the segment prepared ahead, so that a rotation costs the acks
// nothing but a switch.
type shelf struct {
	mu    sync.Mutex // guards all below; held while a segment is made
	ready *segment
	next  uint64 // the next segment's number
}

// fill makes the next segment if none is ready.
func (s *Store) fillShelf() error {
	s.shelf.mu.Lock()
	defer s.shelf.mu.Unlock()
	return s.fillShelfLocked()
}

func (s *Store) fillShelfLocked() error {
	if s.shelf.ready != nil {
		return nil
	}
	no := s.shelf.next
	size, err := createSegment(s.dir, s.id, no, &s.opts)
	if err != nil {
		return fmt.Errorf("preparing segment %d: %w", no, err)
	}
	s.shelf.next++
	s.shelf.ready = &segment{no: no, path: segmentPath(s.dir, no)}
	s.disk.set(s.shelf.ready.path, size)
	return nil
}

// takeShelf gives the prepared segment away. When there is none it makes one
// if wait is set, and else gives nil.
func (s *Store) takeShelf(wait bool) (*segment, error) {
	if wait {
		s.shelf.mu.Lock()
	} else if !s.shelf.mu.TryLock() {
		return nil, nil
	}
	defer s.shelf.mu.Unlock()
	if wait {
		if err := s.fillShelfLocked(); err != nil {
			return nil, err
		}
	}
	seg := s.shelf.ready
	s.shelf.ready = nil
	return seg, nil
}

// rotateFull rotates when the active segment is full. While the next one is
// still being prepared the active one is used on, up to half as much again.
func (c *committer) rotateFull() {
	limit := c.s.opts.SegmentBytes
	if c.high < limit || c.s.Err() != nil {
		return
	}
	c.rotate(c.high >= limit+limit/2)
}

// rotateIdle rotates when nothing is left to deliver and the active segment
// holds more than half of what it may, so that the space comes back.
func (c *committer) rotateIdle() {
	c.s.mu.RLock()
	idle := c.s.unsettled == 0
	c.s.mu.RUnlock()
	if idle && c.high > c.s.opts.SegmentBytes/2 && c.s.Err() == nil {
		c.rotate(true)
	}
}

// rotate makes the next segment the active one. The order is: the new file is
// durable under its name, then it gets its snapshot of the lanes, then the
// old one is listed in the manifest; a crash between any two is mended by
// Open. A failure leaves the old segment active, to be tried again.
func (c *committer) rotate(wait bool) {
	s := c.s
	next, err := s.takeShelf(wait)
	if next == nil && err == nil {
		s.keeper.signal()
		return
	}
	crashpoint.Reach("rotate.taken")
	if err == nil {
		old, oldTxid := c.active, c.lastTxid
		if err = c.activate(next); err == nil {
			crashpoint.Reach("rotate.activated")
			s.handles.adopt(old, oldTxid)
			s.list(old, next.no)
			s.keeper.signal()
			return
		}
		// Nothing was acknowledged from it, so it can go.
		_ = s.unlink(next.path)
	}
	s.complain("rotation of the active segment failed; it is used on", err)
}

// activate opens a prepared segment for writing and makes it the active one.
// Its first transaction records where every lane stands, so that the books
// can be rebuilt from the segments alone.
func (c *committer) activate(seg *segment) error {
	s := c.s
	if _, err := preflight(seg.path); err != nil {
		return err
	}
	db, file, err := openBoltFile(seg.path, s.opts.activeDB())
	if err != nil {
		return err
	}
	next := committer{s: s, file: file}
	known, txid := map[uint32]bool{}, uint64(0)
	err = guard(func() error {
		tx, err := db.Begin(true)
		if err != nil {
			return err
		}
		txid = uint64(tx.ID())
		for _, l := range s.lanes.sorted() {
			if err := next.putSnapshot(tx, l); err != nil {
				_ = tx.Rollback()
				return err
			}
			known[l.no] = true
		}
		if err := errors.Join(tx.Bucket(bktMeta).Put(keyActivated, []byte{1}), next.staged.put(tx)); err != nil {
			_ = tx.Rollback()
			return err
		}
		if err := commitTx(tx, seg.path); err != nil {
			return err
		}
		return next.sync()
	})
	if err != nil {
		_ = db.Close()
		return err
	}
	c.adoptActive(seg, db, file, known, next.staged)
	c.lastTxid = txid
	return nil
}

// adoptActive makes an opened segment the active one.
func (c *committer) adoptActive(seg *segment, db *bolt.DB, file *os.File, known map[uint32]bool, holds tally) {
	s := c.s
	var cold *coldFile
	if len(seg.lanes) > 0 {
		cold = &coldFile{file: file, pageSize: int64(db.Info().PageSize)}
	}
	s.handles.lend(seg, db, cold)
	s.mu.Lock()
	if s.active != nil {
		s.active.rotated, s.active.txid = true, c.lastTxid
		if s.active.keys {
			s.withKeys = append(s.withKeys, s.active)
		}
	}
	if seg.lanes == nil {
		seg.lanes = map[uint32]span{}
	}
	s.active = seg
	s.segments[seg.no] = seg
	s.mu.Unlock()
	c.active, c.db, c.file, c.known, c.tally = seg, db, file, known, holds
	c.fileSize, c.high = 0, 0
	c.measure()
}

// list enters a rotated segment into the manifest. It does not wait: until
// the row is there the segment is not given back, and Open makes the row from
// the file if it is missing.
func (s *Store) list(seg *segment, active uint64) {
	_, _ = s.manifest.post(func(g *group) error {
		s.mu.RLock()
		row := seg.rowLocked(s)
		s.mu.RUnlock()
		g.put(bktSegments, u64(seg.no), pack(&row))
		g.state.Rotated, g.state.Active = max(g.state.Rotated, seg.no), active
		for lane := range row.Lanes {
			l := s.lanes.get(lane)
			g.setMarks(lane, g.withHigh(l, g.laneMarks(l)))
		}
		g.saveObjects()
		g.saveState()
		g.publish(func() { seg.listed = true })
		g.after(s.keeper.signal)
		return nil
	})
}

// rowLocked is the manifest's row of a rotated segment.
func (seg *segment) rowLocked(s *Store) segmentRow {
	row := segmentRow{Size: s.disk.size(seg.path), Txid: seg.txid, Lanes: map[uint32]span{}, Keys: seg.keys, Lost: seg.lost}
	for lane, r := range seg.lanes {
		row.Lanes[lane] = r
	}
	return row
}

// keysCopiedLocked notes that a segment's keys are in the manifest.
func (s *Store) keysCopiedLocked(seg *segment) {
	seg.keys = false
	kept := s.withKeys[:0:0]
	for _, o := range s.withKeys {
		if o != seg {
			kept = append(kept, o)
		}
	}
	s.withKeys = kept
}

// background is the context of the store's own changes: they are bounded by
// the disk, and end with it.
var background = context.Background()

package store

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"kustospool/internal/crashpoint"
	"kustospool/internal/wake"
	"kustospool/store/internal/ledger"
	"kustospool/store/internal/wal"
)

// maintenance is the goroutine for what must not stand in the way of an ack:
// entering rotated segments into the ledger, moving keys there, giving settled
// segments and objects back, writing sparse segments again, pruning. It works
// when it is told that there may be something to do.
type maintenance struct {
	s *Store

	// Owned by the goroutine.
	pruned   time.Time
	ballasts time.Time // when the ballast was last tried for

	pressed atomic.Bool // an append found no room
	wake    wake.Signal
	quit    chan struct{}
	done    sync.WaitGroup
}

const (
	// ballastEvery is how often a ballast that was given up is tried for, at most.
	ballastEvery = time.Second
	// pruneEvery is how often expired keys are looked for, at most.
	pruneEvery = time.Minute
)

func newMaintenance(s *Store) *maintenance {
	return &maintenance{s: s, wake: wake.New(), quit: make(chan struct{})}
}

func (k *maintenance) start() {
	if k.s.opts.manual {
		return
	}
	k.done.Go(k.run)
	k.signal()
}

// stop ends the goroutine after the step it is at, and joins it.
func (k *maintenance) stop() {
	close(k.quit)
	k.done.Wait()
}

func (k *maintenance) signal() { k.wake.Raise() }

// press tells that an append found no room.
func (k *maintenance) press() {
	k.pressed.Store(true)
	k.signal()
}

func (k *maintenance) run() {
	for {
		select {
		case <-k.quit:
			return
		case <-k.wake:
		}
		for k.s.Err() == nil && !k.quitting() && k.step() {
		}
	}
}

func (k *maintenance) quitting() bool {
	select {
	case <-k.quit:
		return true
	default:
		return false
	}
}

// upkeep does up to n steps, where Options.manual is set.
func (s *Store) upkeep(n int) {
	for ; n > 0 && s.Err() == nil; n-- {
		more := s.wal.Maintain()
		if !s.maintenance.step() && !more {
			return
		}
	}
}

// step does one bounded piece of work and reports whether it found any.
func (k *maintenance) step() bool {
	s := k.s
	if !s.ballast.present.Load() && time.Since(k.ballasts) >= ballastEvery {
		k.ballasts = time.Now()
		s.takeBallast()
	}
	work := s.pick()
	var err error
	switch {
	case len(work.spent) > 0:
		err = s.dropObjects(work.spent)
		k.ballasts = time.Time{} // there may be room for it again
	case len(work.settled) > 0:
		err = s.reclaim(work.settled)
		k.ballasts = time.Time{}
	case work.unlisted != nil:
		err = s.list(work.unlisted)
	case s.keys.count() >= keysAtOnce:
		err = s.flushKeys(background, keysAtOnce-1)
	case work.idle:
		err = s.rotateIdle()
	case work.sparse != nil:
		err = s.compact(work.sparse)
		k.ballasts = time.Time{}
	case k.pressed.Swap(false) && s.wal.FreeUnused() > 0:
		s.disk.reclaimed()
	case time.Since(k.pruned) >= pruneEvery:
		var more bool
		if more, err = s.ledger.PruneKeys(background, time.Unix(0, s.keysFrom())); !more {
			k.pruned = time.Now()
		}
	default:
		return false
	}
	if err != nil {
		// The next signal, which any settled batch gives, tries again.
		told := errors.Is(err, ErrClosed) || errors.Is(err, ErrFailed) || errors.Is(err, ErrFull) && s.ballast.told.Load()
		if !told {
			s.complain("upkeep of the spool failed for now", err)
		}
		return false
	}
	return true
}

// upkeep is what there is to do.
type upkeep struct {
	spent    []*liveObject // settled objects
	settled  []*segment    // segments in which all is settled
	unlisted *segment      // the oldest one that the ledger does not know
	sparse   *segment      // one to be written again
	idle     bool          // nothing waits, and the active segment is worth giving back
}

const (
	objectsAtOnce  = 256
	segmentsAtOnce = 32
)

func (s *Store) pick() (u upkeep) {
	active := s.wal.Active()
	s.mu.Lock()
	defer s.mu.Unlock()
	u.spent = s.spent[:min(len(s.spent), objectsAtOnce)]
	for _, seg := range s.segments {
		if seg.rotated && seg.listed && !seg.leaving && seg.live == 0 && len(u.settled) < segmentsAtOnce {
			u.settled = append(u.settled, seg)
		}
	}
	if len(s.listing) > 0 {
		u.unlisted = s.listing[0]
	}
	u.sparse = s.sparseLocked(time.Now())
	least := s.opts.SegmentBytes / 2
	if !s.ballast.present.Load() || s.maintenance.pressed.Load() { // the volume is full, perhaps of this very segment
		least = min(least, s.ballast.bytes)
	}
	u.idle = s.unsettled == 0 && active.End > least
	return u
}

// rotateIdle ends the active segment, in which all is settled. A new one begins with a
// page: on a volume without even that, the ballast makes the room, and is taken again
// from what the segment gives back.
func (s *Store) rotateIdle() error {
	err := s.wal.Rotate()
	if errors.Is(err, wal.ErrNoSpace) && s.giveUpBallast() {
		err = s.wal.Rotate()
	}
	return s.translate(err)
}

// list enters a rotated segment into the ledger: first what Open would
// otherwise have to read from it, keys and positions, and with the row where
// its lanes end and the objects that it refers to. Until the row is there the
// segment is not given back, and Open makes the row from the file.
func (s *Store) list(seg *segment) error {
	if s.opts.bugs.skipKeys {
		s.keys.moved(s.keys.count())
	}
	if err := s.flushKeys(background, 0); err != nil {
		return err
	}
	objects := s.unsaved(func(o *liveObject) bool { return o.segment <= seg.no })
	for len(objects) > objectsAtOnce {
		if err := s.ledger.Do(background, func(tx *ledger.Tx) error { return s.stage(tx, objects[:objectsAtOnce], nil) }); err != nil {
			return err
		}
		objects = objects[objectsAtOnce:]
	}
	ends := s.ends(seg)
	if err := s.ledger.Do(background, func(tx *ledger.Tx) error {
		if err := s.stage(tx, objects, ends); err != nil {
			return err
		}
		tx.Count(seg.damage, 0, 0)
		return tx.PutSegment(s.rowOf(seg))
	}); err != nil {
		return err
	}
	crashpoint.Reach("segment.listed")
	s.mu.Lock()
	defer s.mu.Unlock()
	seg.listed, seg.damage = true, 0
	s.listing = s.listing[1:]
	return nil
}

// listAll lists all that were rotated.
func (s *Store) listAll() error {
	for {
		s.mu.RLock()
		var seg *segment
		if len(s.listing) > 0 {
			seg = s.listing[0]
		}
		s.mu.RUnlock()
		if seg == nil {
			return nil
		}
		if err := s.list(seg); err != nil {
			return err
		}
	}
}

// rowOf is the ledger's row of a rotated segment whose keys and positions are
// in the ledger.
func (s *Store) rowOf(seg *segment) ledger.Segment {
	s.mu.RLock()
	defer s.mu.RUnlock()
	i := &seg.info
	row := ledger.Segment{No: seg.no, Generation: i.Generation, Size: i.Size, End: i.End, Index: i.Index,
		FirstCommit: i.FirstCommit, LastCommit: i.LastCommit, Chain: i.Chain, Lanes: map[uint32]span{}, Lost: seg.lost}
	for lane, r := range seg.lanes {
		row.Lanes[lane] = r
	}
	return row
}

// stage brings objects, floors of lanes, and positions into a transaction.
func (s *Store) stage(tx *ledger.Tx, objects []*liveObject, ends []laneEnd) error {
	for _, o := range objects {
		if err := tx.PutObject(o.row()); err != nil {
			return err
		}
	}
	for _, e := range ends {
		if err := tx.Advance(e.lane, e.high, e.bytes); err != nil {
			return err
		}
	}
	through, positions := s.positions.all()
	if len(positions) > 0 && !s.opts.bugs.skipPositions {
		if err := tx.PutPositions(through, positions); err != nil {
			return err
		}
	}
	tx.After(func() {
		s.mu.Lock()
		for _, o := range objects {
			o.saved = true
		}
		s.mu.Unlock()
		s.positions.moved(positions)
	})
	return nil
}

// unsaved lists the objects that the ledger does not know.
func (s *Store) unsaved(which func(*liveObject) bool) (out []*liveObject) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for l := range s.lanes.all {
		for _, o := range l.objects {
			if !o.saved && which(o) {
				out = append(out, o)
			}
		}
	}
	return out
}

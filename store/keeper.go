package store

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"time"

	"kustospool/internal/crashpoint"
)

// keeper is the goroutine for what must not stand in the way of an ack:
// preparing the next segment, copying keys, giving settled segments back,
// writing sparse ones again, pruning. It works when it is told that there may be something to do.
type keeper struct {
	s *Store

	// Owned by the goroutine.
	pruned   time.Time
	ballasts time.Time // when the ballast was last tried for

	wake chan struct{}
	quit chan struct{}
	done sync.WaitGroup
}

// ballastEvery is how often a ballast that was given up is tried for, at most.
const ballastEvery = time.Second

// pruneEvery is how often expired keys are looked for, at most.
const pruneEvery = time.Minute

func (k *keeper) start() {
	k.wake, k.quit = make(chan struct{}, 1), make(chan struct{})
	k.done.Go(k.run)
	k.signal()
}

// stop ends the goroutine after the step it is at, and joins it.
func (k *keeper) stop() {
	close(k.quit)
	k.done.Wait()
}

func (k *keeper) signal() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

func (k *keeper) run() {
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

func (k *keeper) quitting() bool {
	select {
	case <-k.quit:
		return true
	default:
		return false
	}
}

// step does one bounded piece of work and reports whether it found any.
func (k *keeper) step() bool {
	if err := k.s.fillShelf(); err != nil {
		k.s.complain("no segment could be prepared ahead", err)
	}
	k.s.handles.trim()
	if !k.s.ballast.held.Load() && time.Since(k.ballasts) >= ballastEvery {
		k.ballasts = time.Now()
		k.s.takeBallast()
	}
	copy, reclaim, sparse, spent := k.pick()
	var err error
	switch {
	case len(spent) > 0:
		err = k.dropObjects(spent)
		k.ballasts = time.Time{}
	case reclaim != nil:
		err = k.reclaim(reclaim)
		k.ballasts = time.Time{} // there may be room for it again
	case copy != nil:
		err = k.copyKeys(copy)
	case sparse != nil:
		err = k.compact(sparse)
		k.ballasts = time.Time{}
	case time.Since(k.pruned) >= pruneEvery:
		var more bool
		if more, err = k.pruneKeys(); !more {
			k.pruned = time.Now()
		}
	default:
		return false
	}
	if err != nil {
		// The next signal, which any settled batch gives, tries again.
		if !errors.Is(err, ErrClosed) && !errors.Is(err, ErrFailed) {
			k.s.complain("upkeep of the spool failed for now", err)
		}
		return false
	}
	return true
}

// pick finds a segment whose keys are to be copied, one to be given back, one
// to be written again, and settled objects.
func (k *keeper) pick() (copy, reclaim, sparse *segment, spent []*object) {
	k.s.mu.Lock()
	defer k.s.mu.Unlock()
	for _, seg := range k.s.segments {
		switch {
		case !seg.rotated || !seg.listed || seg.leaving:
		case seg.keys:
			copy = seg
		case seg.live == 0:
			reclaim = seg
		}
	}
	return copy, reclaim, k.s.sparseLocked(time.Now()), k.s.spent[:min(len(k.s.spent), objectsAtOnce)]
}

func (k *keeper) change(stage func(*group) error) error {
	return k.s.manifest.do(background, stage)
}

// reclaim gives a segment back in which every record is settled: first the
// manifest forgets it, then its file goes.
func (k *keeper) reclaim(seg *segment) error {
	s := k.s
	err := k.change(func(g *group) error {
		g.del(bktSegments, u64(seg.no))
		g.publish(func() { s.forgetLocked(seg) })
		return nil
	})
	if err != nil {
		return err
	}
	crashpoint.Reach("unlink.forgotten")
	if err := s.handles.drop(seg, errGone); err != nil {
		s.log.Warn("closing a settled segment", "path", seg.path, "cause", err)
	}
	return s.unlink(seg.path)
}

// forgetLocked takes a segment out of the mirror.
func (s *Store) forgetLocked(seg *segment) {
	seg.leaving = true
	delete(s.segments, seg.no)
	for lane := range seg.lanes {
		l := s.lanes.get(lane)
		kept := l.segs[:0:0]
		for _, h := range l.segs {
			if h.seg != seg {
				kept = append(kept, h)
			}
		}
		l.segs = kept
	}
}

// unlink removes a file of the spool and tells who waits for room.
func (s *Store) unlink(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	s.disk.set(path, 0)
	s.disk.reclaimed()
	crashpoint.Reach("unlink.removed")
	if s.opts.NoSync {
		return nil
	}
	return syncDir(filepath.Dir(path))
}

package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"kustospool/ingest"
)

// Store is an open spool. All of its methods may be called at the same time.
// Three goroutines work for it from Open to Close: the committer writes the
// active segment, the manifest's goroutine writes the books, the keeper
// prepares the next segment and gives settled ones back.
type Store struct {
	// Immutable.
	dir      string
	id       ingest.SpoolID
	opts     Options
	log      *slog.Logger
	lock     *dirLock
	lanes    *laneTable
	disk     *disk
	handles  *handles
	manifest *manifest
	commit   *committer
	keeper   *keeper
	ballast  *ballast

	shelf   shelf
	waiters waiterPool
	repairs sync.Mutex // held while a segment is salvaged
	failure atomic.Pointer[error]
	failed  chan struct{} // closed when failure is set
	// complained is when complain logged last, in nanoseconds.
	complained atomic.Int64

	// mu guards the in-memory mirror of the books: what is below, and the
	// parts of lane and segment that say so. It is held for memory only. The
	// manifest's goroutine alone changes entries, counters, lanes' marks
	// (High and Bytes excepted) and live; the committer alone adds records.
	mu        sync.RWMutex
	entries   map[ingest.BatchID]*Entry // live batches; an entry is never changed, only replaced
	counters  counters
	segments  map[uint64]*segment // with the active one, without the prepared one
	active    *segment
	unsettled int64      // records not settled
	withKeys  []*segment // rotated, with keys that the manifest does not have
	spent     []*object  // settled; their files are to go

	// closing is held shared by whoever uses the manifest's file from outside
	// its goroutine, and exclusively by Close.
	closing sync.RWMutex
	closed  bool
	// unclosable is set when a panic left bbolt's locks held in a file.
	unclosable atomic.Bool

	closeOnce sync.Once
	closeErr  error
}

// ID is the spool's identity, random at its creation.
func (s *Store) ID() ingest.SpoolID { return s.id }

// Err is nil while the store is healthy. After a failed write it is an error
// that matches ErrFailed and says what failed; only Close and Open mend it.
func (s *Store) Err() error {
	if p := s.failure.Load(); p != nil {
		return *p
	}
	return nil
}

// Failed is closed when the store fails; see Err.
func (s *Store) Failed() <-chan struct{} { return s.failed }

// fail puts the store into its failed state, and gives the error that says so.
func (s *Store) fail(cause error) error {
	if errors.Is(cause, ErrFailed) {
		return cause
	}
	err := fmt.Errorf("%w: %v", ErrFailed, cause)
	if s.failure.CompareAndSwap(nil, &err) {
		s.log.Error("spool failed; it accepts nothing until it is opened again", "dir", s.dir, "cause", cause)
		close(s.failed)
		s.disk.end()
	}
	return s.Err()
}

// complainEvery bounds how often trouble that repeats itself is logged.
const complainEvery = 10 * time.Second

// complain logs trouble of the background work that is tried again, unless
// some was logged just before.
func (s *Store) complain(what string, cause error) {
	now := time.Now().UnixNano()
	if last := s.complained.Load(); now-last < int64(complainEvery) || !s.complained.CompareAndSwap(last, now) {
		return
	}
	s.log.Warn(what, "dir", s.dir, "cause", cause)
}

// Close stops taking records, waits for the commits under way, ends the
// store's goroutines and closes its files. What is stored stays. A second
// Close returns what the first one did.
func (s *Store) Close() error {
	s.closeOnce.Do(func() { s.closeErr = s.close() })
	return s.closeErr
}

func (s *Store) close() error {
	s.disk.end()
	s.commit.stop()
	s.keeper.stop()
	var errs []error
	if s.Err() == nil {
		errs = append(errs, s.manifest.do(context.Background(), s.stageClean))
	}
	s.manifest.stop()
	s.closing.Lock()
	s.closed = true
	s.closing.Unlock()
	if !s.unclosable.Load() {
		errs = append(errs, s.handles.close(s.commit.active), s.manifest.db.Close())
	}
	return errors.Join(append(errs, s.lock.unlock())...)
}

// stageClean records where everything stands, so that the next Open can tell
// whether the files are still what they were.
func (s *Store) stageClean(g *group) error {
	for _, l := range s.lanes.sorted() {
		g.setMarks(l.no, g.withHigh(l, g.laneMarks(l)))
	}
	g.state.Clean, g.state.Active, g.state.Txid = true, s.commit.active.no, s.commit.lastTxid
	g.saveObjects()
	g.saveState()
	return nil
}

// freeLocked takes a settled range off the segments and objects that hold it.
func (s *Store) freeLocked(lane uint32, r span) {
	for _, h := range s.lanes.get(lane).segs {
		if n := h.overlap(r); n > 0 {
			h.seg.live -= n
			s.unsettled -= n
		}
	}
	s.freeObjectsLocked(s.lanes.get(lane), r)
}

// drained tells the keeper that records were settled, and the committer when
// there is nothing left and the active segment is worth giving back.
func (s *Store) drained() {
	s.mu.RLock()
	idle := s.unsettled == 0
	s.mu.RUnlock()
	if idle {
		s.commit.giveBack()
	}
	s.keeper.signal()
}

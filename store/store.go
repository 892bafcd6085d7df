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
	"kustospool/internal/vfs"
	"kustospool/store/internal/ledger"
	"kustospool/store/internal/object"
	"kustospool/store/internal/wal"
)

// Store is an open spool. All of its methods may be called at the same time.
// The log and the ledger each have goroutines of their own; one more, the
// maintenance, does the upkeep that takes both. Close ends them all.
type Store struct {
	// Immutable.
	dir         string
	id          ingest.SpoolID
	opts        Options
	log         *slog.Logger
	fs          vfs.FS
	lock        vfs.File
	lanes       *laneTable
	disk        *disk
	wal         *wal.Log
	ledger      *ledger.Ledger
	objects     *object.Dir
	ballast     *ballast
	maintenance *maintenance

	keys      freshKeys
	positions freshPositions
	undead    undead
	paused    pauses
	dead      deadCount
	scratch   sync.Pool // *batch

	adding  sync.Mutex // held while a lane is made known to the log
	holder  holder
	failure atomic.Pointer[error]
	failed  chan struct{} // closed when failure is set
	// complained is when complain logged last, in nanoseconds.
	complained atomic.Int64

	// mu guards the mirror of the log: what is below, and the parts of lane
	// and segment that say so. It is held for memory only. See doc.go for the
	// order of locks.
	mu        sync.RWMutex
	segments  map[uint64]*segment
	listing   []*segment    // rotated and not in the ledger yet, in order
	unsettled int64         // records not settled
	spent     []*liveObject // settled objects, whose files are to go

	frames []Frame // for Options.Committed, which is called by one at a time

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
	err := cause
	if !errors.Is(cause, ErrFailed) {
		err = fmt.Errorf("%w: %v", ErrFailed, cause)
	}
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

// SayWhy leaves a word for who finds the spool locked: it is in the Owner of
// their [LockedError], as far as there is room.
func (s *Store) SayWhy(why string) {
	s.holder.say(s.lock, func(h *holder) { h.why = why })
}

// SaySocket leaves for them where this process can be asked about the spool: the
// name "socket" for one of that name in the spool's directory, or an absolute path. It is in
// the Socket of their [LockedError]. An empty one takes it back.
func (s *Store) SaySocket(name string) {
	s.holder.say(s.lock, func(h *holder) { h.socket = name })
}

// holder is what the lock's file says of its holder.
type holder struct {
	mu          sync.Mutex // guards the words, and orders the writes of the file
	why, socket string
}

func (h *holder) say(lock vfs.File, what func(*holder)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	what(h)
	writeOwner(lock, h.why, h.socket)
}

// Dir is the spool's directory, as an absolute path.
func (s *Store) Dir() string { return s.dir }

// Close stops taking records, waits for the commits under way, ends the
// store's goroutines and closes its files. What is stored stays. A second
// Close returns what the first one did.
func (s *Store) Close() error {
	s.closeOnce.Do(func() { s.closeErr = s.close() })
	return s.closeErr
}

func (s *Store) close() error {
	s.disk.end()
	s.paused.close()
	s.maintenance.stop()
	mark, err := s.wal.Close()
	errs := []error{err}
	if err == nil && s.Err() == nil {
		errs = append(errs, s.noteEnd(mark))
	}
	return errors.Join(append(errs, s.ledger.Close(), s.lock.Close())...)
}

// noteEnd brings the ledger up to the end of the log and notes where that is,
// so that the next Open need not read the active segment, and can tell whether
// the files are still what they were.
func (s *Store) noteEnd(mark wal.LogEnd) error {
	if err := s.listAll(); err != nil {
		return err
	}
	if err := s.flushKeys(background, 0); err != nil {
		return err
	}
	objects := s.unsaved(func(*liveObject) bool { return true })
	return s.ledger.Do(background, func(tx *ledger.Tx) error {
		if err := s.stage(tx, objects, s.ends(nil)); err != nil {
			return err
		}
		st := tx.State()
		st.Clean, st.Active = true, ledger.Active{No: mark.No, Generation: mark.Generation, End: mark.End, LastCommit: mark.Commit}
		st.HighestNo = max(st.HighestNo, mark.No)
		tx.SetState(st)
		return nil
	})
}

// background is the context of the store's own changes: they are bounded by
// the disk, and end with it.
var background = context.Background()

package store

import (
	"errors"
	"fmt"
	"os"
	"sync"

	bolt "go.etcd.io/bbolt"

	"kustospool/ingest"
)

// errGone is returned for a segment whose file has been given back.
var errGone = errors.New("the segment is gone")

// handles opens segments for reading and keeps the most recently used ones
// open. The active segment's handle is the committer's own, lent to readers.
type handles struct {
	// Immutable.
	spool ingest.SpoolID
	opts  *Options
	limit int

	mu     sync.Mutex // guards all below, and db, cold, refs, used, broken of every segment
	clock  uint64
	open   map[*segment]struct{}
	closed bool
	idle   *sync.Cond // a segment's refs fell to 0
}

func newHandles(spool ingest.SpoolID, opts *Options) *handles {
	h := &handles{spool: spool, opts: opts, limit: opts.OpenSegments, open: map[*segment]struct{}{}}
	h.idle = sync.NewCond(&h.mu)
	return h
}

// view runs fn in a read transaction on seg, under guard.
func (h *handles) view(seg *segment, fn func(*bolt.Tx) error) error {
	db, err := h.acquire(seg)
	if err != nil {
		return err
	}
	defer h.release(seg)
	return viewDB(db, fn)
}

func viewDB(db *bolt.DB, fn func(*bolt.Tx) error) error {
	return guard(func() error {
		tx, err := db.Begin(false)
		if err != nil {
			return err
		}
		// Deferred, so that a panic in fn does not leave the transaction, and
		// with it bbolt's locks, behind.
		defer func() { _ = tx.Rollback() }()
		return fn(tx)
	})
}

func (h *handles) acquire(seg *segment) (*bolt.DB, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err := h.openLocked(seg); err != nil {
		return nil, err
	}
	seg.refs++
	return seg.db, nil
}

// openLocked makes sure that a segment is open. It is done under
// the lock: opening is rare, and two openers of one file would be twice the
// work and not less waiting.
func (h *handles) openLocked(seg *segment) error {
	if h.closed {
		return ErrClosed
	}
	if seg.broken != nil {
		return seg.broken
	}
	h.clock++
	seg.used = h.clock
	if seg.db == nil {
		db, cold, err := openCold(seg, h.spool, h.opts)
		if err != nil {
			// What damage does is for good; a lack of file descriptors is not.
			if errors.Is(err, errDamaged) || errors.Is(err, os.ErrNotExist) {
				seg.broken = err
			}
			return err
		}
		seg.db, seg.cold = db, cold
		h.open[seg] = struct{}{}
		h.evictLocked(seg)
	}
	return nil
}

func (h *handles) release(seg *segment) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if seg.refs--; seg.refs == 0 {
		h.idle.Broadcast()
		h.evictLocked(nil)
	}
}

// evictLocked closes the least recently used handles above the limit.
func (h *handles) evictLocked(keep *segment) {
	for len(h.open) > h.limit {
		var oldest *segment
		for s := range h.open {
			if s != keep && s.refs == 0 && (oldest == nil || s.used < oldest.used) {
				oldest = s
			}
		}
		if oldest == nil {
			return
		}
		_ = h.closeLocked(oldest)
	}
}

func (h *handles) closeLocked(seg *segment) error {
	db := seg.db
	seg.db, seg.cold = nil, nil
	delete(h.open, seg)
	return db.Close()
}

// lend makes the committer's handle of an active segment known; cold is nil
// where it has no records but those that this process will write.
func (h *handles) lend(seg *segment, db *bolt.DB, cold *coldFile) {
	h.mu.Lock()
	defer h.mu.Unlock()
	seg.db, seg.cold = db, cold
}

// adopt takes a handle over when its segment is rotated, after transaction txid.
func (h *handles) adopt(seg *segment, txid uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	seg.floor = txid
	h.open[seg] = struct{}{}
	h.clock++
	seg.used = h.clock
}

// trim closes what is open above the limit. It is apart from adopt so that
// the committer does not wait for a file to be closed.
func (h *handles) trim() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.evictLocked(nil)
}

// drop closes a segment when its last reader has left. Whoever wants to read
// it after that gets why, until restore.
func (h *handles) drop(seg *segment, why error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	seg.broken = why
	for seg.refs > 0 {
		h.idle.Wait()
	}
	if seg.db == nil {
		return nil
	}
	return h.closeLocked(seg)
}

// restore lets a dropped segment be opened again, as the file it now is.
func (h *handles) restore(seg *segment) {
	h.mu.Lock()
	defer h.mu.Unlock()
	seg.broken, seg.floor = nil, 0
}

// close closes every handle; later reads get ErrClosed. The caller has ended
// all writers.
func (h *handles) close(active *segment) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	if active != nil && active.db != nil {
		h.open[active] = struct{}{}
	}
	var errs []error
	for seg := range h.open {
		for seg.refs > 0 {
			h.idle.Wait()
		}
		if seg.db != nil {
			errs = append(errs, h.closeLocked(seg))
		}
	}
	return errors.Join(errs...)
}

// openCold opens a rotated segment for reading: preflight, then bbolt without
// its free list.
func openCold(seg *segment, spool ingest.SpoolID, opts *Options) (*bolt.DB, *coldFile, error) {
	found, err := preflight(seg.path)
	if err != nil {
		return nil, nil, err
	}
	db, file, err := openBoltFile(seg.path, &bolt.Options{ReadOnly: true, Timeout: opts.LockTimeout, NoStatistics: true})
	if err != nil {
		return nil, nil, err
	}
	var cold *coldFile
	err = viewDB(db, func(tx *bolt.Tx) error {
		// bbolt falls back to the meta page before when the newest is damaged.
		if txid := uint64(tx.ID()); txid < seg.floor {
			return fmt.Errorf("%w: the file is at transaction %d and was at %d", errDamaged, txid, seg.floor)
		}
		if err := checkWays(tx, file, found.meta, segmentBuckets...); err != nil {
			return err
		}
		if err := checkSegment(tx, spool, seg.no); err != nil {
			return err
		}
		cold = newCold(tx, file)
		return nil
	})
	if err != nil {
		_ = db.Close()
		return nil, nil, err
	}
	return db, cold, nil
}

// openBolt opens a bbolt file under guard.
func openBolt(path string, opts *bolt.Options) (*bolt.DB, error) {
	db, _, err := openBoltFile(path, opts)
	return db, err
}

// openBoltFile also gives the file, which is the database's to close. A panic
// inside of bbolt's Open leaves it open, so it is caught by the hook and closed
// here.
func openBoltFile(path string, opts *bolt.Options) (*bolt.DB, *os.File, error) {
	var file *os.File
	opts.OpenFile = func(name string, flag int, mode os.FileMode) (*os.File, error) {
		f, err := os.OpenFile(name, flag&^os.O_CREATE, mode)
		file = f
		return f, err
	}
	var db *bolt.DB
	err := guard(func() (err error) {
		db, err = bolt.Open(path, 0o600, opts)
		return err
	})
	if err != nil {
		if errors.Is(err, errDamaged) && file != nil {
			_ = file.Close()
		}
		return nil, nil, fmt.Errorf("opening %s: %w", path, err)
	}
	return db, file, nil
}

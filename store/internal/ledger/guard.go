package ledger

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strings"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"kustospool/internal/crashpoint"
	"kustospool/internal/vfs"
)

// guard runs fn, which touches pages of a bbolt file, and turns what pages
// provoke that went bad after they were verified into an error: bbolt's
// assertions panic, and a page that the disk cannot read is a memory fault.
// The setting is per goroutine, so fn must not read pages on another one.
func guard(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", ErrDamaged, r)
		}
	}()
	return fn()
}

// commitError says how a commit failed.
type commitError struct {
	unknown bool // it may be stored
	space   bool // for want of space alone: the file is as before, and usable
	err     error
}

func (e *commitError) Error() string { return e.err.Error() }
func (e *commitError) Unwrap() error { return e.err }

// commitTx commits tx.
//
// What a failed Commit leaves behind, read in bbolt v1.5.0 (tx.go): pages are
// spilled into memory, the file is grown (truncate, fsync), the dirty pages
// are written and fdatasynced, and only then the meta page of slot txid%2 is
// written and fdatasynced. Every failure up to there rolls back, and the
// previous meta page still rules. When the last step fails the meta page may
// be on disk, or only in the page cache, from where it rules for every later
// reader of this boot: neither stored nor not stored. Commit does not say
// where it stopped, so the meta page is looked at: as long as the slot still
// holds its older, valid transaction, nothing was stored.
//
// Running out of space before the meta page is harmless, because nothing that
// was written is referred to. A failed fsync is not, at either place: the
// kernel may have dropped dirty pages and reports it once. So only a write or
// a truncate that failed for space leaves the file in use.
func (l *Ledger) commitTx(tx *bolt.Tx) error {
	txid := uint64(tx.ID())
	crashpoint.Reach("commit.begin")
	err := l.fault(Before)
	if err != nil {
		err = errors.Join(err, tx.Rollback())
	} else if err = l.commit(tx); err == nil {
		st := tx.Stats()
		l.written.Add(st.GetPageAlloc() + int64(os.Getpagesize())) // and the meta page
		err = l.fault(After)
	}
	if err == nil {
		return nil
	}
	if errors.Is(err, ErrDamaged) {
		return err
	}
	ce := &commitError{unknown: true, err: err}
	if m, merr := readMetas(l.file); merr == nil && m.slot[txid%2].valid && m.slot[txid%2].txid < txid {
		ce.unknown = false
	}
	ce.space = !ce.unknown && wantsSpace(err)
	return ce
}

// wantsSpace recognises errors for want of space that came from a write or a
// truncate. bbolt flattens the one of truncate to text.
func wantsSpace(err error) bool {
	return vfs.NoSpace(err) || errors.Is(err, berrors.ErrMaxSizeReached) || strings.HasPrefix(err.Error(), "file resize error")
}

// abandon ends a transaction after a panic under it. It reports whether the
// database can still be closed: its locks may be held for good.
func abandon(tx *bolt.Tx) bool {
	return guard(func() error { return tx.Rollback() }) == nil
}

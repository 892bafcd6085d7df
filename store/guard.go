package store

import (
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"syscall"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"kustospool/internal/crashpoint"
)

// errDamaged is what guard makes of a panic or a fault under bbolt.
var errDamaged = errors.New("damaged pages")

// guard runs fn, which touches pages of a bbolt file, and turns what damaged
// pages provoke into an error: bbolt's assertions panic, and a page beyond
// the end of the file, or one that the disk cannot read, is a memory fault.
// The setting is per goroutine, so fn must not read pages on another one.
func guard(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errDamaged, r)
		}
	}()
	return fn()
}

// commitError says how a commit failed.
type commitError struct {
	stored maybe
	space  bool // for want of space alone: the file is as before, and usable
	err    error
}

type maybe uint8

const (
	no maybe = iota
	unknown
)

func (e *commitError) Error() string { return e.err.Error() }
func (e *commitError) Unwrap() error { return e.err }

// commitTx commits tx, a transaction on the file at path.
//
// What a failed Commit leaves behind, read in bbolt v1.5.0 (tx.go): pages are
// spilled into memory, the file is grown (truncate, fsync), the dirty pages
// are written and fdatasynced, and only then the meta page of slot txid%2 is
// written and fdatasynced; in the active segment without most of the syncs, see
// tally.go. Every failure up to there rolls back, and the
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
func commitTx(tx *bolt.Tx, path string) error {
	txid := uint64(tx.ID())
	crashpoint.Reach("commit.begin")
	err := tx.Commit()
	if err == nil {
		return nil
	}
	ce := &commitError{stored: unknown, err: err}
	if metas, merr := readMetas(path); merr == nil {
		if m := metas.slot[txid%2]; m.valid && m.txid < txid {
			ce.stored = no
		}
	}
	ce.space = ce.stored == no && wantsSpace(err)
	return ce
}

// wantsSpace recognises errors for want of space that came from a write or a
// truncate. bbolt wraps neither, and flattens the one of truncate to text.
func wantsSpace(err error) bool {
	return isNoSpace(err) || errors.Is(err, berrors.ErrMaxSizeReached) || strings.HasPrefix(err.Error(), "file resize error")
}

// isNoSpace reports whether a file operation failed because the volume, the
// quota or the process may not take more.
func isNoSpace(err error) bool {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return false
	}
	for _, e := range noSpaceErrnos {
		if errno == e {
			return true
		}
	}
	return false
}

// abandon ends a transaction after fn panicked under it. It reports whether
// the database can still be closed: its locks may be held for good.
func abandon(tx *bolt.Tx) bool {
	return guard(func() error { return tx.Rollback() }) == nil
}

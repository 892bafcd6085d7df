package store

import (
	"errors"
	"fmt"
	"strings"

	"kustospool/internal/vfs"
	"kustospool/store/internal/ledger"
	"kustospool/store/internal/wal"
)

// The parts' sentinels are the door's own where they mean the same.
var (
	// ErrClosed is returned by every call after Close.
	ErrClosed = ledger.ErrClosed
	// ErrFull is returned by an append that would take the spool past
	// Options.MaxBytes, or for which the volume has no room. Nothing was
	// stored; Room tells when to try again.
	ErrFull = ledger.ErrFull
	// ErrNotFound is returned by Find for a record that was never
	// acknowledged, or whose history has been pruned.
	ErrNotFound = ledger.ErrNotFound
	// ErrConflict is returned by Seal, Transition, Split and DeadLetter when
	// the batch is not live, is in another state than the caller believes, or
	// may not make the move.
	ErrConflict = ledger.ErrConflict
	// ErrFailed is returned by every append, and every change of the ledger,
	// after a write to stable storage failed. Reads go on. To go on writing,
	// Close and Open again: only the disk can say what it holds.
	ErrFailed = ledger.ErrFailed
	// ErrOutcomeUnknown is returned to the callers whose own commit failed at
	// the point where it may or may not have reached the disk. What Open finds
	// decides; a Record.Key makes the repeat safe.
	ErrOutcomeUnknown = ledger.ErrOutcomeUnknown
	// ErrExhausted is returned by an append when no number is left for a record, a
	// commit or a segment. They last for ages: somebody has written into the spool.
	ErrExhausted = errors.New("no number is left")
	// ErrUntrusted is matched by an [UntrustedError].
	ErrUntrusted = errors.New("not a directory to be trusted")
	// ErrForeign is matched by a [ForeignError].
	ErrForeign = errors.New("not a spool")
)

// LockedError is returned by Open when another process, or another Store of
// this process, has the spool open.
type LockedError struct {
	Dir   string
	Owner string // what the holder wrote of itself: pid and command; may be empty
	// Socket is where the holder said that it can be asked (package operate); empty
	// where it did not.
	Socket string
}

// Error names the directory and its holder.
func (e *LockedError) Error() string {
	if e.Owner == "" {
		return fmt.Sprintf("spool %s is in use by another process", e.Dir)
	}
	return fmt.Sprintf("spool %s is in use by %s", e.Dir, e.Owner)
}

// ForeignError is returned by Open for a directory that holds files but no
// spool. Nothing in it was touched. It matches [ErrForeign].
type ForeignError struct {
	Dir  string
	File string // a name found there
}

// Error names the directory and a file in it.
func (e *ForeignError) Error() string {
	return fmt.Sprintf("directory %s is not empty and not a spool (it holds %q)", e.Dir, e.File)
}

// Is makes every ForeignError match [ErrForeign].
func (e *ForeignError) Is(target error) bool { return target == ErrForeign }

// UntrustedError is returned by Open and Look for a spool that others could
// have written to, or could do so now. Nothing in it was touched. It matches
// [ErrUntrusted].
type UntrustedError struct {
	Path   string // the directory or the file that it is about
	Reason string
	// Optional says that Options.TrustDirectory lets it pass.
	Optional bool
}

// Error names the path, the reason, and what can be done about it.
func (e *UntrustedError) Error() string {
	if e.Optional {
		return fmt.Sprintf("%s %s; where that is meant to be so, set TrustDirectory", e.Path, e.Reason)
	}
	return fmt.Sprintf("%s %s", e.Path, e.Reason)
}

// Is makes every UntrustedError match [ErrUntrusted].
func (e *UntrustedError) Is(target error) bool { return target == ErrUntrusted }

// VersionError is returned by Open for a spool whose format is newer than
// this program, or older than any that was released. Nothing in it was changed.
type VersionError struct {
	Dir     string
	Version uint32 // what the spool has
	Known   uint32 // what this program reads
}

// Error names both versions.
func (e *VersionError) Error() string {
	return fmt.Sprintf("spool %s has format version %d; this program reads %d", e.Dir, e.Version, e.Known)
}

// CorruptionError says which acknowledged records cannot be read any more.
// First..Last may reach beyond the range that was asked for; it covers whole
// frames. Records outside of it are unharmed as far as is known.
type CorruptionError struct {
	Segment     uint64 // 0 when no segment claims the records
	Lane        uint32
	First, Last uint64
	Err         error
}

// Error names segment, lane, range and cause.
func (e *CorruptionError) Error() string {
	// The log names the same place in its own error, which is not said twice.
	cause := strings.TrimPrefix(fmt.Sprint(e.Err), fmt.Sprintf("%v: segment %d, lane %d, records %d..%d: ", wal.ErrDamaged, e.Segment, e.Lane, e.First, e.Last))
	return fmt.Sprintf("segment %d: records %d..%d of lane %d are damaged: %s", e.Segment, e.First, e.Last, e.Lane, cause)
}

// Unwrap gives the cause.
func (e *CorruptionError) Unwrap() error { return e.Err }

// translate gives an error of the log in the door's own words.
func (s *Store) translate(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, wal.ErrNoSpace):
		return fmt.Errorf("%w: %v", ErrFull, err)
	case errors.Is(err, wal.ErrUnknown):
		return fmt.Errorf("%w: %v", ErrOutcomeUnknown, err)
	case errors.Is(err, wal.ErrClosed):
		return ErrClosed
	case errors.Is(err, wal.ErrFailed):
		return s.fail(err)
	case errors.Is(err, wal.ErrExhausted):
		return fmt.Errorf("%w: %v", ErrExhausted, err)
	case errors.Is(err, wal.ErrNoLane):
		return fmt.Errorf("%w: %v", ErrNotFound, err)
	}
	return err
}

// refused is the error of an append. Where the volume was full for it, the maintenance
// looks whether the spool itself has room to give back.
func (s *Store) refused(err error) error {
	if errors.Is(err, wal.ErrNoSpace) {
		s.maintenance.press()
	}
	return s.translate(err)
}

// noRoom makes ErrFull of an error for want of space.
func noRoom(err error) error {
	if vfs.NoSpace(err) {
		return fmt.Errorf("%w: %v", ErrFull, err)
	}
	return err
}

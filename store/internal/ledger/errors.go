package ledger

import (
	"errors"
	"fmt"

	"kustospool/ingest"
)

var (
	// ErrClosed is returned by every call after Close.
	ErrClosed = errors.New("the spool is closed")
	// ErrFull is returned by a change for which the volume has no room.
	// Nothing of it was stored.
	ErrFull = errors.New("the spool is full")
	// ErrNotFound is returned for a row that is not there.
	ErrNotFound = errors.New("not found")
	// ErrConflict is returned by a change that the rows do not allow: the batch
	// is not live, is in another state than the caller believes, or may not
	// make the move; the segment holds records that are not settled.
	ErrConflict = errors.New("conflict with the batch's state")
	// ErrFailed is returned by every change after a write to stable storage
	// failed. Reads go on.
	ErrFailed = errors.New("the spool has failed and accepts nothing; close it and open it again")
	// ErrOutcomeUnknown is returned to the callers whose own commit failed at
	// the point where it may or may not have reached the disk.
	ErrOutcomeUnknown = errors.New("the outcome of this write is unknown")
	// ErrDamaged is matched by what Open, Look and Renew say of a file that cannot
	// be trusted. The file was not changed.
	ErrDamaged = errors.New("the ledger is damaged")
)

// VersionError is returned by Open and Look for a whole file of another
// format version. Nothing in it was changed.
type VersionError struct {
	Version uint32 // what the file has
	Known   uint32 // what this program reads
}

// Error names both versions.
func (e *VersionError) Error() string {
	return fmt.Sprintf("the ledger has format version %d; this program reads %d", e.Version, e.Known)
}

// TransitionError says which move of a batch the transition table forbids. It
// matches [ErrConflict].
type TransitionError struct {
	Batch    ingest.BatchID
	From, To ingest.State
}

// Error names the batch and the move.
func (e *TransitionError) Error() string {
	return fmt.Sprintf("batch %s cannot become %s from %s", e.Batch, e.To, e.From)
}

// Is makes every TransitionError match [ErrConflict].
func (e *TransitionError) Is(target error) bool { return target == ErrConflict }

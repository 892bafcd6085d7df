package engine

import (
	"errors"
	"fmt"

	"kustospool/store"
)

// Conditions a caller branches on. Each is matched with [errors.Is].
var (
	// ErrClosed is returned by every method after Close, and by Ingest once
	// Shutdown has begun. Nothing was stored.
	ErrClosed = store.ErrClosed

	// ErrFull is returned by Ingest when the disk quota is reached and the full
	// policy is RejectNew, or is DropOldest and nothing can be dropped. Nothing
	// was stored.
	ErrFull = store.ErrFull

	// ErrOutcomeUnknown is returned by Ingest when the commit of this very
	// record failed in a way that leaves open whether it is on disk. A repeat
	// with the same Request.Key, after the spool was opened again, is safe.
	ErrOutcomeUnknown = store.ErrOutcomeUnknown

	// ErrFailed is returned after such a failure until the spool is closed and
	// opened again. Nothing was stored. Delivery stops as well, because its
	// books cannot be kept.
	ErrFailed = store.ErrFailed

	// ErrNotFound is returned by Status and Wait for an ID of another spool, an
	// ID that was never acknowledged, or one whose history was pruned.
	ErrNotFound = store.ErrNotFound

	// ErrForeign is matched by what Open returns for a directory that holds files
	// and no spool. Nothing in it was touched.
	ErrForeign = store.ErrForeign

	// ErrUntrusted is matched by what Open and Look return for a spool that others
	// can write to; see Options.TrustDirectory.
	ErrUntrusted = store.ErrUntrusted

	// ErrGuarantee is returned by Open when a table wants ExactlyOnce, or a batch
	// was sealed for it by an earlier process, and the transport cannot keep it.
	// Where a router leads tables to different transports it is also returned by
	// Table and by Ingest for a table that Options.Tables does not name. Nothing
	// was stored.
	ErrGuarantee = errors.New("engine: the transport cannot keep exactly-once")

	// ErrNoBlobs is returned by Open when an earlier process took in a blob by
	// reference that is not settled, and the transport takes data only: behind a
	// router, the one that has the batch or that its table goes by.
	ErrNoBlobs = errors.New("engine: the transport takes no blobs by reference")
)

// NotDrainedError is returned by Drain and Shutdown when their context ended
// before everything was delivered. What is left is durable and is sent by the
// next process that opens the spool.
type NotDrainedError struct {
	Records int64 // acknowledged and not yet final
	Err     error // the context's error
}

// Error says how much is left.
func (e *NotDrainedError) Error() string {
	return fmt.Sprintf("engine: %d records are still spooled: %v", e.Records, e.Err)
}

// Unwrap is the context's error.
func (e *NotDrainedError) Unwrap() error { return e.Err }

// LockedError is returned by Open and Look for a spool that is open already, in
// another process or in this one.
type LockedError struct {
	Dir   string
	Owner string // what the holder wrote of itself: pid, command, since when; may be empty
	// Socket is the path of the Unix socket where it says that it can be asked;
	// empty where it did not. See package operate.
	Socket string
}

// Error names the directory and its holder.
func (e *LockedError) Error() string { return (*store.LockedError)(e).Error() }

// ownError gives an error of the store that callers branch on in the engine's
// own type.
func ownError(err error) error {
	if locked, ok := errors.AsType[*store.LockedError](err); ok {
		return (*LockedError)(locked)
	}
	return err
}

package wal

import "errors"

var (
	// ErrNoSpace is returned by Append when the volume is full. Nothing was
	// stored, and the log goes on.
	ErrNoSpace = errors.New("wal: no space left on the volume")
	// ErrUnknown is returned by Append when the write or the sync of its commit
	// failed so that nobody knows what is stored. The log has failed. When it
	// is opened again the records are in it or they are not.
	ErrUnknown = errors.New("wal: the outcome of the commit is unknown")
	// ErrFailed is returned once the log has failed; it then wraps why.
	ErrFailed = errors.New("wal: the log has failed")
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("wal: the log is closed")
	// ErrNoLane is returned for a lane that AddLane was not called with.
	ErrNoLane = errors.New("wal: unknown lane")
	// ErrExhausted is returned when the numbers of a lane, of commits or of
	// segments have come to their end, which takes a file that was made to say so.
	ErrExhausted = errors.New("wal: no number is left")
	// ErrInvalid is returned for what a call must not contain.
	ErrInvalid = errors.New("wal: invalid")
	// ErrNoSegment is returned for a number that no segment has.
	ErrNoSegment = errors.New("wal: no such segment")
	// ErrDamaged matches what Found.Err and Damage.Err say.
	ErrDamaged = errors.New("damaged")
)

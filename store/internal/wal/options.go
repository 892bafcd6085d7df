package wal

import (
	"fmt"
	"time"

	"kustospool/internal/vfs"
)

// Defaults and limits of Options.
const (
	DefaultSegmentBytes  = 64 << 20
	MinSegmentBytes      = 64 << 10
	MaxSegmentBytes      = 1 << 30
	DefaultRecycledFiles = 2
	DefaultOpenSegments  = 4
)

// Options of a Log.
type Options struct {
	FS    vfs.FS  // required
	Dir   string  // required; made if missing
	Spool [8]byte // identity; files of another one are foreign

	// SegmentBytes is the size at which the active segment is rotated. One
	// commit may take it past. Default 64 MiB, from 64 KiB to 1 GiB.
	SegmentBytes int64
	// RecycledFiles is how many settled files are kept to be written again. Default 2;
	// negative: none.
	RecycledFiles int
	// OpenSegments is how many rotated segments are kept open for reading,
	// with their indexes. Default 4.
	OpenSegments int
	// CommitInterval is how long a commit waits for more records, at most. A
	// group that is full does not wait. Default 0.
	CommitInterval time.Duration
	// Compress stores a frame as S2 where that makes it smaller.
	Compress bool
	// NoSync leaves out the syncs: for the negative controls of tests.
	NoSync bool

	// Gate is asked before records are taken. Nil: everything is let in.
	Gate Gate

	// Committed, when set, gets each commit after it is durable, in order and
	// before the calls return. It runs on whichever goroutine commits, one at a
	// time, must be quick and must not call the Log. The Commit is valid
	// during the call.
	Committed func(*Commit)
	// Rotated, when set, gets each segment once its index is durable, in order,
	// on a goroutine of the log. It may call Recycle and Scan, but neither Rotate nor
	// Close.
	Rotated func(SegmentInfo)
	// Freed, when set, is called each time the log has given space back to the
	// volume, on a goroutine of the log. It must not call the Log, DiskBytes excepted.
	Freed func()
	// Failed, when set, is called once when the log fails, on whichever
	// goroutine met the failure. It must not call the Log.
	Failed func(error)

	// For tests: planted bugs; no maintainer goroutine, whose work is then
	// done by Maintain; and where generations come from.
	bugs       bugs
	inline     bool
	generation func() uint64
}

func (o Options) withDefaults() (Options, error) {
	if o.FS == nil || o.Dir == "" {
		return o, fmt.Errorf("%w: Options.FS and Options.Dir are required", ErrInvalid)
	}
	if o.SegmentBytes == 0 {
		o.SegmentBytes = DefaultSegmentBytes
	}
	if o.SegmentBytes < MinSegmentBytes || o.SegmentBytes > MaxSegmentBytes {
		return o, fmt.Errorf("%w: Options.SegmentBytes %d: must be between %d and %d", ErrInvalid, o.SegmentBytes, MinSegmentBytes, MaxSegmentBytes)
	}
	if o.CommitInterval < 0 {
		return o, fmt.Errorf("%w: Options.CommitInterval %v: must not be negative", ErrInvalid, o.CommitInterval)
	}
	if o.RecycledFiles == 0 {
		o.RecycledFiles = DefaultRecycledFiles
	}
	o.RecycledFiles = max(o.RecycledFiles, 0)
	if o.OpenSegments <= 0 {
		o.OpenSegments = DefaultOpenSegments
	}
	if o.generation == nil {
		o.generation = newGeneration
	}
	return o, nil
}

// Gate decides on what is appended. Its methods are called while the log's
// queue is locked: they must be quick and must not call the Log.
type Gate interface {
	// Room decides whether the files may grow by so many bytes, at most. Its
	// error refuses the call.
	Room(grow int64) error
	// Key looks for a key among those of commits that Committed was called
	// with. It may be called from several goroutines at the same time, and
	// outside of the lock too.
	Key(lane uint32, k KeyHash) (seq uint64, ok bool, err error)
	// Alive says why nothing may be appended any more, nil when it may.
	Alive() error
}

package store

import (
	"time"

	"kustospool/ingest"
	"kustospool/store/internal/ledger"
	"kustospool/store/internal/wal"
)

// Limits of a Position.
const (
	MaxPositionName  = ledger.MaxPositionName  // bytes of its name
	MaxPositionBytes = ledger.MaxPositionBytes // bytes of its value
	MaxPositions     = ledger.MaxPositions     // of one spool
)

// DefaultFrameBytes is the default, and the largest, FrameLimit.Bytes. A record
// that is larger is kept in an object.
const DefaultFrameBytes = wal.DefaultFrameBytes

// Frame is the records of one lane in one group commit.
type Frame struct {
	Lane        uint32
	First, Last uint64
	// Bytes is what the records add to a batch's payload: their data, and one
	// separator each where the lane's format concatenates.
	Bytes int64
	At    time.Time // when they were accepted
}

// Records is the number of records in the frame.
func (f Frame) Records() int64 { return int64(f.Last - f.First + 1) }

// FrameLimit bounds the frames that a lane's records are packed into. A
// single record larger than Bytes is a frame of its own.
type FrameLimit struct {
	Bytes   int64 // default 1 MiB, which is also the largest
	Records int64 // 0 means no limit but the format's own, 65536
}

// Record is one record to be appended.
type Record struct {
	Lane uint32
	Data []byte // only read, and not kept after Append has returned
	Key  string // see Append; at most ingest.MaxKeyBytes
}

// Appended is the answer for one record.
type Appended struct {
	Seq uint64 // its sequence number in its lane; counts from 1
	// Duplicate: the key had been stored before; Seq is the first record's.
	Duplicate bool
}

// Position is where a source stands; see [ingest.Position].
type Position = ingest.Position

// Seal asks for the range First..Last of a lane to become a batch.
type Seal = ledger.Seal

// Entry is one row of the batch ledger.
type Entry = ledger.Entry

type span = ledger.Span

package store

import (
	"time"

	"kustospool/ingest"
)

// MaxProgressBytes bounds Entry.Progress: what a transport writes, and the
// name that a router puts before it.
const MaxProgressBytes = 4<<10 + 128

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

	object *Object // in the place of Data
}

// Appended is the answer for one record.
type Appended struct {
	Seq uint64 // its sequence number in its lane; counts from 1
	// Duplicate: the key had been stored before; Seq is the first record's.
	Duplicate bool
}

// Seal asks for the range First..Last of a lane to become a batch.
type Seal struct {
	Lane        uint32
	First, Last uint64
	Bytes       int64 // payload size: the sum of the frames' Bytes
	Guarantee   ingest.Guarantee
	Confirm     ingest.Confirm
}

// Entry is one row of the batch ledger.
type Entry struct {
	Batch    ingest.Batch
	State    ingest.State
	Attempts int // attempts begun
	// Unresolved is the number of attempts whose outcome was never learned
	// before the batch was sent again.
	Unresolved int
	// PossibleDuplicates is the number of rows that such repeats may have
	// doubled. It only grows; what a Transition adds to it is added to
	// Stats.PossibleDuplicates in the same transaction.
	PossibleDuplicates int64
	Committed          bool   // the current attempt passed its commit point
	Progress           []byte // the transport's own; at most MaxProgressBytes
	NextAttempt        time.Time
	Failure            *ingest.Failure
	WireBytes          int64
	Updated            time.Time
}

package store

import "time"

// Stats is a snapshot of the spool's books. The counters are persisted with
// the change they count, so they survive restarts and agree with each other:
//
//	Acked == Open + Sealed + Ingested + Skipped + HandedOver + DeadLettered + Dropped
type Stats struct {
	Acked      int64 // records ever acknowledged
	AckedBytes int64 // and their payload bytes, separators included

	Open         int64 // records in no batch yet
	Sealed       int64 // records in live batches
	Ingested     int64 // records whose batch succeeded
	Skipped      int64 // records whose batch was in the table already
	HandedOver   int64
	DeadLettered int64
	Dropped      int64

	BatchesLive         int64
	BatchesIngested     int64
	BatchesSkipped      int64
	BatchesHandedOver   int64
	BatchesSplit        int64
	BatchesDeadLettered int64
	BatchesDropped      int64

	RawBytes           int64 // payload of batches that were ingested, skipped or handed over
	WireBytes          int64 // what they took on the wire
	PossibleDuplicates int64 // rows that repeats may have doubled

	DiskBytes int64 // sizes of all files of the spool
	MaxBytes  int64
	Segments  int   // segment files, the active one included
	Damaged   int64 // damage found: files and frames
	Suspect   int64 // signs of damage that cannot be told from a torn write
	Lanes     int
	// OldestOpen is when the oldest record that is in no batch was accepted;
	// zero when there is none. It is exact to one segment.
	OldestOpen time.Time
}

package engine

import (
	"fmt"
	"time"

	"kustospool/ingest"
	"kustospool/transport"
)

// Stats is a snapshot of a spool: what [Spool.Stats] and [View.Stats] return.
// What it says of records and batches is of one moment, so that
//
//	Acked == Waiting.Records + Settled.Records()
//
// holds in every snapshot, and the lanes' Waiting add up to the spool's.
// Counters are of the spool's whole life, across restarts, unless they say that
// they are of this process.
type Stats struct {
	At    time.Time // when it was taken
	Spool ingest.SpoolID

	Acked      int64 // records ever acknowledged
	AckedBytes int64 // and their payload bytes, separators included

	Waiting        Backlog // records that are acknowledged and not final
	Settled        Settled // records in a final state
	Batches        Batches // live batches
	SettledBatches SettledBatches

	// Rate is how fast records are settled, all lanes together.
	Rate Rate
	// Attempts is how many attempts at batches this process has begun.
	Attempts int64
	// RawBytes is the data of the batches that were delivered, before compression,
	// WireBytes what it took on the wire. Of a blob by reference it is the blob's
	// size, where the transport learned it, and not that of its address.
	RawBytes, WireBytes int64

	// Unhealthy is what a destination last failed with; nil while all are well.
	// Of several it is the latest. A View does not know it.
	Unhealthy *ingest.Failure
	// Failed is why the spool takes and delivers nothing until it is opened again,
	// an error that matches [ErrFailed]; nil while it works, and in a View.
	Failed error

	Duplicates  Duplicates
	DeadLetters DeadLetterStats
	Disk        DiskStats

	// WaitingForRoom is how many calls of Ingest, or of its relatives, found the
	// spool full and wait for room (Options.Full) now.
	WaitingForRoom int

	// Paused are the tables that are paused ([Spool.Pause]), by name.
	Paused []Pause

	// Lanes are all lanes of the spool, in the order in which they were first used.
	Lanes []LaneStats
	// Classes are the classes of tables, the one that goes first first. Nil in a View.
	Classes []ClassStats

	// Transport is what the transport tells of itself ([transport.Gauged]): how
	// much of a cluster's capacity is in use, say. Nil where it tells nothing.
	Transport []transport.Figure
}

// TimeToEmpty is how long the backlog will take at the present rate if nothing
// is added to it; false where nothing was settled lately. It is 0 for a spool
// that is empty.
func (s Stats) TimeToEmpty() (time.Duration, bool) { return s.Rate.timeFor(s.Waiting) }

// Backlogged are the lanes that have something waiting.
func (s Stats) Backlogged() []LaneStats {
	var out []LaneStats
	for i := range s.Lanes {
		if s.Lanes[i].Waiting.Records > 0 {
			out = append(out, s.Lanes[i])
		}
	}
	return out
}

// LaneStats is one lane: the queue of one set of properties.
type LaneStats struct {
	Lane uint32 // its number in the spool
	// Properties name database, table, format and the rest. What they refer to
	// is shared and must not be changed.
	Properties ingest.Properties

	Waiting Backlog
	Batches Batches
	Rate    Rate

	// Class and Order are those of its table; zero in a View.
	Class Class
	Order Order

	// Held is set while the lane waits for an operator: for a missing table, or
	// a permission that is refused.
	Held bool
	// Failure is what was last said against its batches, and since when; nil
	// where nothing was said, or nothing since the last one was settled.
	Failure *ingest.Failure
	// Unhealthy is the class of what the lane's destination last failed with, also where
	// no attempt of this lane met it; empty while that is well. A lane of which no
	// batch was sealed since Open has none, and a View knows none.
	Unhealthy string
	// Paused is set while the table is paused: no attempt begins.
	Paused *Pause
	// Next is when a batch may be attempted next; zero where that is now.
	Next time.Time
}

// Name is database, table and format, for people: "Demo.Telemetry (json)". Two
// lanes of a table that differ in something else have the same name.
func (l LaneStats) Name() string {
	return fmt.Sprintf("%s.%s (%s)", l.Properties.Database, l.Properties.Table, l.Properties.Format)
}

// TimeToEmpty is as of [Stats.TimeToEmpty].
func (l LaneStats) TimeToEmpty() (time.Duration, bool) { return l.Rate.timeFor(l.Waiting) }

// Backlog is what waits.
type Backlog struct {
	Records int64
	Bytes   int64 // their payload
	Open    int64 // of Records, those in no batch yet
	// Oldest is when the oldest of them was accepted, zero where nothing waits;
	// Age is how long ago that was. It may be up to a few commits too old. For
	// a batch of an older version of the spool it is when the batch was sealed.
	Oldest time.Time
	Age    time.Duration
}

// Settled counts records by the final state of their batch.
type Settled struct {
	Ingested     int64 // the service reported that it ingested them
	Skipped      int64 // it said that the batch was in the table already
	HandedOver   int64 // it took them over, and more was not asked for
	DeadLettered int64
	Dropped      int64 // by the policy for a full spool
}

// Records is the sum of all of them.
func (s Settled) Records() int64 {
	return s.Ingested + s.Skipped + s.HandedOver + s.DeadLettered + s.Dropped
}

// Batches counts batches that are not final, by state.
type Batches struct {
	Sealed   int64 // wait for an attempt
	Sending  int64 // are being attempted
	Unknown  int64 // may have been accepted
	Accepted int64 // are with the service, which has not told the outcome
}

// Live is the sum of all of them.
func (b Batches) Live() int64 { return b.Sealed + b.UnderWay() }

// UnderWay counts those that are being attempted or await their outcome.
func (b Batches) UnderWay() int64 { return b.Sending + b.Unknown + b.Accepted }

// SettledBatches counts batches by the final state that they reached.
type SettledBatches struct {
	Ingested, Skipped, HandedOver, DeadLettered, Dropped int64
	// Split counts batches that were replaced by their parts.
	Split int64
}

// Batches is how many there were, without those that were split.
func (b SettledBatches) Batches() int64 {
	return b.Ingested + b.Skipped + b.HandedOver + b.DeadLettered + b.Dropped
}

// Duplicates are records that were, or may have been, ingested twice.
type Duplicates struct {
	// Possible counts records that a repeat of an attempt may have doubled.
	Possible int64
	// AvoidedByTag counts records of batches that the service had already, and
	// skipped; they are in Settled.Skipped, too.
	AvoidedByTag int64
	// AvoidedByKey counts requests of this process whose Request.Key was stored
	// before.
	AvoidedByKey int64
}

// DeadLetterStats are the dead letters. Each is a batch.
type DeadLetterStats struct {
	Total   int64 // ever made
	Waiting int64 // are in the spool's directory, and wait for somebody to deal with them
	Handled int64 // were retried, or removed
}

// DiskStats is what the spool takes of the disk.
type DiskStats struct {
	Bytes    int64 // sizes of all files of the spool
	Quota    int64 // Options.MaxDiskBytes; 0 in a View
	Free     int64 // room on the volume; -1 where the system does not tell
	Written  int64 // bytes that this process wrote to the spool's files
	Segments int   // segment files of the log
	Damaged  int64 // damage found: files and frames
	Suspect  int64 // signs of damage that cannot be told from a torn write
}

package engine

import (
	"time"

	"kustospool/ingest"
)

// Observer is told what happens in a spool ([Options].Observer). Package
// telemetry makes metrics and traces of it.
//
// Observe is called by one goroutine of the spool's, one event at a time, in the
// order in which things became durable. It may take its time: nothing waits for
// it but Close, which hands over what is left when the files are closed already, and
// tells in a [*NotClosedError] of an Observe that has not returned within
// Options.CloseTimeout. While it does not keep up, the spool holds 4096 events, and adds those that come then
// to one [EventsFolded], so that sums over events stay exact. Events are handed over
// some 20 milliseconds at a time.
//
// It may call the spool, but not Close or Shutdown, which wait for it. A panic
// costs the event. What an event refers to is shared and must not be changed.
type Observer interface {
	Observe(Event)
}

// Event is one of the types below, each a plain struct, not a pointer. More may be added: pass
// over what you do not know.
//
// From events alone, at any time after the first [Recovered],
//
//	waiting = Recovered.Stats.Waiting.Records + RecordsAcked.Records - BatchSettled.Batch.Records()
//
// where both are sums, and include what EventsFolded has of them. It is never negative, and 0
// after a Drain.
type Event interface{ event() }

// Recovered is the first event: Open has found what an earlier process left.
type Recovered struct {
	At   time.Time     // of Stats
	Took time.Duration // all of Open
	// Stats is the spool as it was found, before anything of it was moved. What
	// is of a process is zero in it, Disk.Free is -1, and Waiting.Oldest that of batches.
	Stats Stats
}

// RecordsAcked says that records are durable. It is sent when a commit is, before the
// calls that wait for it return. Commits with no other event between them are one
// event.
type RecordsAcked struct {
	At      time.Time // of the last commit
	Commits int64
	Records int64
	Bytes   int64     // of their payload, separators included
	Commit  Durations // how long the commits took, from their first written byte on
	Sync    Durations // and of that the wait for the disk
}

// CallsReturned says how long calls that stored records took: Ingest, IngestAll
// and their relatives, without those that were refused. A source that is stored in
// parts counts once for each. The wait for room of a full spool is included. Of
// more than 512 calls in the time of one event, some 20 milliseconds, one in 16 is
// timed: a clock that is asked for each would be felt.
type CallsReturned struct {
	At   time.Time
	Took Durations
}

// BatchSealed says that a range of records is a batch now, durably.
type BatchSealed struct {
	At    time.Time
	Batch ingest.Batch
}

// AttemptBegun is sent right before the transport is called.
type AttemptBegun struct {
	At      time.Time
	Batch   ingest.Batch
	Attempt int // counts from 1, over all processes
}

// AttemptEnded is sent when the transport has answered and the answer is durable;
// an end of the batch that it means is told before it.
// Each AttemptBegun has one, unless the process ends before.
type AttemptEnded struct {
	At      time.Time
	Batch   ingest.Batch
	Attempt int
	Took    time.Duration
	// Outcome is, of an attempt that the destination took, "accepted", "ingested",
	// "skipped" or "handed_over"; else the class of the failure ("transient",
	// "unknown", ... of [transport.Class]), "damaged" for bytes that could not be
	// read, "cut_off" where the spool closed, or "not_recorded" where the ledger
	// could not be written.
	Outcome string
	// State is what became of the batch; zero when that is not recorded.
	State     ingest.State
	WireBytes int64
	Failure   *ingest.Failure // nil where there is none
}

// BatchDecided says what a later question to the destination decided about a batch
// that it had, or may have had. An answer that decides nothing is no event.
type BatchDecided struct {
	At    time.Time
	Batch ingest.Batch
	// State is what became of the batch. Sealed: it is sent again, for what
	// Failure says or, where that is nil, because nothing was heard in time.
	State   ingest.State
	Failure *ingest.Failure
}

// BatchSplit says that a batch was replaced by its parts. Their records were not
// settled by that.
type BatchSplit struct {
	At      time.Time
	Batch   ingest.Batch
	Parts   []ingest.Batch
	Failure *ingest.Failure
}

// BatchSettled says that a batch is final, durably: Succeeded, Skipped, HandedOver,
// DeadLettered or Dropped. One of many dead letters of a source is one of these.
type BatchSettled struct {
	At       time.Time
	Batch    ingest.Batch
	State    ingest.State
	Attempts int
	// Took is the time since the oldest of its records was accepted, in all
	// processes together; 0 where that is not known.
	Took    time.Duration
	Failure *ingest.Failure // of DeadLettered and Dropped; else what was last said
}

// DeadLetterHandled says that a dead letter is none any more. One of which only the
// files are left is told once: by the process that retried it, or in Recovered. One that
// somebody removes from the directory is only counted, in [DeadLetterStats].
type DeadLetterHandled struct {
	At    time.Time
	Batch ingest.BatchID
	// How is "retried" or "removed". The records of one that is retried are
	// acknowledged once more: a RecordsAcked has them.
	How string
}

// DamageFound says that bytes of a batch cannot be read from the disk. What is
// found while a spool is opened is in the Stats of Recovered.
type DamageFound struct {
	At    time.Time
	Batch ingest.Batch
	What  string
}

// WaitedForRoom says that a call has waited for room in a full spool
// ([Options].Full). It is sent when the waiting is over.
type WaitedForRoom struct {
	At     time.Time
	Took   time.Duration
	Stored bool // else the call got an error
}

// EventsFolded stands for events that came when 4096 waited for the observer already,
// in the place where they would have been: sums over events that include its own
// are exact. What else the events said is lost.
type EventsFolded struct {
	At     time.Time // of the last
	Events int64     // how many it stands for; RecordsAcked counts once

	Acked, AckedBytes, Commits int64 // as of RecordsAcked
	Commit, Sync               Durations

	Sealed         int64 // batches
	AttemptsBegun  int64
	AttemptsEnded  map[string]int64 // by outcome
	Decided        int64            // BatchDecided
	Splits, Parts  int64            // batches that were split, and what they were split into
	Settled        Settled
	SettledBatches SettledBatches // without Split
	Handled        int64          // dead letters
	Damage         int64
	WaitedForRoom  int64
}

func (Recovered) event()         {}
func (RecordsAcked) event()      {}
func (CallsReturned) event()     {}
func (BatchSealed) event()       {}
func (AttemptBegun) event()      {}
func (AttemptEnded) event()      {}
func (BatchDecided) event()      {}
func (BatchSplit) event()        {}
func (BatchSettled) event()      {}
func (DeadLetterHandled) event() {}
func (DamageFound) event()       {}
func (WaitedForRoom) event()     {}
func (EventsFolded) event()      {}

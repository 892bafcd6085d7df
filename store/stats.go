package store

import (
	"time"

	"kustospool/ingest"
)

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
	// zero when there is none, and after Open until Unsealed was walked. It may
	// be older than the truth by some of the records before it.
	OldestOpen time.Time
}

// counters are the persisted part of Stats. What can be computed from the
// lanes' marks and the live batches is not repeated here.
type counters struct {
	Ingested     int64 `json:"ingested"`
	Skipped      int64 `json:"skipped"`
	HandedOver   int64 `json:"handedOver"`
	DeadLettered int64 `json:"deadLettered"`
	Dropped      int64 `json:"dropped"`

	BatchesIngested     int64 `json:"batchesIngested"`
	BatchesSkipped      int64 `json:"batchesSkipped"`
	BatchesHandedOver   int64 `json:"batchesHandedOver"`
	BatchesSplit        int64 `json:"batchesSplit"`
	BatchesDeadLettered int64 `json:"batchesDeadLettered"`
	BatchesDropped      int64 `json:"batchesDropped"`

	RawBytes           int64 `json:"rawBytes"`
	WireBytes          int64 `json:"wireBytes"`
	PossibleDuplicates int64 `json:"possibleDuplicates"`
	Damaged            int64 `json:"damaged"`
	Suspect            int64 `json:"suspect"`
}

// settle counts a batch that reached a final state.
func (c *counters) settle(e *Entry) {
	n := e.Batch.Records()
	switch e.State {
	case ingest.Succeeded:
		c.Ingested += n
		c.BatchesIngested++
	case ingest.Skipped:
		c.Skipped += n
		c.BatchesSkipped++
	case ingest.HandedOver:
		c.HandedOver += n
		c.BatchesHandedOver++
	case ingest.DeadLettered:
		c.DeadLettered += n
		c.BatchesDeadLettered++
	case ingest.Dropped:
		c.Dropped += n
		c.BatchesDropped++
	}
	if e.State.Ingested() || e.State == ingest.HandedOver {
		c.RawBytes += e.Batch.RawBytes
		c.WireBytes += e.WireBytes
	}
}

// Stats takes a snapshot. It costs a walk over the lanes in memory.
func (s *Store) Stats() Stats {
	s.mu.RLock()
	defer s.mu.RUnlock()
	c := &s.counters
	st := Stats{
		Ingested: c.Ingested, Skipped: c.Skipped, HandedOver: c.HandedOver, DeadLettered: c.DeadLettered, Dropped: c.Dropped,
		BatchesIngested: c.BatchesIngested, BatchesSkipped: c.BatchesSkipped, BatchesHandedOver: c.BatchesHandedOver,
		BatchesSplit: c.BatchesSplit, BatchesDeadLettered: c.BatchesDeadLettered, BatchesDropped: c.BatchesDropped,
		RawBytes: c.RawBytes, WireBytes: c.WireBytes, PossibleDuplicates: c.PossibleDuplicates,
		Damaged: c.Damaged, Suspect: c.Suspect,
		BatchesLive: int64(len(s.entries)), Segments: len(s.segments), MaxBytes: s.opts.MaxBytes, DiskBytes: s.disk.total(),
	}
	for _, l := range *s.lanes.byNo.Load() {
		st.Lanes++
		st.Acked += l.marks.acked()
		st.AckedBytes += l.marks.Bytes - l.marks.BaseBytes
		st.Open += l.marks.open()
		for _, e := range l.live {
			st.Sealed += e.Batch.Records()
		}
		if len(l.ages) > 0 && (st.OldestOpen.IsZero() || l.ages[0].at.Before(st.OldestOpen)) {
			st.OldestOpen = l.ages[0].at
		}
	}
	return st
}

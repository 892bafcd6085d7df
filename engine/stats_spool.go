package engine

import (
	"time"

	"kustospool/engine/internal/live"
	"kustospool/ingest"
	"kustospool/store"
)

// Stats takes a snapshot. It reads what is in memory, and asks the file system
// for the room on its volume and whether a dead letter came or went: some
// microseconds for each lane and less for each live batch.
func (s *Spool) Stats() Stats {
	st := statsOf(s.store.Snapshot())
	st.Spool, st.Disk.Quota, st.Disk.Free, st.Disk.Written = s.store.ID(), s.opts.MaxDiskBytes, freeBytes(s.store), s.store.WrittenBytes()
	st.DeadLetters = deadLetterStats(&st, s.store.WaitingDeadLetters())
	st.Duplicates.AvoidedByKey = s.repeated.Load()
	st.WaitingForRoom = int(s.waitingForRoom.Load())
	st.Transport = s.transport.Figures()
	st.Failed = s.store.Err()
	st.showPaused(s.store.Paused())
	s.rates.fill(&st)
	known := s.live.Look(st.At)
	st.fillLive(known)
	s.fillOrder(&st, known)
	return st
}

// spooled is how many records are acknowledged and not final. It costs less
// than Stats.
func (s *Spool) spooled() int64 {
	st := s.store.Stats()
	return st.Open + st.Sealed
}

// statsOf is what the store's books tell.
func statsOf(b store.Stats, lanes []store.LaneStats) Stats {
	now := time.Now()
	st := Stats{
		At: now, Acked: b.Acked, AckedBytes: b.AckedBytes,
		Waiting: Backlog{Records: b.Open + b.Sealed, Open: b.Open},
		Settled: Settled{Ingested: b.Ingested, Skipped: b.Skipped, HandedOver: b.HandedOver, DeadLettered: b.DeadLettered, Dropped: b.Dropped},
		SettledBatches: SettledBatches{Ingested: b.BatchesIngested, Skipped: b.BatchesSkipped, HandedOver: b.BatchesHandedOver,
			DeadLettered: b.BatchesDeadLettered, Dropped: b.BatchesDropped, Split: b.BatchesSplit},
		RawBytes: b.RawBytes, WireBytes: b.WireBytes,
		Duplicates: Duplicates{Possible: b.PossibleDuplicates, AvoidedByTag: b.Skipped},
		Disk:       DiskStats{Bytes: b.DiskBytes, Segments: b.Segments, Damaged: b.Damaged, Suspect: b.Suspect},
		Lanes:      make([]LaneStats, len(lanes)),
	}
	for i := range lanes {
		l := &lanes[i]
		out := &st.Lanes[i]
		*out = LaneStats{Lane: l.Lane, Properties: *l.Properties, Failure: l.Failure,
			Waiting: Backlog{Records: l.Open + l.Sealed, Bytes: l.OpenBytes + l.SealedBytes, Open: l.Open, Oldest: l.Oldest},
			Batches: Batches{Sealed: l.Live.Sealed, Sending: l.Live.Sending, Unknown: l.Live.Unknown, Accepted: l.Live.Accepted}}
		out.Waiting.aged(now)
		st.Waiting.Bytes += out.Waiting.Bytes
		st.Batches.Sealed += out.Batches.Sealed
		st.Batches.Sending += out.Batches.Sending
		st.Batches.Unknown += out.Batches.Unknown
		st.Batches.Accepted += out.Batches.Accepted
		if o := out.Waiting.Oldest; !o.IsZero() && (st.Waiting.Oldest.IsZero() || o.Before(st.Waiting.Oldest)) {
			st.Waiting.Oldest = o
		}
	}
	st.Waiting.aged(now)
	return st
}

// aged sets the age. A clock that was ahead when a record came does not make it
// negative.
func (b *Backlog) aged(now time.Time) {
	if b.Records == 0 {
		b.Oldest = time.Time{}
	}
	if b.Age = 0; !b.Oldest.IsZero() {
		b.Age = max(0, now.Sub(b.Oldest))
	}
}

func deadLetterStats(st *Stats, waiting int64) DeadLetterStats {
	total := st.SettledBatches.DeadLettered
	return DeadLetterStats{Total: total, Waiting: waiting, Handled: max(0, total-waiting)}
}

func freeBytes(from interface{ FreeBytes() (int64, bool) }) int64 {
	if n, ok := from.FreeBytes(); ok {
		return n
	}
	return -1
}

// fillLive tells of a snapshot what is known beside the books. It is a moment later
// than the rest.
func (st *Stats) fillLive(known *live.State) {
	at := make(map[uint32]*LaneStats, len(st.Lanes))
	for i := range st.Lanes {
		if st.Lanes[i].Waiting.Records > 0 {
			at[st.Lanes[i].Lane] = &st.Lanes[i]
		}
	}
	st.Attempts, st.Unhealthy = known.Attempts, known.Unhealthy
	moving := make(map[uint32]bool) // to another destination than the one that holds back
	for i := range known.Queues {
		q := &known.Queues[i]
		s := at[q.Lane]
		if s == nil {
			continue
		}
		if !q.Held && q.Waiting {
			moving[q.Lane] = true
		}
		s.Held = s.Held || q.Held
		if q.Next.After(s.Next) {
			s.Next = q.Next
		}
		s.Failure = newer(s.Failure, q.Failure)
		if q.Unhealthy != "" {
			s.Unhealthy = q.Unhealthy
		}
	}
	for lane := range moving {
		at[lane].Held = false
	}
}

// newer is the later of a failure in the books and one in memory, which
// counts where both are of one time: it knows since when.
func newer(books, memory *ingest.Failure) *ingest.Failure {
	if memory == nil || books != nil && books.At.After(memory.At) {
		return books
	}
	return memory
}

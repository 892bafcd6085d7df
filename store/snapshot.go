package store

import (
	"cmp"
	"slices"
	"time"

	"kustospool/ingest"
	"kustospool/store/internal/ledger"
)

// LaneStats is one lane of a [Store.Snapshot].
type LaneStats struct {
	Lane uint32
	// Properties are the lane's. They are shared and must not be changed.
	Properties *ingest.Properties

	Open      int64 // records in no batch yet
	OpenBytes int64 // and their payload bytes; 0 after Open until Unsealed was walked

	Live        LiveBatches
	Sealed      int64 // records in live batches
	SealedBytes int64 // and their payload bytes

	// Oldest is when the oldest record that is not settled was accepted, as near
	// as that is known; zero where nothing waits. It may be older than the truth
	// by some of the records before it. For a batch of which it is not known it
	// is when the batch was sealed.
	Oldest time.Time
	// Failure is the newest that is in the ledger's rows of live batches. Its First
	// is the earliest time of the same class and code among them.
	Failure *ingest.Failure
}

// LiveBatches counts live batches by state.
type LiveBatches struct{ Sealed, Sending, Unknown, Accepted int64 }

func (b *LiveBatches) add(s ingest.State) {
	switch s {
	case ingest.Sealed:
		b.Sealed++
	case ingest.Sending:
		b.Sending++
	case ingest.Unknown:
		b.Unknown++
	case ingest.Accepted:
		b.Accepted++
	}
}

// Snapshot is Stats, with its lanes in the order of their numbers. All of it is
// of one moment: the lanes' open and sealed records add up to those of Stats. It
// costs a walk over the live batches in memory.
func (s *Store) Snapshot() (Stats, []LaneStats) {
	var lanes []LaneStats
	st := s.stats(func(v *ledger.View, rows []*ledger.Lane) {
		slices.SortFunc(rows, func(a, b *ledger.Lane) int { return cmp.Compare(a.No, b.No) })
		lanes = make([]LaneStats, len(rows))
		for i := range rows {
			lanes[i].Lane, lanes[i].Properties = rows[i].No, &rows[i].Properties
		}
		v.Batches(func(no uint32, live []*Entry) bool {
			i, _ := slices.BinarySearchFunc(lanes, no, func(l LaneStats, no uint32) int { return cmp.Compare(l.Lane, no) })
			l := &lanes[i]
			for _, e := range live {
				l.Live.add(e.State)
				l.Sealed += e.Batch.Records()
				l.SealedBytes += e.Batch.RawBytes
				l.older(cmp.Or(e.Batch.Oldest, e.Batch.SealedAt))
				if e.Failure != nil && (l.Failure == nil || e.Failure.At.After(l.Failure.At)) {
					l.Failure = e.Failure
				}
			}
			l.Failure = since(l.Failure, live)
			return true
		})
	}, func(i int, open int64, l *lane) {
		lanes[i].Open, lanes[i].OpenBytes = open, l.openBytes
		if open > 0 && len(l.ages) > 0 {
			lanes[i].older(l.ages[0].at)
		}
	})
	return st, lanes
}

// since is f with the earliest time at which one of the batches met the same.
func since(f *ingest.Failure, live []*Entry) *ingest.Failure {
	if f == nil {
		return nil
	}
	first := f.Since()
	for _, e := range live {
		if o := e.Failure; o != nil && o.Class == f.Class && o.Code == f.Code && o.Since().Before(first) {
			first = o.Since()
		}
	}
	if first.Equal(f.Since()) {
		return f
	}
	whole := *f
	whole.First = first
	return &whole
}

func (l *LaneStats) older(at time.Time) {
	if l.Oldest.IsZero() || at.Before(l.Oldest) {
		l.Oldest = at
	}
}

package store

import (
	"cmp"
	"slices"
	"time"

	"kustospool/ingest"
	"kustospool/internal/vfs"
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

// FreeBytes is the room on the volume of the spool, in bytes; false where the
// system does not tell.
func (s *Store) FreeBytes() (int64, bool) {
	n, err := vfs.FreeBytes(s.dir)
	return n, err == nil
}

// WrittenBytes is how many bytes this process has written to the spool's files.
func (s *Store) WrittenBytes() int64 { return s.opts.written.Load() + s.ledger.Written() }

// WaitingDeadLetters is how many dead letters there are now. The directory is
// listed again only after something in it has changed.
func (s *Store) WaitingDeadLetters() int64 {
	s.dead.mu.Lock()
	defer s.dead.mu.Unlock()
	info, err := s.fs.Stat(s.path(deadName))
	if err == nil && !info.Changed.IsZero() && info.Changed.Equal(s.dead.at) {
		return s.dead.n
	}
	infos, err := s.fs.List(s.path(deadName))
	if err != nil {
		return 0 // none was made yet, or DeadLetters says why not
	}
	s.dead.n, s.dead.at = 0, info.Changed
	for _, info := range infos {
		id, ok := deadID(info.Name)
		if !ok {
			continue
		}
		if _, live := s.Entry(id); live {
			s.dead.at = time.Time{} // it becomes one without a change of the directory
			continue
		}
		if s.Retried(id) {
			continue
		}
		s.dead.n++
	}
	// A change within the same tick of the file system's clock would not show.
	if time.Since(info.Changed) < dirTick {
		s.dead.at = time.Time{}
	}
	return s.dead.n
}

// dirTick is more than the steps in which file systems count the time of a change.
const dirTick = 2 * time.Second

package store

import (
	"maps"
	"slices"
	"time"

	"kustospool/internal/vfs"
	"kustospool/store/internal/ledger"
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

	RawBytes           int64 // Entry.DataBytes of batches that were ingested, skipped or handed over
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

// Stats takes a snapshot. It costs a walk over the lanes in memory.
func (s *Store) Stats() Stats {
	return s.stats(func(*ledger.View, []*ledger.Lane) {}, func(int, int64, *lane) {})
}

// stats is Stats, and tells of each lane as it goes: of all of them with the
// ledger held still, and of each by its place with the log held still. Both must
// be quick.
func (s *Store) stats(books func(*ledger.View, []*ledger.Lane), log func(place int, open int64, l *lane)) Stats {
	var st Stats
	var rows []*ledger.Lane // their values are never changed
	var early []laneEnd
	if s.opts.bugs.tornStats {
		early = s.ends(nil)
		_ = s.ledger.Do(background, func(*ledger.Tx) error { return nil }) // let it go on meanwhile
	}
	s.ledger.Look(func(v *ledger.View) {
		c := v.Counters()
		st = Stats{
			Ingested: c.Ingested, Skipped: c.Skipped, HandedOver: c.HandedOver, DeadLettered: c.DeadLettered, Dropped: c.Dropped,
			BatchesIngested: c.BatchesIngested, BatchesSkipped: c.BatchesSkipped, BatchesHandedOver: c.BatchesHandedOver,
			BatchesSplit: c.BatchesSplit, BatchesDeadLettered: c.BatchesDeadLettered, BatchesDropped: c.BatchesDropped,
			RawBytes: c.RawBytes, WireBytes: c.WireBytes, PossibleDuplicates: c.PossibleDuplicates,
			Damaged: c.Damaged, Suspect: c.Suspect,
		}
		st.BatchesLive, st.Sealed = v.Live()
		v.Lanes(func(l *ledger.Lane) bool { rows = append(rows, l); return true })
		books(v, rows)
	})
	st.MaxBytes, st.DiskBytes = s.opts.MaxBytes, s.diskBytes()
	// The log's ends after the ledger's watermarks: they only grow, so that the law
	// holds for what is seen.
	s.mu.RLock()
	defer s.mu.RUnlock()
	st.Segments = len(s.segments)
	if !slices.ContainsFunc(slices.Collect(maps.Values(s.segments)), func(seg *segment) bool { return !seg.rotated }) {
		st.Segments++ // the active one, which has no record yet
	}
	for i := range rows {
		m := &rows[i].Watermarks
		st.Lanes++
		l := s.lanes.get(rows[i].No)
		if l == nil {
			continue // just made, and without records
		}
		high := l.high
		if i := slices.IndexFunc(early, func(e laneEnd) bool { return e.lane == l.no }); i >= 0 {
			high = early[i].high
		}
		st.Acked += m.Acked(high)
		st.AckedBytes += l.bytes - m.BaseBytes
		open := m.Open(high)
		st.Open += open
		log(i, open, l)
		if len(l.ages) > 0 && (st.OldestOpen.IsZero() || l.ages[0].at.Before(st.OldestOpen)) {
			st.OldestOpen = l.ages[0].at
		}
	}
	return st
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

package store

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	bolt "go.etcd.io/bbolt"

	"kustospool/ingest"
	"kustospool/internal/crashpoint"
)

// Seal makes batches of ranges, in one transaction, and answers with their
// rows in state Sealed. A range begins behind the last one sealed in its lane
// and ends at an acknowledged record at the latest, or it is ErrConflict and
// nothing is sealed. Bytes is taken as given: it becomes the batch's RawBytes,
// and a payload of another size would read as damaged.
//
// After damage to the spool a lane can have numbers that were never given to
// a record. A range across such a gap becomes two batches, so there may be
// more answers than seals.
func (s *Store) Seal(ctx context.Context, seals []Seal) ([]Entry, error) {
	var out []Entry
	err := s.manifest.do(ctx, func(g *group) error {
		entries, err := g.checkSeals(seals, time.Now().UTC())
		if err != nil {
			return err
		}
		crashpoint.Reach("seal")
		out = nil
		for _, e := range entries {
			l := s.lanes.get(e.Batch.Lane)
			m := g.laneMarks(l)
			m.Mark = e.Batch.Last
			g.setMarks(l.no, g.withHigh(l, m))
			g.addEntry(e)
			out = append(out, *e)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// checkSeals turns seals into entries without writing anything.
func (g *group) checkSeals(seals []Seal, now time.Time) ([]*Entry, error) {
	var entries []*Entry
	marks := map[uint32]uint64{}
	for _, seal := range seals {
		l := g.s.lanes.get(seal.Lane)
		if l == nil {
			return nil, fmt.Errorf("%w: no lane %d", ErrNotFound, seal.Lane)
		}
		m := g.laneMarks(l)
		mark, ok := marks[l.no]
		if !ok {
			mark = m.Mark
		}
		if gap, ok := m.gapAt(mark + 1); ok {
			mark = gap.Last
		}
		g.s.mu.RLock()
		high := l.marks.High
		g.s.mu.RUnlock()
		if seal.First != mark+1 || seal.Last < seal.First || seal.Last > high {
			return nil, fmt.Errorf("%w: cannot seal %d..%d of lane %d, sealed to %d of %d", ErrConflict, seal.First, seal.Last, l.no, mark, high)
		}
		if seal.Bytes < 0 || (seal.Guarantee != ingest.ExactlyOnce && seal.Guarantee != ingest.AtLeastOnce) ||
			(seal.Confirm != ingest.ConfirmIngested && seal.Confirm != ingest.ConfirmAccepted) {
			return nil, &ingest.FieldError{Field: "seal", Value: fmt.Sprintf("%+v", seal), Rule: "must have a guarantee, a confirmation and a size"}
		}
		pieces := m.pieces(span{seal.First, seal.Last})
		sizes := []int64{seal.Bytes}
		if len(pieces) > 1 {
			sizes = g.s.cutBytes(l, pieces, seal.Bytes)
		}
		for i, r := range pieces {
			entries = append(entries, newEntry(g.s.id, l, r, sizes[i], seal.Guarantee, seal.Confirm, now))
		}
		marks[l.no] = seal.Last
	}
	return entries, nil
}

func newEntry(spool ingest.SpoolID, l *lane, r span, bytes int64, guarantee ingest.Guarantee, confirm ingest.Confirm, now time.Time) *Entry {
	return &Entry{
		Batch: ingest.Batch{
			ID: ingest.NewBatchID(spool, l.no, r.First, r.Last), Lane: l.no, First: r.First, Last: r.Last,
			Properties: l.props, Guarantee: guarantee, Confirm: confirm, RawBytes: bytes, SealedAt: now,
		},
		State: ingest.Sealed, Updated: now,
	}
}

// withHigh brings the floor of what is acknowledged up to date.
func (g *group) withHigh(l *lane, m laneMarks) laneMarks {
	g.s.mu.RLock()
	defer g.s.mu.RUnlock()
	m.High, m.Bytes = l.marks.High, l.marks.Bytes
	return m
}

// addEntry stages a new live batch.
func (g *group) addEntry(e *Entry) {
	g.entries[e.Batch.ID] = e
	g.put(bktBatches, rowKey(e.Batch.Lane, e.Batch.First), pack(rowOf(e)))
	g.publish(func() {
		l := g.s.lanes.get(e.Batch.Lane)
		if l.marks.Mark < e.Batch.Last {
			l.marks.Mark = e.Batch.Last
			l.ages.sealed(e.Batch.Last)
		}
		g.s.entries[e.Batch.ID] = e
		l.putEntry(e)
	})
}

// Live lists the batches that are in no final state, by lane and first record.
func (s *Store) Live() []Entry {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]Entry, 0, len(s.entries))
	for _, l := range s.lanes.sorted() {
		for _, e := range l.live {
			out = append(out, *e)
		}
	}
	return out
}

// Entry gives the row of a live batch. What it refers to is shared and must
// not be changed.
func (s *Store) Entry(id ingest.BatchID) (Entry, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if e := s.entries[id]; e != nil {
		return *e, true
	}
	return Entry{}, false
}

// Transition changes a batch's row if the batch is live and in state from,
// and else fails with ErrConflict. apply gets a copy; it may leave State as it
// is (an update of the journal) or set one that from.CanBecome allows
// ([TransitionError] if not). It runs on the store's own goroutine: it must be
// quick and must not call the Store. The Batch cannot be changed. The change
// is durable when Transition returns nil.
//
// A final state moves the row to the history, adds to the counters in the
// same transaction, and frees the payload. Split and DeadLettered have calls
// of their own.
func (s *Store) Transition(ctx context.Context, id ingest.BatchID, from ingest.State, apply func(*Entry)) (Entry, error) {
	var out Entry
	err := s.manifest.do(ctx, func(g *group) error {
		old := g.entry(id)
		if err := expect(old, id, from); err != nil {
			return err
		}
		e := *old
		e.Progress = slices.Clone(old.Progress)
		if err := callApply(apply, &e); err != nil {
			return err
		}
		e.Batch = old.Batch
		e.Progress = slices.Clone(e.Progress)
		if e.State != from && (e.State == ingest.Split || e.State == ingest.DeadLettered || !from.CanBecome(e.State)) {
			return &TransitionError{Batch: id, From: from, To: e.State}
		}
		if len(e.Progress) > MaxProgressBytes {
			return &ingest.FieldError{Field: "progress", Value: fmt.Sprintf("of %d bytes", len(e.Progress)), Rule: fmt.Sprintf("must have at most %d bytes", MaxProgressBytes)}
		}
		if e.PossibleDuplicates < old.PossibleDuplicates {
			return &ingest.FieldError{Field: "possible duplicates", Rule: "must not shrink"}
		}
		if y := e.NextAttempt.UTC().Year(); y < 0 || y > 9999 {
			return &ingest.FieldError{Field: "next attempt", Value: fmt.Sprintf("in the year %d", y), Rule: "must be a time before the year 10000"}
		}
		crashpoint.Reach("transition")
		e.Updated = time.Now().UTC()
		g.counters.PossibleDuplicates += e.PossibleDuplicates - old.PossibleDuplicates
		g.replace(&e)
		out = e
		return nil
	})
	if err != nil {
		return Entry{}, err
	}
	return out, nil
}

// callApply keeps a panic of the caller's own function from being taken for
// damaged pages.
func callApply(apply func(*Entry), e *Entry) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the apply function of a transition panicked: %v", r)
		}
	}()
	apply(e)
	return nil
}

func expect(e *Entry, id ingest.BatchID, from ingest.State) error {
	if e == nil {
		return fmt.Errorf("%w: batch %s is not live", ErrConflict, id)
	}
	if e.State != from {
		return fmt.Errorf("%w: batch %s is %s, not %s", ErrConflict, id, e.State, from)
	}
	return nil
}

// replace stages the new row of a live batch, which may be its last.
func (g *group) replace(e *Entry) {
	if e.State.Final() {
		g.settle(e)
		return
	}
	g.entries[e.Batch.ID] = e
	g.put(bktBatches, rowKey(e.Batch.Lane, e.Batch.First), pack(rowOf(e)))
	g.publish(func() {
		g.s.entries[e.Batch.ID] = e
		g.s.lanes.get(e.Batch.Lane).putEntry(e)
	})
}

// settle stages the end of a batch: row to the history, counters, payload.
func (g *group) settle(e *Entry) {
	crashpoint.Reach("settle")
	g.entries[e.Batch.ID] = nil
	key := rowKey(e.Batch.Lane, e.Batch.First)
	g.del(bktBatches, key)
	g.counters.settle(e)
	g.remember(e)
	g.publish(func() {
		delete(g.s.entries, e.Batch.ID)
		g.s.lanes.get(e.Batch.Lane).cutEntry(e.Batch.First)
		g.s.freeLocked(e.Batch.Lane, span{e.Batch.First, e.Batch.Last})
	})
	g.after(g.s.drained)
}

// Split replaces a batch by two or more, in one transaction: cuts are the
// first records of each but the first, ascending. The new batches are Sealed;
// the old one leaves no row, since each of its records is in one of the new.
// The errors are those of Transition.
func (s *Store) Split(ctx context.Context, id ingest.BatchID, from ingest.State, cuts []uint64, why *ingest.Failure) ([]Entry, error) {
	old, ok := s.Entry(id)
	if !ok {
		return nil, expect(nil, id, from)
	}
	ranges, err := cut(span{old.Batch.First, old.Batch.Last}, cuts)
	if err != nil {
		return nil, err
	}
	l := s.lanes.get(old.Batch.Lane)
	sizes := s.cutBytes(l, ranges, old.Batch.RawBytes)
	var out []Entry
	err = s.manifest.do(ctx, func(g *group) error {
		e := g.entry(id)
		if err := expect(e, id, from); err != nil {
			return err
		}
		if !from.CanBecome(ingest.Split) {
			return &TransitionError{Batch: id, From: from, To: ingest.Split}
		}
		crashpoint.Reach("split")
		now := time.Now().UTC()
		g.entries[id] = nil
		g.counters.BatchesSplit++
		g.publish(func() {
			delete(s.entries, id)
			l.cutEntry(e.Batch.First)
		})
		out = nil
		for i, r := range ranges {
			child := newEntry(s.id, l, r, sizes[i], e.Batch.Guarantee, e.Batch.Confirm, now)
			child.Failure = why
			g.addEntry(child)
			out = append(out, *child)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func cut(r span, cuts []uint64) ([]span, error) {
	bad := &ingest.FieldError{Field: "cuts", Value: fmt.Sprint(cuts[:min(len(cuts), 8)]),
		Rule: fmt.Sprintf("must ascend inside of %d..%d", r.First+1, r.Last)}
	if len(cuts) == 0 {
		return nil, bad
	}
	out := make([]span, 0, len(cuts)+1)
	for _, c := range cuts {
		if c <= r.First || c > r.Last {
			return nil, bad
		}
		out = append(out, span{r.First, c - 1})
		r.First = c
	}
	return append(out, r), nil
}

// Find tells the fate of one record: the live batch it is in, or from the
// history the batch it was in, or an Entry of state Open, with nothing but
// lane and properties, while it is in none. ErrNotFound when it was never
// acknowledged, or its history has been pruned.
func (s *Store) Find(lane uint32, seq uint64) (Entry, error) {
	l := s.lanes.get(lane)
	if l == nil {
		return Entry{}, ErrNotFound
	}
	s.mu.RLock()
	m, e := l.marks, l.entryAt(seq)
	s.mu.RUnlock()
	if e != nil {
		return *e, nil
	}
	if _, gap := m.gapAt(seq); gap || seq <= m.Base || seq > m.High {
		return Entry{}, ErrNotFound
	}
	if seq > m.Mark {
		return Entry{Batch: ingest.Batch{Lane: lane, Properties: l.props}, State: ingest.Open}, nil
	}
	return s.findSettled(l, seq)
}

func (s *Store) findSettled(l *lane, seq uint64) (Entry, error) {
	var found *Entry
	err := s.readManifest(func(tx *bolt.Tx) (err error) {
		c := tx.Bucket(bktHistory).Cursor()
		want := rowKey(l.no, seq)
		k, v := c.Seek(want)
		if k == nil || slices.Compare(k, want) > 0 {
			if k == nil {
				k, v = c.Last()
			} else {
				k, v = c.Prev()
			}
		}
		if len(k) != 12 || binary.BigEndian.Uint32(k) != l.no {
			return ErrNotFound
		}
		found, err = decodeRow(s.id, k, v, s.LaneProperties)
		return err
	})
	if err != nil {
		return Entry{}, err
	}
	if found.Batch.Last < seq {
		return Entry{}, ErrNotFound
	}
	return *found, nil
}

// sortEntries orders rows as Live lists them.
func sortEntries(all []*Entry) {
	slices.SortFunc(all, func(a, b *Entry) int {
		return cmp.Or(cmp.Compare(a.Batch.Lane, b.Batch.Lane), cmp.Compare(a.Batch.First, b.Batch.First))
	})
}

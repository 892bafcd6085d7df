package store

import (
	"context"
	"fmt"
	"iter"

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
	if err := s.Err(); err != nil {
		return nil, err
	}
	crashpoint.Reach("seal")
	entries, err := s.ledger.Seal(ctx, seals, s.end, s.cutBytes)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	for i := range entries {
		l := s.lanes.get(entries[i].Batch.Lane)
		l.ages.sealed(entries[i].Batch.Last)
		l.openBytes = max(0, l.openBytes-entries[i].Batch.RawBytes)
	}
	s.mu.Unlock()
	return entries, nil
}

// Live lists the batches that are in no final state, by lane and first record.
func (s *Store) Live() []Entry { return s.ledger.Live() }

// Entry gives the row of a live batch. What it refers to is shared and must
// not be changed.
func (s *Store) Entry(id ingest.BatchID) (Entry, bool) { return s.ledger.Entry(id) }

// Transition changes a batch's row if the batch is live and in state from,
// and else fails with ErrConflict. apply gets a copy; it may leave State as it
// is (an update of the journal) or set one that from.CanBecome allows
// (ErrConflict if not). It runs on the store's own goroutine: it must be
// quick and must not call the Store. The Batch cannot be changed. The change
// is durable when Transition returns nil.
//
// A final state moves the row to the history, adds to the counters in the
// same transaction, and frees the payload. Split and DeadLettered have calls
// of their own.
func (s *Store) Transition(ctx context.Context, id ingest.BatchID, from ingest.State, apply func(*Entry)) (Entry, error) {
	if err := s.Err(); err != nil {
		return Entry{}, err
	}
	if err := s.clearDead(id); err != nil {
		return Entry{}, noRoom(err)
	}
	return s.ledger.Transition(ctx, id, from, apply)
}

// Split replaces a batch by two or more, in one transaction: cuts are the
// first records of each but the first, ascending. The new batches are Sealed;
// the old one leaves no row, since each of its records is in one of the new.
// The errors are those of Transition.
func (s *Store) Split(ctx context.Context, id ingest.BatchID, from ingest.State, cuts []uint64, why *ingest.Failure) ([]Entry, error) {
	if err := s.Err(); err != nil {
		return nil, err
	}
	if err := s.clearDead(id); err != nil {
		return nil, noRoom(err)
	}
	old, ok := s.ledger.Entry(id)
	if !ok {
		return nil, fmt.Errorf("%w: batch %s is not live", ErrConflict, id)
	}
	ranges, err := cut(span{First: old.Batch.First, Last: old.Batch.Last}, cuts)
	if err != nil {
		return nil, err
	}
	sizes := s.cutBytes(old.Batch.Lane, ranges, old.Batch.RawBytes)
	return s.ledger.Split(ctx, id, from, cuts, sizes, why)
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
		out = append(out, span{First: r.First, Last: c - 1})
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
	// The end first: a record that is sealed meanwhile is below it.
	high, _ := s.end(lane)
	row, _ := s.ledger.Lane(lane)
	if e, ok := s.ledger.EntryAt(lane, seq); ok {
		return e, nil
	}
	if _, gap := row.Watermarks.GapAt(seq); gap || seq <= row.Watermarks.Base || seq > high {
		return Entry{}, ErrNotFound
	}
	if seq > row.Watermarks.Sealed {
		return Entry{Batch: ingest.Batch{Lane: lane, Properties: l.props}, State: ingest.Open}, nil
	}
	return s.ledger.FindHistory(lane, seq)
}

// Settled walks the rows of settled batches, oldest first. It reads a bounded
// number of rows at a time, so it shows neither a moment nor a lock. A row that
// cannot be read is an error of its own and does not end the walk.
func (s *Store) Settled() iter.Seq2[Entry, error] { return s.ledger.History() }

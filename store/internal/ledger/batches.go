package ledger

import (
	"context"
	"fmt"
	"slices"
	"time"

	"kustospool/ingest"
	"kustospool/internal/crashpoint"
)

// Ends says where the acknowledged records of a lane end, and how many payload
// bytes there are up to there. It is asked on the writer's goroutine.
type Ends func(lane uint32) (high uint64, bytes int64)

// Cut divides the payload bytes of a range of a lane among its pieces: one
// number for each. It is asked on the writer's goroutine.
type Cut func(lane uint32, pieces []Span, bytes int64) []int64

// Seal makes batches of ranges, in one transaction, and answers with their
// rows in state Sealed. A range begins behind the last one sealed in its lane
// and ends at an acknowledged record at the latest, or it is ErrConflict and
// nothing is sealed. Bytes is taken as given: it becomes the batch's RawBytes.
//
// A range across a gap of its lane becomes a batch for each piece, so there
// may be more answers than seals; cut says how many bytes each has.
func (l *Ledger) Seal(ctx context.Context, seals []Seal, ends Ends, cut Cut) ([]Entry, error) {
	var out []Entry
	err := l.Do(ctx, func(tx *Tx) (err error) {
		out, err = tx.Seal(seals, ends, cut)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Seal is [Ledger.Seal] as a part of a transaction.
func (tx *Tx) Seal(seals []Seal, ends Ends, cut Cut) ([]Entry, error) {
	now := tx.l.now()
	var entries []*Entry
	marks := map[uint32]Watermarks{}
	for _, seal := range seals {
		l := tx.lanes.get(seal.Lane)
		if l == nil {
			return nil, noLane(seal.Lane)
		}
		m, ok := marks[l.No]
		if !ok {
			m = l.Watermarks
			m.raise(ends(l.No))
		}
		mark := m.Sealed
		if gap, ok := m.GapAt(mark + 1); ok {
			mark = gap.Last
		}
		if seal.First != mark+1 || seal.Last < seal.First || seal.Last > m.High {
			return nil, fmt.Errorf("%w: cannot seal %d..%d of lane %d, sealed to %d of %d", ErrConflict, seal.First, seal.Last, l.No, mark, m.High)
		}
		if seal.Bytes < 0 || !validTerms(seal.Guarantee, seal.Confirm) {
			return nil, &ingest.FieldError{Field: "seal", Value: fmt.Sprintf("%+v", seal), Rule: "must have a guarantee, a confirmation and a size"}
		}
		pieces := m.Pieces(Span{seal.First, seal.Last})
		sizes := []int64{seal.Bytes}
		if len(pieces) > 1 {
			sizes = cut(l.No, pieces, seal.Bytes)
		}
		if len(sizes) != len(pieces) || slices.Min(sizes) < 0 {
			return nil, &ingest.FieldError{Field: "cut", Value: fmt.Sprint(len(sizes)), Rule: fmt.Sprintf("must give a size for each of %d pieces, not negative", len(pieces))}
		}
		for i, r := range pieces {
			e := tx.newEntry(l, r, sizes[i], seal.Guarantee, seal.Confirm, now)
			if seal.Oldest.Unix() > 0 {
				e.Batch.Oldest = seal.Oldest.Round(0).UTC()
			}
			entries = append(entries, e)
		}
		m.Sealed = seal.Last
		marks[l.No] = m
	}
	crashpoint.Reach("seal")
	for no, m := range marks {
		tx.setWatermarks(no, m)
	}
	out := make([]Entry, 0, len(entries))
	for _, e := range entries {
		tx.putEntry(e)
		out = append(out, *e)
	}
	return out, nil
}

func (tx *Tx) newEntry(l *Lane, r Span, bytes int64, guarantee ingest.Guarantee, confirm ingest.Confirm, now time.Time) *Entry {
	return &Entry{
		Batch: ingest.Batch{
			ID: ingest.NewBatchID(tx.l.mirror.spool, l.No, r.First, r.Last), Lane: l.No, First: r.First, Last: r.Last,
			Properties: l.Properties, Guarantee: guarantee, Confirm: confirm, RawBytes: bytes, SealedAt: now,
		},
		State: ingest.Sealed, Updated: now,
	}
}

// putEntry stages the row of a live batch.
func (tx *Tx) putEntry(e *Entry) {
	tx.entries.over[e.Batch.ID] = e
	tx.put(bktBatches, rowKey(e.Batch.Lane, e.Batch.First), encodeBatch(e))
}

// Transition changes a batch's row if the batch is live and in state from,
// and else fails with ErrConflict. apply gets a copy; it may leave State as it
// is (an update of the journal) or set one that from.CanBecome allows
// ([TransitionError] if not). It runs on the writer's goroutine, perhaps more
// than once: it must be quick and must not call the ledger. The Batch cannot
// be changed. The change is durable when Transition returns nil.
//
// A final state moves the row to the history and adds to the counters in the
// same transaction. Split and DeadLettered have calls of their own.
func (l *Ledger) Transition(ctx context.Context, id ingest.BatchID, from ingest.State, apply func(*Entry)) (Entry, error) {
	return l.one(ctx, func(tx *Tx) (*Entry, error) {
		old := tx.entries.get(id)
		if err := expect(old, id, from); err != nil {
			return nil, err
		}
		e := *old
		e.Progress = slices.Clone(old.Progress)
		if err := callApply(apply, &e); err != nil {
			return nil, err
		}
		e.Batch = old.Batch
		e.Progress = append([]byte(nil), e.Progress...) // none is nil, as the next run reads it
		if err := checkMove(&e, old); err != nil {
			return nil, err
		}
		crashpoint.Reach("transition")
		e.Updated = tx.l.now()
		tx.state.counters.PossibleDuplicates += e.PossibleDuplicates - old.PossibleDuplicates
		if e.State.Final() {
			tx.settle(&e)
		} else {
			tx.putEntry(&e)
		}
		return &e, nil
	})
}

// checkMove finds what an apply function may not have done.
func checkMove(e, old *Entry) error {
	if e.State != old.State && (e.State == ingest.Split || e.State == ingest.DeadLettered || !old.State.CanBecome(e.State)) {
		return &TransitionError{Batch: e.Batch.ID, From: old.State, To: e.State}
	}
	if len(e.Progress) > MaxProgressBytes {
		return &ingest.FieldError{Field: "progress", Value: fmt.Sprintf("of %d bytes", len(e.Progress)), Rule: fmt.Sprintf("must have at most %d bytes", MaxProgressBytes)}
	}
	if e.PossibleDuplicates < old.PossibleDuplicates {
		return &ingest.FieldError{Field: "possible duplicates", Value: fmt.Sprint(e.PossibleDuplicates), Rule: "must not shrink"}
	}
	if e.WireBytes < 0 || e.BlobBytes < 0 || e.BlobBytes > maxBytes || e.Attempts < 0 || e.Unresolved < 0 || int64(e.Attempts) >= 1<<31 || int64(e.Unresolved) >= 1<<31 {
		return &ingest.FieldError{Field: "attempts, unresolved, wire bytes, blob bytes", Value: fmt.Sprint(e.Attempts, e.Unresolved, e.WireBytes, e.BlobBytes), Rule: "must not be negative, nor beyond 2^31 attempts"}
	}
	if y := e.NextAttempt.UTC().Year(); y < 0 || y > 9999 {
		return &ingest.FieldError{Field: "next attempt", Value: fmt.Sprintf("in the year %d", y), Rule: "must be a time before the year 10000"}
	}
	return nil
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

// one is Do for a change with one row for an answer.
func (l *Ledger) one(ctx context.Context, fn func(*Tx) (*Entry, error)) (Entry, error) {
	var out Entry
	err := l.Do(ctx, func(tx *Tx) error {
		e, err := fn(tx)
		if err == nil {
			out = *e
		}
		return err
	})
	if err != nil {
		return Entry{}, err
	}
	return out, nil
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

// Check is the error that a move of a batch would be refused with now, before
// the work that goes before it is done.
func (l *Ledger) Check(id ingest.BatchID, from, to ingest.State) error {
	l.mu.RLock()
	e := l.mirror.entries[id]
	l.mu.RUnlock()
	if err := expect(e, id, from); err != nil {
		return err
	}
	if !from.CanBecome(to) {
		return &TransitionError{Batch: id, From: from, To: to}
	}
	return nil
}

// settle stages the end of a batch: its row leaves for the history, and the
// counters move.
func (tx *Tx) settle(e *Entry) {
	crashpoint.Reach("settle")
	tx.entries.over[e.Batch.ID] = nil
	tx.del(bktBatches, rowKey(e.Batch.Lane, e.Batch.First))
	tx.state.counters.settle(e)
	tx.remember(e)
	tx.settled = append(tx.settled, *e)
}

// settle counts a batch that reached a final state.
func (c *Counters) settle(e *Entry) {
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
		c.RawBytes += e.DataBytes()
		c.WireBytes += e.WireBytes
	}
}

// DeadLetter makes a batch a dead letter, whose files stand already. why, if
// it is not nil, becomes its failure; at is when the files were written;
// damaged adds to Counters.Damaged. Errors: those of Transition.
func (l *Ledger) DeadLetter(ctx context.Context, id ingest.BatchID, from ingest.State, why *ingest.Failure, at time.Time, damaged int64) (Entry, error) {
	return l.one(ctx, func(tx *Tx) (*Entry, error) {
		old := tx.entries.get(id)
		if err := expect(old, id, from); err != nil {
			return nil, err
		}
		if !from.CanBecome(ingest.DeadLettered) {
			return nil, &TransitionError{Batch: id, From: from, To: ingest.DeadLettered}
		}
		e := *old
		e.State, e.Updated = ingest.DeadLettered, at.UTC()
		if why != nil {
			e.Failure = why
		}
		tx.Count(damaged, 0, 0)
		tx.settle(&e)
		return &e, nil
	})
}

// Split replaces a batch by two or more, in one transaction: cuts are the
// first records of each but the first, ascending, and sizes the payload bytes
// of each. The new batches are Sealed; the old one leaves no row, since each
// of its records is in one of the new. Errors: those of Transition, and one
// that matches [ingest.ErrInvalid] for bad cuts or sizes.
func (l *Ledger) Split(ctx context.Context, id ingest.BatchID, from ingest.State, cuts []uint64, sizes []int64, why *ingest.Failure) ([]Entry, error) {
	var out []Entry
	err := l.Do(ctx, func(tx *Tx) error {
		old := tx.entries.get(id)
		if err := expect(old, id, from); err != nil {
			return err
		}
		if !from.CanBecome(ingest.Split) {
			return &TransitionError{Batch: id, From: from, To: ingest.Split}
		}
		ranges, err := cutSpan(Span{old.Batch.First, old.Batch.Last}, cuts)
		if err != nil {
			return err
		}
		if len(sizes) != len(ranges) || slices.Min(sizes) < 0 {
			return &ingest.FieldError{Field: "sizes", Value: fmt.Sprintf("%d of them", len(sizes)), Rule: "must be one for each part, not negative"}
		}
		crashpoint.Reach("split")
		lane, now := tx.lanes.get(old.Batch.Lane), tx.l.now()
		tx.entries.over[id] = nil
		tx.state.counters.BatchesSplit++
		out = nil
		for i, r := range ranges {
			e := tx.newEntry(lane, r, sizes[i], old.Batch.Guarantee, old.Batch.Confirm, now)
			e.Failure, e.Batch.Oldest = why, old.Batch.Oldest
			tx.putEntry(e) // the first one in place of the old one's row
			out = append(out, *e)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// cutSpan divides a span at the cuts, which are the first numbers of all parts
// but the first.
func cutSpan(r Span, cuts []uint64) ([]Span, error) {
	bad := &ingest.FieldError{Field: "cuts", Value: fmt.Sprint(cuts[:min(len(cuts), 8)]),
		Rule: fmt.Sprintf("must ascend inside of %d..%d", r.First+1, r.Last)}
	if len(cuts) == 0 {
		return nil, bad
	}
	out := make([]Span, 0, len(cuts)+1)
	for _, c := range cuts {
		if c <= r.First || c > r.Last {
			return nil, bad
		}
		out = append(out, Span{r.First, c - 1})
		r.First = c
	}
	return append(out, r), nil
}

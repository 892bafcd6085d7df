package engine

import (
	"context"
	"fmt"

	"kustospool/ingest"
)

// StatusAll is [Spool.Status] of all records of a receipt. It costs one look
// for each batch they are in. [ErrNotFound] when some of them are not known
// any more.
func (s *Spool) StatusAll(ctx context.Context, r ingest.Receipt) (ingest.Tally, error) {
	r.Records = max(r.Records, 1)
	t := ingest.Tally{Receipt: r, States: map[ingest.State]int64{}}
	if r.ID.Spool() != s.store.ID() {
		return t, fmt.Errorf("%w: %s was issued by another spool", ErrNotFound, r.ID)
	}
	last := r.ID.Seq() + uint64(r.Records) - 1
	for seq := r.ID.Seq(); seq <= last; {
		if err := ctx.Err(); err != nil {
			return t, err
		}
		e, err := s.store.Find(r.ID.Lane(), seq)
		if err != nil {
			return t, err
		}
		e = s.batches.shown(e)
		end := last
		if e.State != ingest.Open { // all behind the first open one are open
			end = min(end, e.Batch.Last)
		}
		t.States[e.State] += int64(end - seq + 1)
		if e.Failure != nil && (t.Failure == nil || e.Failure.At.After(t.Failure.At)) {
			t.Failure = e.Failure
		}
		seq = end + 1
	}
	return t, nil
}

// WaitAll returns when the state of every record of the receipt is final. Its
// errors are those of Wait.
func (s *Spool) WaitAll(ctx context.Context, r ingest.Receipt) (ingest.Tally, error) {
	if t, err := s.StatusAll(ctx, r); err != nil {
		return t, err // before anything is kept for its lane
	}
	for {
		changed := s.changes.of(r.ID.Lane())
		t, err := s.StatusAll(ctx, r)
		if err != nil || t.Final() {
			return t, err
		}
		select {
		case <-changed:
		case <-s.store.Failed():
			return t, s.store.Err()
		case <-s.changes.closed():
			return t, ErrClosed
		case <-ctx.Done():
			return t, ctx.Err()
		}
	}
}

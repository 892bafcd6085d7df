package engine

import (
	"context"
	"fmt"

	"kustospool/ingest"
)

// Status tells what became of a record, in this process or in any that opened
// the spool before. It does not use the network. A failed ingestion is a
// Status; the error is [ErrNotFound] for an ID of another spool, of a record
// never acknowledged, or of one settled longer ago than StatusRetention.
func (s *Spool) Status(ctx context.Context, id ingest.ID) (ingest.Status, error) {
	if err := ctx.Err(); err != nil {
		return ingest.Status{}, err
	}
	if id.Spool() != s.store.ID() {
		return ingest.Status{}, fmt.Errorf("%w: %s was issued by another spool", ErrNotFound, id)
	}
	e, err := s.store.Find(id.Lane(), id.Seq())
	if err != nil {
		return ingest.Status{}, err
	}
	e = s.batches.shown(e)
	return ingest.Status{ID: id, State: e.State, Batch: e.Batch.ID, Attempts: e.Attempts, Updated: e.Updated, Failure: e.Failure}, nil
}

// Wait returns when the record's state is final. The error is ctx's, Status's,
// or [ErrClosed]: it means that the answer could not be learned, not that the
// ingestion failed; for that see [ingest.Status.Err].
func (s *Spool) Wait(ctx context.Context, id ingest.ID) (ingest.Status, error) {
	if _, err := s.Status(ctx, id); err != nil {
		return ingest.Status{}, err // before anything is kept for its lane
	}
	for {
		changed := s.changes.of(id.Lane())
		st, err := s.Status(ctx, id)
		if err != nil || st.State.Final() {
			return st, err
		}
		select {
		case <-changed:
		case <-s.store.Failed():
			return st, s.store.Err()
		case <-s.changes.closed():
			return st, ErrClosed
		case <-ctx.Done():
			return st, ctx.Err()
		}
	}
}

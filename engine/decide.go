package engine

import (
	"context"
	"fmt"
	"log/slog"

	"kustospool/engine/internal/lifecycle"
	"kustospool/ingest"
	"kustospool/store"
)

// ledger is what of the store changes batches.
type ledger interface {
	Entry(ingest.BatchID) (store.Entry, bool)
	Seal(context.Context, []store.Seal) ([]store.Entry, error)
	Transition(ctx context.Context, id ingest.BatchID, from ingest.State, apply func(*store.Entry)) (store.Entry, error)
	Split(ctx context.Context, id ingest.BatchID, from ingest.State, cuts []uint64, why *ingest.Failure) ([]store.Entry, error)
	DeadLetter(ctx context.Context, id ingest.BatchID, from ingest.State, why *ingest.Failure) (store.Entry, error)
}

// batches changes batches, and nothing else in the engine does: it asks
// [lifecycle.Decide] what an event means, and has the ledger keep the answer
// by compare-and-set. What is to be done then it leaves to its caller, but for
// what is done in the ledger itself, and for telling those who wait.
type batches struct {
	ledger ledger
	tell   func(lane uint32)
	log    *slog.Logger
}

// change is what became of a batch.
type change struct {
	entry store.Entry // the row now
	// queue is what waits for its turn: the batch or, of one that was split, its
	// parts.
	queue []store.Entry
	do    lifecycle.Effect
}

// settled reports whether the destination is done with the batch.
func (c *change) settled() bool { return c.entry.State.Final() && c.entry.State != ingest.Split }

// happened delivers an event. The change is durable when it returns nil. Its
// errors are the ledger's, [store.ErrConflict] for a batch that is not live
// among them, and [lifecycle.ErrNoRule].
func (b *batches) happened(ctx context.Context, id ingest.BatchID, ev lifecycle.Event) (change, error) {
	e, live := b.ledger.Entry(id)
	if !live {
		return change{}, fmt.Errorf("%w: batch %s is not live", store.ErrConflict, id)
	}
	var c change
	for {
		next, do, err := lifecycle.Decide(e, ev)
		if err != nil {
			return change{}, err
		}
		c.entry, c.do = next, do
		switch {
		case !do.Has(lifecycle.Save):
		case next.State == ingest.Split:
			c.queue, err = b.split(ctx, &e, &next, do, ev)
		case do.Has(lifecycle.SetAside):
			c.entry, err = b.ledger.DeadLetter(ctx, id, e.State, next.Failure)
		default:
			c.entry, err = b.save(ctx, &e, next.State, ev)
		}
		if err != nil {
			return change{}, err
		}
		if !do.Has(lifecycle.Repeat) {
			break
		}
		e = c.entry
	}
	if c.do.Has(lifecycle.Queue) && c.queue == nil {
		c.queue = []store.Entry{c.entry}
	}
	b.note(&c, ev.Failure)
	return c, nil
}

// save writes the row as the table has it. It decides again, from the row that
// the ledger has by then.
func (b *batches) save(ctx context.Context, e *store.Entry, to ingest.State, ev lifecycle.Event) (store.Entry, error) {
	changed := false
	saved, err := b.ledger.Transition(ctx, e.Batch.ID, e.State, func(row *store.Entry) {
		next, _, err := lifecycle.Decide(*row, ev)
		if changed = err == nil && next.State == to; changed {
			*row = next
		}
	})
	if err == nil && !changed {
		err = fmt.Errorf("%w: batch %s changed meanwhile", store.ErrConflict, e.Batch.ID)
	}
	return saved, err
}

// split replaces a batch by its parts. The rows that an earlier attempt may
// have left are counted first: the parts do not have its tag.
func (b *batches) split(ctx context.Context, e, next *store.Entry, do lifecycle.Effect, ev lifecycle.Event) ([]store.Entry, error) {
	if next.PossibleDuplicates > e.PossibleDuplicates {
		if _, err := b.ledger.Transition(ctx, e.Batch.ID, e.State, func(row *store.Entry) {
			row.PossibleDuplicates = max(row.PossibleDuplicates, next.PossibleDuplicates)
		}); err != nil {
			return nil, err
		}
	}
	cuts := ev.Cuts
	if do.Has(lifecycle.Halve) {
		cuts = []uint64{e.Batch.First + uint64(e.Batch.Records()/2)}
	}
	return b.ledger.Split(ctx, e.Batch.ID, e.State, cuts, ev.Failure)
}

// note tells of a change.
func (b *batches) note(c *change, why *ingest.Failure) {
	batch := &c.entry.Batch
	switch c.entry.State {
	case ingest.Split:
		b.log.Info("split a batch", "batch", batch.ID, "parts", len(c.queue), "reason", why)
	case ingest.DeadLettered:
		b.log.Warn("dead-lettered a batch", "batch", batch.ID, "table", batch.Properties.Table, "records", batch.Records(), "reason", why)
	case ingest.Dropped:
		b.log.Warn("dropped the oldest batch to make room", "batch", batch.ID, "table", batch.Properties.Table, "records", batch.Records())
	}
	if c.do.Has(lifecycle.Tell) {
		b.tell(batch.Lane)
	}
}

// seal makes batches of ranges of lanes. All of them are to be queued.
func (b *batches) seal(ctx context.Context, seals []store.Seal) ([]store.Entry, error) {
	if _, _, err := lifecycle.Decide(store.Entry{State: ingest.Open}, lifecycle.Event{Kind: lifecycle.Filled}); err != nil {
		return nil, err
	}
	return b.ledger.Seal(ctx, seals)
}

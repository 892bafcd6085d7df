package engine

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"

	"kustospool/engine/internal/lifecycle"
	"kustospool/engine/internal/lock"
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
// by compare-and-set. What is to be queued then it leaves to its caller, who
// knows how the attempt went; the rest it does, or has done.
type batches struct {
	ledger  ledger
	tracker outcomes
	tell    func(lane uint32)
	events  *events
	log     *slog.Logger

	delivered atomic.Bool // in this process; the first one has a line

	mu    lock.Mutex // guards begun
	begun map[ingest.BatchID]store.Entry
}

// outcomes is whose outcomes are asked for.
type outcomes interface {
	Await(store.Entry)
	Forget(ingest.BatchID)
}

func newBatches(l ledger, o outcomes, tell func(lane uint32), events *events, log *slog.Logger) *batches {
	return &batches{ledger: l, tracker: o, tell: tell, events: events, log: log, mu: lock.Mutex{Name: "begun"}, begun: make(map[ingest.BatchID]store.Entry)}
}

// lost is told of a batch whose outcome was awaited and that is not live any
// more.
func (b *batches) lost(id ingest.BatchID) { b.tracker.Forget(id) }

// row is a live batch's row.
func (b *batches) row(id ingest.BatchID) (store.Entry, bool) { return b.ledger.Entry(id) }

// shown is a row as it is told to callers: an attempt may have begun of which
// the ledger does not know yet.
func (b *batches) shown(row store.Entry) store.Entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	if begun, ok := b.begun[row.Batch.ID]; ok && row.State == ingest.Sealed {
		return begun
	}
	return row
}

// begins notes an attempt that the ledger does not know, and ended that it does
// or that there is none any more.
func (b *batches) begins(row store.Entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.begun[row.Batch.ID] = row
}

func (b *batches) ended(id ingest.BatchID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.begun, id)
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

// happened delivers an event. The change is durable when it returns nil, but
// for one that is to be saved later ([lifecycle.Later]). Its errors are the
// ledger's, [store.ErrConflict] for a batch that is not live among them, and
// [lifecycle.ErrNoRule].
func (b *batches) happened(ctx context.Context, id ingest.BatchID, ev lifecycle.Event) (change, error) {
	return b.followed(ctx, id, nil, ev)
}

// followed is happened of an event that follows one that was to be saved later:
// one write keeps both. before may be nil.
func (b *batches) followed(ctx context.Context, id ingest.BatchID, before *lifecycle.Event, ev lifecycle.Event) (change, error) {
	old, live := b.ledger.Entry(id)
	if !live {
		return change{}, fmt.Errorf("%w: batch %s is not live", store.ErrConflict, id)
	}
	events := make([]lifecycle.Event, 0, 2)
	if before != nil {
		events = append(events, *before)
	}
	events = append(events, ev)
	for {
		now, c, err := decide(old, events)
		if err != nil {
			return change{}, err
		}
		switch {
		case c.do.Has(lifecycle.Later):
			b.begins(c.entry)
		case !c.do.Has(lifecycle.Save) && len(events) == 1:
		case len(events) > 1 && !together(old.State, c.entry.State):
			if old, err = b.save(ctx, &old, now.State, events[:1]); err != nil {
				return change{}, err
			}
			events = events[1:]
			continue
		case c.entry.State == ingest.Split:
			c.queue, err = b.split(ctx, &old, &c, ev)
		case c.do.Has(lifecycle.SetAside):
			c.entry, err = b.ledger.DeadLetter(ctx, id, old.State, c.entry.Failure)
		default:
			c.entry, err = b.save(ctx, &old, c.entry.State, events)
		}
		if err != nil {
			return change{}, err
		}
		if before != nil {
			b.ended(id)
		}
		if c.do.Has(lifecycle.Repeat) {
			old, events = c.entry, []lifecycle.Event{ev}
			continue
		}
		if c.do.Has(lifecycle.Queue) && c.queue == nil {
			c.queue = []store.Entry{c.entry}
		}
		b.carryOut(&c)
		return c, nil
	}
}

// decide gives the row after the first event, and what all of them make of it.
func decide(row store.Entry, events []lifecycle.Event) (first store.Entry, c change, err error) {
	c.entry = row
	for i, ev := range events {
		if c.entry, c.do, err = lifecycle.Decide(c.entry, ev); err != nil {
			return row, change{}, err
		}
		if i == 0 {
			first = c.entry
		}
	}
	return first, c, nil
}

// together reports whether one write of the ledger takes a batch from one state
// to the other. Its parts, and its dead letter, are made from the row that stands.
func together(from, to ingest.State) bool {
	return from == to || to != ingest.Split && to != ingest.DeadLettered && from.CanBecome(to)
}

// save writes the row as the table has it. It decides again, from the row that
// the ledger has by then.
func (b *batches) save(ctx context.Context, old *store.Entry, to ingest.State, events []lifecycle.Event) (store.Entry, error) {
	changed := false
	saved, err := b.ledger.Transition(ctx, old.Batch.ID, old.State, func(row *store.Entry) {
		_, c, err := decide(*row, events)
		if changed = err == nil && c.entry.State == to; changed {
			*row = c.entry
		}
	})
	if err == nil && !changed {
		err = fmt.Errorf("%w: batch %s changed meanwhile", store.ErrConflict, old.Batch.ID)
	}
	return saved, err
}

// split replaces a batch by its parts. The rows that an earlier attempt may
// have left are counted first: the parts do not have its tag.
func (b *batches) split(ctx context.Context, e *store.Entry, c *change, ev lifecycle.Event) ([]store.Entry, error) {
	if doubled := c.entry.PossibleDuplicates; doubled > e.PossibleDuplicates {
		if _, err := b.ledger.Transition(ctx, e.Batch.ID, e.State, func(row *store.Entry) {
			row.PossibleDuplicates = max(row.PossibleDuplicates, doubled)
		}); err != nil {
			return nil, err
		}
	}
	cuts := ev.Cuts
	if c.do.Has(lifecycle.Halve) {
		cuts = []uint64{e.Batch.First + uint64(e.Batch.Records()/2)}
	}
	return b.ledger.Split(ctx, e.Batch.ID, e.State, cuts, c.entry.Failure)
}

// carryOut does what follows from a change, and tells of it.
func (b *batches) carryOut(c *change) {
	batch := &c.entry.Batch
	if c.do.Has(lifecycle.Await) {
		b.tracker.Await(c.entry)
	}
	if c.do.Has(lifecycle.Forget) {
		b.tracker.Forget(batch.ID)
	}
	switch c.entry.State {
	case ingest.Split:
		b.events.split(&c.entry, c.queue)
		b.log.Info("split a batch", about(&c.entry, append(because(c.entry.Failure), "parts", len(c.queue))...)...)
	case ingest.DeadLettered:
		b.log.Warn("dead-lettered a batch", about(&c.entry, append(because(c.entry.Failure), "records", batch.Records())...)...)
	case ingest.Dropped:
		b.log.Warn("dropped the oldest batch to make room", about(&c.entry, "records", batch.Records())...)
	case ingest.Succeeded, ingest.Skipped, ingest.HandedOver:
		if b.delivered.CompareAndSwap(false, true) {
			b.log.Info("delivered the first batch", about(&c.entry, "records", batch.Records(), "state", c.entry.State)...)
		}
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
	rows, err := b.ledger.Seal(ctx, seals)
	if err == nil {
		b.events.sealed(rows)
	}
	return rows, err
}

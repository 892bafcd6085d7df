package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"kustospool/engine/internal/lifecycle"
	"kustospool/engine/internal/live"
	"kustospool/engine/internal/retry"
	"kustospool/ingest"
	"kustospool/store"
	"kustospool/transport"
)

// attempts makes the attempts that the dispatcher begins.
type attempts struct {
	batches   *batches
	events    *events
	transport sender
	payloads  payloads
	refuser   interface {
		refuse(context.Context, store.Entry) error
	}
	tell               func(lane uint32)
	log                *slog.Logger
	ledgerTrouble      *trouble
	timeout            time.Duration
	retryMin, retryMax time.Duration
	grace              func(attempts int) time.Duration
}

// sender is the transport, as package plug makes it safe.
type sender interface {
	Send(context.Context, *transport.Delivery) (transport.Ack, error)
	Tracks() bool
	ProgressLimit() int
}

// payloads gives the bytes of batches.
type payloads interface {
	Payload(*ingest.Batch) *store.Payload
}

// attempt makes one attempt at one batch: its intents are made durable, the
// transport sends, the result is made durable. The ledger is written outside
// of ctx, which ends when the spool closes: an attempt that was cut off must
// still be on record.
func (a *attempts) attempt(ctx context.Context, id ingest.BatchID, lane uint32) live.Result {
	r, err := a.try(ctx, id)
	if err != nil {
		r = a.withoutLedger(ctx, id, lane, err)
	}
	return r
}

// withoutLedger is what is left to do when the ledger could not be written: a
// full volume may have room again, and the batch is then taken up as after a
// crash. It holds the attempt's place meanwhile, so that nothing is sent whose
// outcome could not be recorded.
func (a *attempts) withoutLedger(ctx context.Context, id ingest.BatchID, lane uint32, err error) live.Result {
	r := live.Result{Err: &transport.Error{Op: "ledger", Class: transport.Transient, Message: err.Error(), Err: err}}
	for failures := 1; ; failures++ {
		if errors.Is(err, store.ErrClosed) || errors.Is(err, store.ErrFailed) {
			return r // the store said so itself; the next Open goes on
		}
		a.ledgerTrouble.begin("batch", id, "err", err)
		select {
		case <-time.After(retry.Delay(failures, a.retryMin, a.retryMax)):
		case <-ctx.Done():
			return r
		}
		e, there := a.batches.row(id)
		if !there {
			a.tell(lane)
			return live.Result{Settled: true}
		}
		if r.Again, err = a.found(ctx, &e); err == nil {
			a.ledgerTrouble.end()
			return r
		}
	}
}

// found takes up a live batch that nobody is at work on, after a crash, a stop,
// or a ledger that could not be written for a while. It returns what is to be
// queued.
func (a *attempts) found(ctx context.Context, e *store.Entry) ([]store.Entry, error) {
	c, err := a.batches.happened(context.WithoutCancel(ctx), e.Batch.ID, lifecycle.Event{Kind: lifecycle.Found, At: time.Now().Add(a.grace(e.Attempts))})
	return c.queue, err
}

func (a *attempts) try(ctx context.Context, id ingest.BatchID) (live.Result, error) {
	durable := context.WithoutCancel(ctx)
	defer a.batches.ended(id)
	due := lifecycle.Event{Kind: lifecycle.Due}
	c, err := a.batches.happened(durable, id, due)
	if err != nil {
		return live.Result{}, err
	}
	if c.do.Has(lifecycle.Refuse) {
		return live.Result{Settled: true}, a.refuser.refuse(durable, c.entry)
	}
	row, began := c.entry, time.Now()
	a.events.begins(&row)
	j := &journal{batches: a.batches, batch: id, limit: a.transport.ProgressLimit(), due: &due}
	sendCtx, moved, cancel := attemptContext(ctx, a.timeout)
	payload := a.payloads.Payload(&c.entry.Batch)
	var ack transport.Ack
	sendErr := allDamaged(payload)
	if sendErr == nil {
		ack, sendErr = a.transport.Send(sendCtx, &transport.Delivery{
			Batch:    &c.entry.Batch,
			Attempt:  c.entry.Attempts,
			Progress: c.entry.Progress,
			Payload:  payload,
			Journal:  j,
			Moved:    moved,
		})
	}
	cancel()
	var ev lifecycle.Event
	var terr *transport.Error
	if sendErr == nil {
		ev, terr = a.acknowledged(&c.entry, ack)
	} else {
		terr = timedOut(sendCtx, transport.Classify(sendErr, j.committed))
		ev = a.failed(ctx, &c.entry, sendErr, terr)
	}
	if c, err = a.batches.followed(durable, id, j.due, ev); err != nil {
		a.events.ended(began, &row, &ev, nil)
		return live.Result{}, err
	}
	a.events.ended(began, &row, &ev, &c.entry)
	a.log.Debug("attempt ended", about(&row, append(because(ev.Failure), "outcome", outcomeOf(&ev), "state", c.entry.State, "took", time.Since(began))...)...)
	if ev.Kind == lifecycle.CutOff || ev.Kind == lifecycle.Damaged && c.entry.State != ingest.Unknown {
		terr = nil // neither the destination's fault nor the lane's
	}
	return live.Result{Again: c.queue, Err: terr, Settled: c.settled()}, nil
}

// allDamaged is the error of a batch of which nothing can be read. Its size is 0,
// so that a transport would refuse it as empty and never meet the damage.
func allDamaged(p *store.Payload) error {
	if p.Size() > 0 {
		return nil
	}
	in := p.Open()
	defer in.Close()
	_, err := io.Copy(io.Discard, in)
	return err
}

// acknowledged is the event of an answer without an error.
func (a *attempts) acknowledged(e *store.Entry, ack transport.Ack) (lifecycle.Event, *transport.Error) {
	ev := lifecycle.Event{Wire: ack.WireBytes, Blob: ack.BlobBytes, Tracked: a.transport.Tracks()}
	switch ack.State {
	case ingest.Accepted:
		ev.Kind = lifecycle.AnsweredAccepted
	case ingest.HandedOver:
		ev.Kind = lifecycle.AnsweredHandedOver
	case ingest.Succeeded:
		ev.Kind = lifecycle.AnsweredSucceeded
	case ingest.Skipped:
		ev.Kind = lifecycle.AnsweredSkipped
	default:
		terr := &transport.Error{Op: "send", Class: transport.Unknown, Message: fmt.Sprintf("the transport answered with the state %s", ack.State)}
		return a.failed(context.Background(), e, terr, terr), terr
	}
	return ev, nil
}

// failed is the event of an answer that is an error. ctx is that of the
// attempts, which ends when the spool closes.
func (a *attempts) failed(ctx context.Context, e *store.Entry, err error, terr *transport.Error) lifecycle.Event {
	now := time.Now()
	ev := lifecycle.Event{Failure: terr.Failure(now)}
	if damage, ok := errors.AsType[*store.CorruptionError](err); ok {
		ev.Kind, ev.Cuts = lifecycle.Damaged, around(damage, &e.Batch)
		ev.At = now.Add(a.grace(e.Attempts))
		ev.Failure = &ingest.Failure{Class: "damaged", Code: "damaged", Message: damage.Error(), At: now}
		return ev
	}
	switch {
	case terr.Class == transport.Unknown:
		ev.Kind, ev.At = lifecycle.AnsweredNothing, now.Add(a.grace(e.Attempts))
		if terr.Untraceable { // there is nothing to wait for but the usual pause
			ev.At = now.Add(retry.Delay(e.Attempts, a.retryMin, a.retryMax))
		}
	case terr.Class == transport.Malformed:
		ev.Kind = lifecycle.AnsweredMalformed
	case terr.Class == transport.Permanent:
		ev.Kind = lifecycle.AnsweredPermanent
	case terr.Class == transport.Transient && ctx.Err() != nil:
		ev.Kind = lifecycle.CutOff
	default:
		ev.Kind, ev.At = lifecycle.AnsweredNotNow, now.Add(terr.RetryAfter)
	}
	return ev
}

// around gives the cuts that leave damage in a batch of its own, and the
// records before and behind it in others. None where all is damaged.
func around(damage *store.CorruptionError, b *ingest.Batch) (cuts []uint64) {
	if damage.First > b.First {
		cuts = append(cuts, damage.First)
	}
	if damage.Last < b.Last {
		cuts = append(cuts, damage.Last+1)
	}
	return cuts
}

// journal writes one attempt's intents to the ledger. The first of them is
// also the record that the attempt has begun: before it nothing has left.
type journal struct {
	batches   *batches
	batch     ingest.BatchID
	limit     int              // of a progress, in bytes
	due       *lifecycle.Event // until it is in the ledger
	committed bool             // owned by the goroutine that runs the attempt
}

var errCommittedTwice = errors.New("engine: the transport called Journal.Commit twice in one attempt")

// Note implements [transport.Journal].
func (j *journal) Note(ctx context.Context, progress []byte) error {
	return j.write(ctx, progress, false)
}

// Commit implements [transport.Journal].
func (j *journal) Commit(ctx context.Context, progress []byte) error {
	if j.committed {
		return errCommittedTwice
	}
	if err := j.write(ctx, progress, true); err != nil {
		return err
	}
	j.committed = true
	return nil
}

func (j *journal) write(ctx context.Context, progress []byte, commit bool) error {
	if limit := j.limit; len(progress) > limit {
		return fmt.Errorf("engine: the transport's progress has %d bytes; the limit is %d", len(progress), limit)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	kind := lifecycle.Noted
	if commit {
		kind = lifecycle.Committing
	}
	_, err := j.batches.followed(context.WithoutCancel(ctx), j.batch, j.due, lifecycle.Event{Kind: kind, Progress: progress})
	if err == nil {
		j.due = nil
	}
	return err
}

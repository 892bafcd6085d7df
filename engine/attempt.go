package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"kustospool/engine/internal/lifecycle"
	"kustospool/ingest"
	"kustospool/store"
	"kustospool/transport"
)

// attempt makes one attempt at one batch: its intent is made durable, the
// transport sends, the result is made durable. The ledger is written outside
// of ctx, which ends when the spool closes: an attempt that was cut off must
// still be on record.
func (d *sender) attempt(ctx context.Context, p parcel) {
	started := time.Now()
	r, err := d.s.attempt(ctx, p)
	if err != nil {
		r = d.s.withoutLedger(ctx, p, err)
	}
	d.finished(p, started, r)
}

// withoutLedger is what is left to do when the ledger could not be written: a
// full volume may have room again, and the batch is then taken up as after a
// crash. It holds the attempt's place meanwhile, so that nothing is sent whose
// outcome could not be recorded.
func (s *Spool) withoutLedger(ctx context.Context, p parcel, err error) result {
	r := result{err: &transport.Error{Op: "ledger", Class: transport.Transient, Message: err.Error(), Err: err}}
	for failures := 1; ; failures++ {
		if errors.Is(err, store.ErrClosed) || errors.Is(err, store.ErrFailed) {
			return r // the store said so itself; the next Open goes on
		}
		if failures == 1 {
			s.log.Error("cannot write the batch ledger; delivery waits", "batch", p.id, "err", err)
		}
		select {
		case <-time.After(retryDelay(failures, s.opts.RetryMin, s.opts.RetryMax)):
		case <-ctx.Done():
			return r
		}
		e, live := s.store.Entry(p.id)
		if !live {
			s.changes.fire(p.lane)
			return result{settled: true}
		}
		if r.again, err = s.resume(ctx, e); err == nil {
			return r
		}
	}
}

func (s *Spool) attempt(ctx context.Context, p parcel) (result, error) {
	durable := context.WithoutCancel(ctx)
	defer s.batches.ended(p.id)
	due := lifecycle.Event{Kind: lifecycle.Due}
	c, err := s.happened(durable, p.id, due)
	if err != nil {
		return result{}, err
	}
	if c.do.Has(lifecycle.Refuse) {
		return result{settled: true}, s.refuse(durable, c.entry)
	}
	j := &journal{batches: s.batches, batch: p.id, limit: s.progressLimit(), due: &due}
	sendCtx, moved, cancel := attemptContext(ctx, s.opts.AttemptTimeout)
	ack, sendErr := s.transport.Send(sendCtx, &transport.Delivery{
		Batch:    &c.entry.Batch,
		Attempt:  c.entry.Attempts,
		Progress: c.entry.Progress,
		Payload:  s.store.Payload(&c.entry.Batch),
		Journal:  j,
		Moved:    moved,
	})
	cancel()
	var ev lifecycle.Event
	var terr *transport.Error
	if sendErr == nil {
		ev, terr = s.acknowledged(&c.entry, ack)
	} else {
		terr = timedOut(sendCtx, transport.Classify(sendErr, j.committed))
		ev = s.failed(ctx, &c.entry, sendErr, terr)
	}
	if c, err = s.followed(durable, p.id, j.due, ev); err != nil {
		return result{}, err
	}
	if ev.Kind == lifecycle.CutOff || ev.Kind == lifecycle.Damaged && c.entry.State != ingest.Unknown {
		terr = nil // neither the destination's fault nor the lane's
	}
	return result{again: c.queue, err: terr, settled: c.settled()}, nil
}

// acknowledged is the event of an answer without an error.
func (s *Spool) acknowledged(e *store.Entry, ack transport.Ack) (lifecycle.Event, *transport.Error) {
	ev := lifecycle.Event{Wire: ack.WireBytes, Tracked: s.transport.tracks()}
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
		return s.failed(context.Background(), e, terr, terr), terr
	}
	return ev, nil
}

// failed is the event of an answer that is an error. ctx is that of the
// attempts, which ends when the spool closes.
func (s *Spool) failed(ctx context.Context, e *store.Entry, err error, terr *transport.Error) lifecycle.Event {
	now := time.Now()
	ev := lifecycle.Event{Failure: terr.Failure(now)}
	if damage, ok := errors.AsType[*store.CorruptionError](err); ok {
		ev.Kind, ev.Cuts = lifecycle.Damaged, around(damage, &e.Batch)
		ev.At = now.Add(s.unknownGrace(e.Attempts))
		ev.Failure = &ingest.Failure{Class: "damaged", Code: "damaged", Message: damage.Error(), At: now}
		return ev
	}
	switch {
	case terr.Class == transport.Unknown:
		ev.Kind, ev.At = lifecycle.AnsweredNothing, now.Add(s.unknownGrace(e.Attempts))
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

// happened delivers an event of a batch, and tells the tracker what it must
// know of the change. What is to be queued is left to the caller.
func (s *Spool) happened(ctx context.Context, id ingest.BatchID, ev lifecycle.Event) (change, error) {
	return s.followed(ctx, id, nil, ev)
}

// followed is happened of an event that follows one that was not saved.
func (s *Spool) followed(ctx context.Context, id ingest.BatchID, before *lifecycle.Event, ev lifecycle.Event) (change, error) {
	c, err := s.batches.happened(ctx, id, before, ev)
	if err != nil {
		return change{}, err
	}
	if c.do.Has(lifecycle.Await) {
		s.tracking.add(c.entry)
	}
	if c.do.Has(lifecycle.Forget) {
		s.tracking.remove(id)
	}
	return c, nil
}

// unknownGrace is how long an unknown attempt is looked for. Where nobody can
// be asked there is nothing to wait for but the usual pause.
func (s *Spool) unknownGrace(attempts int) time.Duration {
	if !s.transport.tracks() {
		return retryDelay(attempts, s.opts.RetryMin, s.opts.RetryMax)
	}
	return s.opts.UnknownGrace
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
	_, err := j.batches.happened(context.WithoutCancel(ctx), j.batch, j.due, lifecycle.Event{Kind: kind, Progress: progress})
	if err == nil {
		j.due = nil
	}
	return err
}

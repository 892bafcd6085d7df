package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

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
			r = result{settled: true}
			return r
		}
		var sealed *store.Entry
		if sealed, err = s.resume(e); err == nil {
			if sealed != nil {
				r.again = []store.Entry{*sealed}
			}
			return r
		}
	}
}

func (s *Spool) attempt(ctx context.Context, p parcel) (result, error) {
	durable := context.WithoutCancel(ctx)
	if e, ok := s.store.Entry(p.id); ok && e.Batch.Properties.Refused {
		return result{settled: true}, s.refuse(durable, e)
	}
	e, err := s.store.Transition(durable, p.id, ingest.Sealed, func(e *store.Entry) {
		e.State = ingest.Sending
		e.Attempts++
		e.Committed = false
		e.NextAttempt = time.Time{}
	})
	if err != nil {
		return result{}, err
	}
	j := &journal{store: s.store, batch: p.id, limit: s.progressLimit()}
	sendCtx, moved, cancel := attemptContext(ctx, s.opts.AttemptTimeout)
	ack, sendErr := s.transport.Send(sendCtx, &transport.Delivery{
		Batch:    &e.Batch,
		Attempt:  e.Attempts,
		Progress: e.Progress,
		Payload:  s.store.Payload(&e.Batch),
		Journal:  j,
		Moved:    moved,
	})
	cancel()
	if sendErr == nil {
		return s.acknowledged(durable, e, ack)
	}
	if damage, ok := errors.AsType[*store.CorruptionError](sendErr); ok && !j.committed {
		return s.isolate(durable, e, damage)
	}
	terr := timedOut(sendCtx, transport.Classify(sendErr, j.committed))
	if terr.Class == transport.Unknown {
		return s.doubt(durable, e, terr)
	}
	if ctx.Err() != nil && terr.Class == transport.Transient {
		// Cut off by Close before anything happened: stopping is not failing.
		_, err := s.store.Transition(durable, p.id, ingest.Sending, func(e *store.Entry) { e.State = ingest.Sealed })
		return result{}, err
	}
	return s.refused(durable, e, terr)
}

// acknowledged records what the destination made of the batch.
func (s *Spool) acknowledged(ctx context.Context, e store.Entry, ack transport.Ack) (result, error) {
	to := ack.State
	switch {
	case to == ingest.Accepted && (!s.transport.tracks() || e.Batch.Confirm == ingest.ConfirmAccepted):
		to = ingest.HandedOver
	case to == ingest.Accepted || to == ingest.HandedOver || to.Ingested():
	default:
		return s.doubt(ctx, e, &transport.Error{Op: "send", Class: transport.Unknown,
			Message: fmt.Sprintf("the transport answered with the state %s", to)})
	}
	e, err := s.store.Transition(ctx, e.Batch.ID, ingest.Sending, func(e *store.Entry) {
		e.State = to
		if ack.WireBytes > 0 {
			e.WireBytes = ack.WireBytes
		}
	})
	if err != nil {
		return result{}, err
	}
	if to == ingest.Accepted {
		s.tracking.add(e)
	} else {
		s.changes.fire(e.Batch.Lane)
	}
	return result{settled: to.Final()}, nil
}

// doubt records that the batch may have been accepted, and leaves it to the
// tracker to find out.
func (s *Spool) doubt(ctx context.Context, e store.Entry, terr *transport.Error) (result, error) {
	now := time.Now()
	e, err := s.store.Transition(ctx, e.Batch.ID, ingest.Sending, func(e *store.Entry) {
		e.State = ingest.Unknown
		e.Failure = terr.Failure(now).Following(e.Failure)
		e.NextAttempt = now.Add(s.unknownGrace(e.Attempts))
	})
	if err != nil {
		return result{}, err
	}
	s.tracking.add(e)
	return result{err: terr}, nil
}

// unknownGrace is how long an unknown attempt is looked for. Where nobody can
// be asked there is nothing to wait for but the usual pause.
func (s *Spool) unknownGrace(attempts int) time.Duration {
	if !s.transport.tracks() {
		return retryDelay(attempts, s.opts.RetryMin, s.opts.RetryMax)
	}
	return s.opts.UnknownGrace
}

// refused records that the destination did not take the batch (from Sending),
// or that its ingestion failed (from Accepted), and decides by the class of
// the error what becomes of it.
func (s *Spool) refused(ctx context.Context, e store.Entry, terr *transport.Error) (result, error) {
	now := time.Now()
	failure := terr.Failure(now).Following(e.Failure)
	switch {
	case terr.Class == transport.Malformed && e.Batch.Records() > 1:
		middle := e.Batch.First + uint64(e.Batch.Records()/2)
		halves, err := s.split(ctx, e, []uint64{middle}, failure)
		if err != nil {
			return result{}, err
		}
		s.log.Info("split a batch that the destination cannot read", "batch", e.Batch.ID, "err", terr)
		return result{again: halves, err: terr}, nil
	case terr.Class == transport.Malformed || terr.Class == transport.Permanent:
		return result{err: terr, settled: true}, s.deadLetter(ctx, e, failure)
	}
	e, err := s.store.Transition(ctx, e.Batch.ID, e.State, func(e *store.Entry) {
		e.State = ingest.Sealed
		e.Failure = failure
		e.NextAttempt = now.Add(terr.RetryAfter)
	})
	if err != nil {
		return result{}, err
	}
	return result{again: []store.Entry{e}, err: terr}, nil
}

func (s *Spool) deadLetter(ctx context.Context, e store.Entry, failure *ingest.Failure) error {
	if _, err := s.store.DeadLetter(ctx, e.Batch.ID, e.State, failure); err != nil {
		return err
	}
	s.log.Warn("dead-lettered a batch", "batch", e.Batch.ID, "table", e.Batch.Properties.Table,
		"records", e.Batch.Records(), "reason", failure)
	s.changes.fire(e.Batch.Lane)
	return nil
}

// isolate cuts a batch around the records that cannot be read from disk any
// more, so that the damage costs only itself. The damaged range comes back as
// a batch of its own and is then dead-lettered.
func (s *Spool) isolate(ctx context.Context, e store.Entry, damage *store.CorruptionError) (result, error) {
	b := &e.Batch
	var cuts []uint64
	if damage.First > b.First {
		cuts = append(cuts, damage.First)
	}
	if damage.Last < b.Last {
		cuts = append(cuts, damage.Last+1)
	}
	failure := &ingest.Failure{Class: "damaged", Code: "damaged", Message: damage.Error(), At: time.Now()}
	if len(cuts) == 0 {
		return result{settled: true}, s.deadLetter(ctx, e, failure)
	}
	parts, err := s.split(ctx, e, cuts, failure)
	return result{again: parts}, err
}

// split replaces a batch by its parts. An earlier attempt may have left all of
// it in the table, under a tag that the parts do not have.
func (s *Spool) split(ctx context.Context, e store.Entry, cuts []uint64, why *ingest.Failure) ([]store.Entry, error) {
	if e.Unresolved > 0 {
		if _, err := s.store.Transition(ctx, e.Batch.ID, e.State, func(e *store.Entry) {
			e.PossibleDuplicates = max(e.PossibleDuplicates, e.Batch.Records())
		}); err != nil {
			return nil, err
		}
	}
	return s.store.Split(ctx, e.Batch.ID, e.State, cuts, why)
}

// journal writes one attempt's intents to the ledger.
type journal struct {
	store     *store.Store
	batch     ingest.BatchID
	limit     int  // of a progress, in bytes
	committed bool // owned by the goroutine that runs the attempt
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
	_, err := j.store.Transition(context.WithoutCancel(ctx), j.batch, ingest.Sending, func(e *store.Entry) {
		e.Progress = append([]byte(nil), progress...)
		e.Committed = e.Committed || commit
	})
	return err
}

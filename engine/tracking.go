package engine

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"kustospool/ingest"
	"kustospool/store"
	"kustospool/transport"
)

// Bounds of the questions about one batch. The pause grows with the time
// waited, a tenth of it, so that an ingestion that takes an hour is not asked
// about thousands of times.
const (
	slowestPoll  = 30 * time.Second
	trackTimeout = time.Minute
)

// awaited is a batch that is accepted, or may be.
type awaited struct {
	id       ingest.BatchID
	lane     uint32
	since    time.Time // of the acceptance, or of this process
	next     time.Time // when to ask
	deadline time.Time // when to send it again if nothing is heard
	asked    bool      // and answered, though not with an outcome
}

// tracking asks the destination what became of batches, and resolves attempts
// of unknown outcome: it looks for them for a while and then has them sent
// again, under the same tag.
type tracking struct {
	s      *Spool
	every  time.Duration
	atMost int
	wake   chan struct{} // holds at most one token

	mu      sync.Mutex // guards everything below
	batches map[ingest.BatchID]*awaited
	byLane  map[uint32]int
	failure *ingest.Failure // of the last question; nil when it was answered
}

func newTracking(s *Spool) *tracking {
	t := &tracking{s: s, every: time.Hour, atMost: 1, wake: make(chan struct{}, 1),
		batches: make(map[ingest.BatchID]*awaited), byLane: make(map[uint32]int)}
	if s.tracker != nil {
		t.every, t.atMost = s.tracker.Cadence()
		t.every, t.atMost = max(t.every, time.Millisecond), max(t.atMost, 1)
	}
	return t
}

// room is how many more batches may await their outcome.
func (t *tracking) room() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.s.opts.MaxUnconfirmed - len(t.batches)
}

// add awaits the outcome of an accepted or unknown batch.
func (t *tracking) add(e store.Entry) {
	now := time.Now()
	w := &awaited{id: e.Batch.ID, lane: e.Batch.Lane, since: now, next: now.Add(t.every), deadline: now.Add(t.s.opts.VerdictTimeout)}
	switch grace := now.Add(t.s.unknownGrace(e.Attempts)); {
	case e.State == ingest.Unknown && e.NextAttempt.Before(grace):
		w.deadline = e.NextAttempt
	case e.State == ingest.Unknown: // the clock was ahead when this was written
		w.deadline = grace
	case e.Updated.Before(now): // accepted by an earlier process, perhaps
		w.deadline = e.Updated.Add(t.s.opts.VerdictTimeout)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.batches[w.id] == nil {
		t.byLane[w.lane]++
	}
	t.batches[w.id] = w
	signal(t.wake)
}

// awaits reports whether the batch awaits its outcome.
func (t *tracking) awaits(id ingest.BatchID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.batches[id] != nil
}

// inLane is how many batches of the lane await their outcome.
func (t *tracking) inLane(lane uint32) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byLane[lane]
}

func (t *tracking) remove(id ingest.BatchID) {
	t.mu.Lock()
	if w := t.batches[id]; w != nil {
		delete(t.batches, id)
		if t.byLane[w.lane]--; t.byLane[w.lane] == 0 {
			delete(t.byLane, w.lane)
		}
	}
	t.mu.Unlock()
	signal(t.s.sender.wake) // there is room again
}

func (t *tracking) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	failures := 0
	for ctx.Err() == nil {
		ask, overdue, wait := t.due(time.Now())
		wake := t.wake
		for _, id := range overdue {
			t.sendAgain(ctx, id)
		}
		switch {
		case len(ask) > 0:
			if err := t.ask(ctx, ask); err == nil {
				failures = 0
				continue
			}
			failures++
			wait = retryDelay(failures, t.s.opts.RetryMin, t.s.opts.RetryMax)
			wake = nil // it is the asking that fails; new batches do not hurry it
		case len(overdue) > 0:
			continue
		}
		timer.Reset(wait)
		select {
		case <-wake:
		case <-timer.C:
		case <-ctx.Done():
		}
	}
}

// due lists the batches to ask about now, the most overdue first and at most
// as many as one question takes, and those whose time has run out.
func (t *tracking) due(now time.Time) (ask, overdue []ingest.BatchID, wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	wait = time.Hour
	var ready []*awaited
	for _, w := range t.batches {
		late := !w.deadline.After(now)
		switch {
		case late && (w.asked || t.s.tracker == nil):
			overdue = append(overdue, w.id)
		case t.s.tracker != nil && (late || !w.next.After(now)):
			ready = append(ready, w) // never sent again without one answer
		default:
			wait = min(wait, w.deadline.Sub(now))
			if t.s.tracker != nil {
				wait = min(wait, w.next.Sub(now))
			}
		}
	}
	slices.SortFunc(ready, func(a, b *awaited) int {
		if c := a.next.Compare(b.next); c != 0 {
			return c
		}
		return cmp.Compare(a.id.String(), b.id.String())
	})
	for _, w := range ready[:min(len(ready), t.atMost)] {
		ask = append(ask, w.id)
		w.next = now.Add(min(max(t.every, now.Sub(w.since)/10), max(slowestPoll, t.every)))
	}
	return ask, overdue, wait
}

// ask puts one question and applies the answers. Its error is that of the
// asking.
func (t *tracking) ask(ctx context.Context, ids []ingest.BatchID) error {
	pending := make([]transport.Pending, 0, len(ids))
	for _, id := range ids {
		if e, ok := t.s.store.Entry(id); ok {
			pending = append(pending, transport.Pending{Batch: &e.Batch, Progress: e.Progress})
		} else {
			t.remove(id)
		}
	}
	askCtx, cancel := context.WithTimeout(ctx, trackTimeout)
	defer cancel()
	verdicts, err := t.s.tracker.Track(askCtx, pending)
	for _, v := range verdicts {
		if applyErr := t.s.apply(context.WithoutCancel(ctx), v); applyErr != nil {
			t.s.log.Error("cannot record an outcome; it is asked for again", "batch", v.Batch, "err", applyErr)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case err == nil:
		t.failure = nil
		for _, id := range ids {
			if w := t.batches[id]; w != nil {
				w.asked = true
			}
		}
	case ctx.Err() == nil:
		if t.failure == nil {
			t.s.log.Warn("cannot ask for outcomes; batches stay spooled meanwhile", "err", err)
		}
		t.failure = transport.Classify(err, false).Failure(time.Now())
	}
	return err
}

// apply records a verdict.
func (s *Spool) apply(ctx context.Context, v transport.Verdict) error {
	e, ok := s.store.Entry(v.Batch)
	if !ok || e.State != ingest.Accepted && e.State != ingest.Unknown {
		return nil // settled by an earlier answer
	}
	switch {
	case v.State.Ingested():
		if _, err := s.store.Transition(ctx, v.Batch, e.State, func(e *store.Entry) { e.State = v.State }); err != nil {
			return err
		}
		s.tracking.remove(v.Batch)
		s.changes.fire(e.Batch.Lane)
		s.sender.verdict(e.Batch.Lane, result{settled: true})
		return nil
	case v.State == ingest.Accepted && e.State == ingest.Accepted, v.Failure != nil && v.Failure.Class == transport.Unknown:
		return nil // nothing new is said
	case v.State == ingest.Accepted && e.Batch.Confirm == ingest.ConfirmAccepted:
		if _, err := s.store.Transition(ctx, v.Batch, e.State, func(e *store.Entry) { e.State = ingest.HandedOver }); err != nil {
			return err
		}
		s.tracking.remove(v.Batch)
		s.changes.fire(e.Batch.Lane)
		s.sender.verdict(e.Batch.Lane, result{settled: true})
		return nil
	}
	if e.State == ingest.Unknown { // whatever it says, the destination has it
		var err error
		if e, err = s.store.Transition(ctx, v.Batch, ingest.Unknown, func(e *store.Entry) { e.State = ingest.Accepted }); err != nil {
			return err
		}
		s.tracking.add(e)
	}
	if v.State != ingest.DeadLettered || v.Failure == nil {
		return nil
	}
	r, err := s.refused(ctx, e, v.Failure)
	if err != nil {
		return err
	}
	s.tracking.remove(v.Batch)
	s.sender.verdict(e.Batch.Lane, r)
	return nil
}

// sendAgain gives up waiting. The rows of an at-least-once table may now be
// doubled; those of an exactly-once table are under the batch's tag.
func (t *tracking) sendAgain(ctx context.Context, id ingest.BatchID) {
	e, ok := t.s.store.Entry(id)
	if !ok {
		t.remove(id)
		return
	}
	e, err := t.s.store.Transition(context.WithoutCancel(ctx), id, e.State, func(e *store.Entry) {
		e.State = ingest.Sealed
		e.Unresolved++
		e.NextAttempt = time.Time{}
		if e.Batch.Guarantee == ingest.AtLeastOnce {
			e.PossibleDuplicates += e.Batch.Records()
		}
	})
	if err != nil {
		t.s.log.Error("cannot record that a batch is sent again; trying later", "batch", id, "err", err)
		t.postpone(id)
		return
	}
	t.remove(id)
	t.s.sender.verdict(e.Batch.Lane, result{again: []store.Entry{e}})
}

// postpone tries sendAgain later, when the ledger could not be written.
func (t *tracking) postpone(id ingest.BatchID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if w := t.batches[id]; w != nil {
		w.deadline = time.Now().Add(t.s.opts.RetryMax)
	}
}

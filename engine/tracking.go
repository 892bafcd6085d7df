package engine

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"kustospool/engine/internal/lifecycle"
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

// recordTogether is how many outcomes are written at the same time: each waits
// for the disk, and they share the commits of the ledger.
const recordTogether = 64

// awaited is a batch that is accepted, or may be.
type awaited struct {
	id       ingest.BatchID
	lane     uint32
	to       string    // whom to ask
	since    time.Time // of the acceptance, or of this process
	next     time.Time // when to ask
	deadline time.Time // when to send it again if nothing is heard
	asked    bool      // and answered, though not with an outcome
}

func (w *awaited) key() queueKey { return queueKey{w.lane, w.to} }

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
	byLane  map[queueKey]int
	asked   map[string]*inquiry // by destination
}

// inquiry is how the questions to one destination go. They are put one at a
// time, each destination's beside the others', so that one that does not
// answer delays none.
type inquiry struct {
	awaited  int // batches
	underWay bool
	failures int             // in a row
	until    time.Time       // when to ask again after a failure
	failure  *ingest.Failure // of the last question; nil when it was answered
}

func newTracking(s *Spool) *tracking {
	return &tracking{s: s, every: s.transport.every, atMost: s.transport.atMost, wake: make(chan struct{}, 1),
		batches: make(map[ingest.BatchID]*awaited), byLane: make(map[queueKey]int), asked: make(map[string]*inquiry)}
}

// room is how many more batches of a destination may await their outcome.
func (t *tracking) room(to string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.s.opts.MaxUnconfirmed - t.inquiryLocked(to).awaited
}

// add awaits the outcome of an accepted or unknown batch.
func (t *tracking) add(e store.Entry) {
	now := time.Now()
	w := &awaited{id: e.Batch.ID, lane: e.Batch.Lane, to: t.s.destination(&e), since: now, next: now.Add(t.every), deadline: now.Add(t.s.opts.VerdictTimeout)}
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
	if old := t.batches[w.id]; old != nil { // unknown before, accepted now
		t.dropLocked(old)
	}
	t.byLane[w.key()]++
	t.inquiryLocked(w.to).awaited++
	t.batches[w.id] = w
	signal(t.wake)
}

// awaits reports whether the batch awaits its outcome.
func (t *tracking) awaits(id ingest.BatchID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.batches[id] != nil
}

// inLane is how many batches of the lane await their outcome from a destination.
func (t *tracking) inLane(key queueKey) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byLane[key]
}

func (t *tracking) remove(id ingest.BatchID) {
	t.mu.Lock()
	if w := t.batches[id]; w != nil {
		t.dropLocked(w)
	}
	t.mu.Unlock()
	signal(t.s.sender.wake) // there is room again
}

func (t *tracking) dropLocked(w *awaited) {
	delete(t.batches, w.id)
	t.inquiryLocked(w.to).awaited--
	if t.byLane[w.key()]--; t.byLane[w.key()] == 0 {
		delete(t.byLane, w.key())
	}
}

// unhealthyLocked is the latest failure to ask.
func (t *tracking) unhealthyLocked() (latest *ingest.Failure) {
	for _, q := range t.asked {
		latest = later(latest, q.failure)
	}
	return latest
}

// run puts questions until ctx ends, and then waits for those under way, which
// see the same ctx.
func (t *tracking) run(ctx context.Context) {
	var asking sync.WaitGroup
	defer asking.Wait()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		ask, overdue, wait := t.due(time.Now())
		var again errgroup.Group
		again.SetLimit(recordTogether)
		for _, id := range overdue {
			again.Go(func() error {
				t.sendAgain(ctx, id)
				return nil
			})
		}
		_ = again.Wait()
		for to, ids := range ask {
			asking.Go(func() { t.ask(ctx, to, ids) })
		}
		if len(overdue) > 0 {
			continue
		}
		timer.Reset(wait)
		select {
		case <-t.wake:
		case <-timer.C:
		case <-ctx.Done():
		}
	}
}

// due lists by destination the batches to ask about now, the most overdue
// first and at most as many as one question takes, and those whose time has
// run out. Whoever is asked is marked as being asked.
func (t *tracking) due(now time.Time) (ask map[string][]ingest.BatchID, overdue []ingest.BatchID, wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	wait = time.Hour
	ready := make(map[string][]*awaited)
	for _, w := range t.batches {
		q := t.inquiryLocked(w.to)
		if q.underWay {
			continue // the answer wakes the tracker
		}
		late := !w.deadline.After(now)
		switch {
		case late && (w.asked || !t.s.transport.tracks()):
			overdue = append(overdue, w.id)
		case t.s.transport.tracks() && now.Before(q.until):
			wait = min(wait, q.until.Sub(now)) // it is the asking that fails; new batches do not hurry it
			if w.asked {
				wait = min(wait, w.deadline.Sub(now))
			}
		case t.s.transport.tracks() && (late || !w.next.After(now)):
			ready[w.to] = append(ready[w.to], w) // never sent again without one answer
		default:
			wait = min(wait, w.deadline.Sub(now))
			if t.s.transport.tracks() {
				wait = min(wait, w.next.Sub(now))
			}
		}
	}
	ask = make(map[string][]ingest.BatchID, len(ready))
	for to, list := range ready {
		slices.SortFunc(list, func(a, b *awaited) int {
			if c := a.next.Compare(b.next); c != 0 {
				return c
			}
			return cmp.Compare(a.id.String(), b.id.String())
		})
		for _, w := range list[:min(len(list), t.atMost)] {
			ask[to] = append(ask[to], w.id)
			w.next = now.Add(min(max(t.every, now.Sub(w.since)/10), max(slowestPoll, t.every)))
		}
		t.inquiryLocked(to).underWay = true
	}
	return ask, overdue, wait
}

// inquiryLocked is that of a destination, made when it is new.
func (t *tracking) inquiryLocked(to string) *inquiry {
	q := t.asked[to]
	if q == nil {
		q = new(inquiry)
		t.asked[to] = q
	}
	return q
}

// ask puts one question to a destination and applies the answers.
func (t *tracking) ask(ctx context.Context, to string, ids []ingest.BatchID) {
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
	verdicts, err := t.s.transport.track(askCtx, pending)
	t.asking(ctx, to, err) // first, so that who waits for an outcome finds it up to date
	answered := make(map[ingest.BatchID]bool)
	var recording errgroup.Group
	recording.SetLimit(recordTogether)
	for _, v := range verdicts {
		if answered[v.Batch] = true; v.State == 0 {
			continue
		}
		recording.Go(func() error {
			if err := t.s.apply(context.WithoutCancel(ctx), v); err != nil {
				t.s.log.Error("cannot record an outcome; it is asked for again", "batch", v.Batch, "err", err)
			}
			return nil
		})
	}
	_ = recording.Wait()
	t.mu.Lock()
	defer t.mu.Unlock()
	defer signal(t.wake)
	t.inquiryLocked(to).underWay = false
	for _, id := range ids { // what of them could be asked about does not wait for the rest
		if w := t.batches[id]; w != nil && (err == nil || answered[id]) {
			w.asked = true
		}
	}
}

// asking notes how a question to a destination went.
func (t *tracking) asking(ctx context.Context, to string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	q := t.inquiryLocked(to)
	switch {
	case err == nil:
		q.failures, q.failure = 0, nil
	case ctx.Err() == nil:
		if q.failure == nil {
			t.s.log.Warn("cannot ask for outcomes; batches stay spooled meanwhile", "err", err)
		}
		now := time.Now()
		q.failures++
		q.until = now.Add(retryDelay(q.failures, t.s.opts.RetryMin, t.s.opts.RetryMax))
		q.failure = transport.Classify(err, false).Failure(now).Following(q.failure)
	}
}

// apply records a verdict.
func (s *Spool) apply(ctx context.Context, v transport.Verdict) error {
	if _, live := s.store.Entry(v.Batch); !live {
		return nil // settled by an earlier answer
	}
	ev := s.reported(v)
	c, err := s.happened(ctx, v.Batch, ev)
	if err != nil || !c.do.Has(lifecycle.Forget) {
		return err
	}
	s.sender.verdict(s.parcelOf(c.entry), result{again: c.queue, err: v.Failure, settled: c.settled()})
	return nil
}

// reported is the event of a verdict.
func (s *Spool) reported(v transport.Verdict) lifecycle.Event {
	now := time.Now()
	ev := lifecycle.Event{Kind: lifecycle.ReportedNothing, Tracked: s.transport.tracks()}
	switch {
	case v.State == ingest.Succeeded:
		ev.Kind = lifecycle.ReportedSucceeded
	case v.State == ingest.Skipped:
		ev.Kind = lifecycle.ReportedSkipped
	case v.Failure != nil && v.Failure.Class == transport.Unknown:
	case v.State == ingest.Accepted:
		ev.Kind = lifecycle.ReportedAccepted
	case v.State != ingest.DeadLettered || v.Failure == nil:
	default:
		ev.Failure = v.Failure.Failure(now)
		switch v.Failure.Class {
		case transport.Malformed:
			ev.Kind = lifecycle.ReportedMalformed
		case transport.Permanent:
			ev.Kind = lifecycle.ReportedPermanent
		default:
			ev.Kind, ev.At = lifecycle.ReportedNotNow, now.Add(v.Failure.RetryAfter)
		}
	}
	return ev
}

// sendAgain gives up waiting.
func (t *tracking) sendAgain(ctx context.Context, id ingest.BatchID) {
	if _, live := t.s.store.Entry(id); !live {
		t.remove(id)
		return
	}
	c, err := t.s.happened(context.WithoutCancel(ctx), id, lifecycle.Event{Kind: lifecycle.Unheard})
	if err != nil {
		t.s.log.Error("cannot record that a batch is sent again; trying later", "batch", id, "err", err)
		t.postpone(id)
		return
	}
	t.s.sender.verdict(t.s.parcelOf(c.entry), result{again: c.queue})
}

// postpone tries sendAgain later, when the ledger could not be written.
func (t *tracking) postpone(id ingest.BatchID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if w := t.batches[id]; w != nil {
		w.deadline = time.Now().Add(t.s.opts.RetryMax)
	}
}

package live

import (
	"cmp"
	"log/slog"
	"slices"
	"time"

	"kustospool/engine/internal/retry"
	"kustospool/ingest"
	"kustospool/store"
	"kustospool/transport"
)

// slowestPoll bounds the pause between two questions about one batch. The pause
// grows with the time waited, a tenth of it, so that an ingestion that takes an
// hour is not asked about thousands of times.
const slowestPoll = 30 * time.Second

// Pace is when a destination is asked for outcomes, and for how long.
type Pace struct {
	Tracks  bool                             // it can be asked
	Every   time.Duration                    // between two questions about a batch
	AtMost  int                              // batches in one question
	Verdict time.Duration                    // how long an accepted batch is waited for
	Grace   func(attempts int) time.Duration // and one of unknown outcome
}

// awaited is when to ask about a batch that is accepted, or may be.
type awaited struct {
	since    time.Time     // of the acceptance, or of this process
	next     time.Time     // when to ask
	deadline time.Time     // when to send it again if nothing is heard
	asked    bool          // and answered, though not with an outcome
	refused  time.Time     // the same while nobody may ask about it; zero: somebody may
	grace    time.Duration // from the first refusal to that
}

// over is when the batch is sent again if nothing is heard: one that nobody may
// ask about is as one of unknown outcome.
func (w *awaited) over() time.Time {
	if !w.refused.IsZero() && w.refused.Before(w.deadline) {
		return w.refused
	}
	return w.deadline
}

// Heard is what a question about a batch came to.
type Heard uint8

// What it can come to.
const (
	Nothing  Heard = iota // it could not be put
	AnAnswer              // be it that nothing is known yet
	ARefusal              // nobody may ask about it
)

// inquiry is how the questions to one destination go. They are put one at a
// time, each destination's beside the others', so that one that does not
// answer delays none.
type inquiry struct {
	underWay bool
	failures int             // in a row
	until    time.Time       // when to ask again after a failure
	failure  *ingest.Failure // of the last question; nil when it was answered
}

// Await has the outcome of an accepted or unknown batch asked for.
func (l *Mirror) Await(e store.Entry) {
	to, now := l.options.Route(&e), time.Now()
	w := awaited{since: now, next: now.Add(l.options.Pace.Every), deadline: now.Add(l.options.Pace.Verdict), grace: l.options.Pace.Grace(e.Attempts)}
	switch grace := now.Add(w.grace); {
	case e.State == ingest.Unknown && e.NextAttempt.Before(grace):
		w.deadline = e.NextAttempt
	case e.State == ingest.Unknown: // the clock was ahead when this was written
		w.deadline = grace
	case e.Updated.Before(now): // accepted by an earlier process, perhaps
		w.deadline = e.Updated.Add(l.options.Pace.Verdict)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.batchLocked(&e, to)
	b.awaited, b.place = w, awaiting
	b.lane.awaiting++
	if b.lane.class == Alarm {
		b.lane.destination.awaitingAlarms++
	}
	b.lane.destination.awaiting[b.id] = b
	l.refreshLocked(b.lane, now)
	l.ToAsk.Raise()
}

// Forget ends the asking. What becomes of the batch is said by Reported.
func (l *Mirror) Forget(id ingest.BatchID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b := l.batches[id]; b != nil && b.place == awaiting {
		l.leaveLocked(b)
	}
	l.ToSend.Raise() // there is room again
}

// Due lists by destination the batches to ask about now, the most overdue
// first and at most as many as one question takes, and those whose time has
// run out. Whoever is asked is marked as being asked.
func (l *Mirror) Due(now time.Time) (ask map[string][]ingest.BatchID, overdue []ingest.BatchID, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	wait = time.Hour
	ask = make(map[string][]ingest.BatchID)
	for to, d := range l.destinations {
		if d.inquiry.underWay {
			continue // the answer wakes the tracker
		}
		var ready []*batch
		for _, b := range d.awaiting {
			late := !b.over().After(now)
			switch {
			case late && (b.asked || !l.options.Pace.Tracks):
				overdue = append(overdue, b.id)
			case !l.options.Pace.Tracks:
				wait = min(wait, b.over().Sub(now))
			case now.Before(d.inquiry.until):
				wait = min(wait, d.inquiry.until.Sub(now)) // it is the asking that fails; new batches do not hurry it
				if b.asked {
					wait = min(wait, b.over().Sub(now))
				}
			case late || !b.next.After(now):
				ready = append(ready, b) // never sent again without one answer
			default:
				wait = min(wait, b.over().Sub(now), b.next.Sub(now))
			}
		}
		slices.SortFunc(ready, func(a, b *batch) int {
			return cmp.Or(a.next.Compare(b.next), cmp.Compare(a.id.String(), b.id.String()))
		})
		for _, b := range ready[:min(len(ready), l.options.Pace.AtMost)] {
			ask[to] = append(ask[to], b.id)
			b.next = now.Add(min(max(l.options.Pace.Every, now.Sub(b.since)/10), max(slowestPoll, l.options.Pace.Every)))
			d.inquiry.underWay = true
		}
	}
	return ask, overdue, wait
}

// Inquired notes how a question to a destination went. It is called before the
// outcomes are recorded, so that who waits for one finds it up to date.
func (l *Mirror) Inquired(to string, err error) {
	l.mu.Lock()
	defer l.unlock()
	d := l.destinationLocked(to)
	q := &d.inquiry
	if err == nil {
		if q.failure != nil {
			l.sayLocked(slog.LevelInfo, "the destination tells outcomes again", d.named("after", time.Since(q.failure.Since()).Round(time.Millisecond))...)
		}
		q.failures, q.failure = 0, nil
		return
	}
	if q.failure == nil {
		l.sayLocked(slog.LevelWarn, "cannot ask for outcomes; batches stay spooled meanwhile", d.named(l.options.Because(err)...)...)
	}
	now := time.Now()
	q.failures++
	q.until = now.Add(retry.Delay(q.failures, l.options.RetryMin, l.options.RetryMax))
	q.failure = transport.Classify(err, false).Failure(now).Following(q.failure)
}

// Answered ends a question. how says what it came to for each batch; it is called
// under the lock.
func (l *Mirror) Answered(to string, ids []ingest.BatchID, how func(ingest.BatchID) Heard) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.destinationLocked(to).inquiry.underWay = false
	now := time.Now()
	for _, id := range ids {
		b := l.batches[id]
		if b == nil || b.place != awaiting {
			continue
		}
		switch how(id) {
		case AnAnswer:
			b.asked, b.refused = true, time.Time{}
		case ARefusal:
			b.asked = true
			if b.refused.IsZero() {
				b.refused = now.Add(b.grace)
			}
		}
	}
	l.ToAsk.Raise()
}

// Postpone has a batch that was to be sent again wait for longer, when the
// ledger could not be written.
func (l *Mirror) Postpone(id ingest.BatchID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b := l.batches[id]; b != nil {
		b.deadline, b.refused = time.Now().Add(l.options.RetryMax), time.Time{}
	}
}

package live

import (
	"log/slog"
	"time"

	"kustospool/engine/internal/retry"
	"kustospool/ingest"
	"kustospool/store"
	"kustospool/transport"
)

// Result is what an attempt, or a report, means for the lane and the
// destination.
type Result struct {
	Again   []store.Entry    // sealed batches to queue: the same one, or its parts
	Err     *transport.Error // what it failed with; nil where it did not
	Settled bool             // the destination is done with the batch
}

// Finished takes an attempt's result into account, in one step: the next
// attempt sees all of it. An attempt that was accepted awaits its outcome by
// now, or has it already; the batch may even have its next turn.
func (l *Mirror) Finished(t Turn, started time.Time, r Result) {
	to := l.routes(r.Again) // a router's own code: not under the lock
	now := time.Now()
	l.mu.Lock()
	defer l.unlock()
	if b := t.batch; b.place == sending && b.turns == t.count {
		l.leaveLocked(b)
	}
	heard := r.Err != nil || len(r.Again) == 0 // else it was cut off, or never left
	r.Err = l.answeredLocked(t.lane.destination, started, now, r.Err, heard)
	l.resultLocked(t.ID, t.lane, to, now, r)
}

// answeredLocked is what an attempt says of its destination. It returns the
// error that is left for the lane.
func (l *Mirror) answeredLocked(d *destination, started, now time.Time, err *transport.Error, heard bool) *transport.Error {
	switch {
	case err != nil && err.Class.Destination():
		if d.breaker.failed(started, now) {
			l.pauseLocked(d, now, err)
		}
		if err.RetryAfter > 0 { // a wish counts also beside another failure
			d.breaker.pause(now.Add(err.RetryAfter))
		}
	case err != nil && err.Class == transport.Unknown:
		if d.breaker.doubted(started, now) {
			l.pauseLocked(d, now, err)
		}
	default:
		if heard && !d.troubled.IsZero() {
			l.sayLocked(slog.LevelInfo, "the destination answers again", d.named("after", now.Sub(d.troubled).Round(time.Millisecond))...)
			d.troubled = time.Time{}
		}
		d.breaker.answered()
		d.failure = nil
		return err
	}
	d.failure = err.Failure(now).Following(d.failure)
	return nil
}

// Reported takes the late outcome of a batch into account, given its row. It
// says nothing about whether the destination can be reached now.
func (l *Mirror) Reported(e store.Entry, r Result) {
	to, here := l.routes(r.Again), l.options.Route(&e)
	l.mu.Lock()
	defer l.unlock()
	l.resultLocked(e.Batch.ID, l.laneLocked(&e, here), to, time.Now(), r)
}

func (l *Mirror) routes(entries []store.Entry) []string {
	to := make([]string, len(entries))
	for i := range entries {
		to[i] = l.options.Route(&entries[i])
	}
	return to
}

// resultLocked queues what is to be sent again, and applies what a result means
// for the batch's lane.
func (l *Mirror) resultLocked(id ingest.BatchID, q *laneQueue, to []string, now time.Time, r Result) {
	for i := range r.Again {
		l.queueLocked(&r.Again[i], to[i], now)
	}
	if b := l.batches[id]; b != nil && b.place == nowhere {
		delete(l.batches, id)
	}
	switch {
	case r.Settled:
		if !q.told.IsZero() {
			l.sayOfLocked(slog.LevelInfo, q.key.lane, "the table takes batches again", "after", now.Sub(q.told).Round(time.Millisecond))
			q.told = time.Time{}
		}
		q.failures, q.held, q.failure, q.notBefore = 0, false, nil, time.Time{}
	case r.Err != nil && r.Err.Class != transport.Malformed && r.Err.Class != transport.Permanent:
		l.holdLocked(q, now, r.Err)
	}
	l.refreshLocked(q, now)
	l.ToSend.Raise()
}

// pauseLocked keeps all lanes of a destination back after a failure of it.
func (l *Mirror) pauseLocked(d *destination, now time.Time, err *transport.Error) {
	pause := retry.Delay(d.breaker.failures, l.options.RetryMin, l.options.RetryMax)
	d.breaker.pause(now.Add(max(pause, err.RetryAfter)))
	if d.troubled.IsZero() {
		d.troubled = now
		l.sayLocked(slog.LevelWarn, "the destination is in trouble; batches wait", d.named(l.options.Because(err)...)...)
	}
}

// holdLocked keeps a lane back. An attempt that is accepted is no success yet: a
// lane that is held back stays so until a batch of it is settled.
func (l *Mirror) holdLocked(q *laneQueue, now time.Time, err *transport.Error) {
	q.failures++
	q.held = err.Class == transport.Held
	q.failure = err.Failure(now).Following(q.failure)
	pause := retry.Delay(q.failures, l.options.RetryMin, l.options.RetryMax)
	q.notBefore = now.Add(max(pause, err.RetryAfter))
	if q.held && q.told.IsZero() {
		q.told = now
		l.sayOfLocked(slog.LevelWarn, q.key.lane, "a table waits for an operator", l.options.Because(err)...)
	}
}

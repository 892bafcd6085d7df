package live

import "time"

// breaker says how many attempts a destination may have under way. It is plain
// state, guarded by the mirror's mu.
//
// A failure of the destination stops them until a pause has passed; then
// one attempt probes. After a success the number doubles with each further
// one up to the number of senders, so that a service that has just come back
// is not met by the whole backlog at once. An attempt of unknown outcome
// halves it, and counts as a failure when it was the only one allowed.
type breaker struct {
	senders  int // never more than this
	limit    int // attempts at once while the destination is well
	failures int // in a row
	until    time.Time
	failedAt time.Time
}

func newBreaker(senders int) breaker { return breaker{senders: senders, limit: senders} }

// allowed is how many attempts may be under way now. When it is 0, wait is how
// long until it is not.
func (b *breaker) allowed(now time.Time) (n int, wait time.Duration) {
	if wait := b.until.Sub(now); wait > 0 {
		return 0, wait
	}
	if b.failures > 0 {
		return 1, 0
	}
	return b.limit, 0
}

// failed counts a failure of an attempt begun at started, unless a failure
// since then has already been counted: attempts that ran side by side into
// the same outage are one failure. It reports whether it counted; the caller
// then says with pause how long to wait.
func (b *breaker) failed(started, now time.Time) bool {
	if b.failures > 0 && !started.After(b.failedAt) {
		return false
	}
	b.failures++
	b.failedAt = now
	b.limit = 1
	return true
}

// pause keeps everything back until then.
func (b *breaker) pause(until time.Time) {
	if until.After(b.until) {
		b.until = until
	}
}

// tryNow ends a pause. Of what failed one failure is left, so that one attempt probes
// and the pauses begin again with the shortest.
func (b *breaker) tryNow() {
	b.until = time.Time{}
	b.failures = min(b.failures, 1)
}

// answered counts an attempt that the destination answered for itself,
// whatever it said of the batch.
func (b *breaker) answered() {
	b.failures = 0
	b.limit = min(b.limit*2, b.senders)
}

// doubted counts an attempt of unknown outcome begun at started. It reports
// whether it is to be taken for a failure, as failed does.
func (b *breaker) doubted(started, now time.Time) bool {
	if b.limit > 1 && b.failures == 0 {
		b.limit /= 2
		return false
	}
	return b.failed(started, now)
}

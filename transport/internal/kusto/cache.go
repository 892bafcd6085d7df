package kusto

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// The life of what the service tells: refreshed after about an hour, as the
// official clients do; a SAS that ends before is refreshed ahead of its end.
const (
	refreshAfter  = time.Hour
	refreshJitter = 10 * time.Minute // either way, so that a fleet does not ask in step
	expiryMargin  = 15 * time.Minute
	// retryPause is how long a failed refresh keeps the next one away while a
	// stale value serves.
	retryPause = 30 * time.Second
	// invalidatePause is how often Invalidate is heard: a storm of refusals
	// becomes one question in that time.
	invalidatePause = 5 * time.Second
	// A fetch without which nothing works may take long; one for which a stale
	// value can stand in may not hold its caller up.
	fetchTimeout   = 45 * time.Second
	refreshTimeout = 15 * time.Second
)

// cached is a value that is fetched when it is first needed, refreshed when it
// is due, and used on when it cannot be refreshed: storage decides whether it
// still works, a local clock does not. It has no goroutine; whoever needs the
// value fetches it, one at a time, and the others use the stale value
// meanwhile or wait for that fetch's result.
type cached[T any] struct {
	fetch func(context.Context) (value T, ends time.Time, err error) // ends is zero where unknown
	now   func() time.Time

	// turn is held, as its one element, by whoever fetches.
	turn chan struct{}

	mu sync.Mutex
	// mu guards the following.
	value   T
	have    bool
	due     time.Time
	fetched time.Time // of the value
	asked   time.Time // when the last fetch ended, well or not
	rounds  int64     // fetches that ended
	err     error     // of the last fetch
}

func newCached[T any](fetch func(context.Context) (T, time.Time, error), now func() time.Time) *cached[T] {
	return &cached[T]{fetch: fetch, now: now, turn: make(chan struct{}, 1)}
}

// Get returns the value. Its error is the fetch's, and only where there is no
// value at all, not even a stale one.
func (c *cached[T]) Get(ctx context.Context) (T, error) {
	var zero T
	c.mu.Lock()
	value, have, rounds := c.value, c.have, c.rounds
	fresh := have && (c.now().Before(c.due) || c.err != nil && c.now().Sub(c.asked) < retryPause)
	c.mu.Unlock()
	if fresh {
		return value, nil
	}
	if have {
		select {
		case c.turn <- struct{}{}:
		default:
			return value, nil // somebody is at it
		}
	} else {
		select {
		case c.turn <- struct{}{}:
		case <-ctx.Done():
			return zero, ctx.Err()
		}
	}
	defer func() { <-c.turn }()

	c.mu.Lock()
	// Whoever waited for the turn takes the result of the fetch it waited for,
	// unless that one ended because its own caller went away.
	if c.rounds != rounds && (c.have || c.err != nil) {
		value, have, err := c.value, c.have, c.err
		c.mu.Unlock()
		if have {
			return value, nil
		}
		return zero, err
	}
	c.mu.Unlock()

	timeout := fetchTimeout
	if have {
		timeout = refreshTimeout
	}
	fctx, cancel := context.WithTimeout(ctx, timeout)
	value, ends, err := c.fetch(fctx)
	cancel()
	if err != nil && ctx.Err() != nil && !have {
		return zero, err // this caller's end is no news of the service
	}

	c.mu.Lock()
	defer c.mu.Unlock()
	c.rounds++
	c.asked, c.err = c.now(), err
	if err == nil {
		c.value, c.have, c.fetched = value, true, c.asked
		c.due = dueAt(c.asked, ends)
	}
	if !c.have {
		return zero, err
	}
	return c.value, nil
}

// Invalidate makes the value due, because storage refused it. A value younger
// than invalidatePause stays: a refusal of what was just fetched is not healed
// by fetching it again.
func (c *cached[T]) Invalidate() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.now(); c.have && now.Sub(c.fetched) >= invalidatePause {
		c.due = now
	}
}

// dueAt is when a value fetched at now is to be refreshed. A SAS that seems to
// have ended already, which is what a wrong local clock looks like, does not
// make every call fetch again.
func dueAt(now, ends time.Time) time.Time {
	due := now.Add(refreshAfter - refreshJitter + rand.N(2*refreshJitter))
	if !ends.IsZero() {
		if early := ends.Add(-expiryMargin); early.Before(due) {
			due = early
		}
		if soonest := now.Add(retryPause); due.Before(soonest) {
			due = soonest
		}
	}
	return due
}

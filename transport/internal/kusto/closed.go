package kusto

import (
	"errors"
	"time"

	"kustospool/transport"
)

// opBudget is what an error says was done where a meter let nothing pass.
const opBudget = "budget"

// closedError is a request that a meter refused before it had a connection.
type closedError struct{ err error }

func (e *closedError) Error() string { return e.err.Error() }
func (e *closedError) Unwrap() error { return e.err }

// Closed reports whether a meter was the reason for an error, and how long it is
// until it lets something pass again.
func Closed(err error) (wait time.Duration, closed bool) {
	var waits interface {
		error
		Wait() time.Duration
	}
	if errors.As(err, &waits) {
		return max(waits.Wait(), time.Second), true
	}
	var refused *closedError
	return 0, errors.As(err, &refused)
}

// outOfBudget is the failure of a request that a meter stopped; nil for another.
// One with an effect that had begun may have had it.
func (s *Secrets) outOfBudget(err error, effect Effect, sent *Sent) *transport.Error {
	wait, closed := Closed(err)
	if !closed {
		return nil
	}
	e := &transport.Error{Op: opBudget, Class: transport.Throttled, Message: s.Words(err.Error()), RetryAfter: min(wait, maxRetryAfter)}
	if wait == 0 {
		e.Class = transport.Transient // what counts is out of order
	}
	if effect == HasEffect && !sent.Never(err) {
		e.Class = transport.Unknown
	}
	return e
}

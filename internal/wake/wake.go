// Package wake is how a goroutine is told that there may be something to do.
//
// A [Signal] holds one token at most. However often it is raised while its
// owner works, the owner finds one token and looks again, once, at all there
// is; so what was raised before a look is never missed, and nobody who raises
// it waits. It carries no data and counts nothing. It is not for many waiters:
// one goroutine receives from it.
package wake

// Signal is received from as the channel that it is. A nil Signal cannot be raised.
type Signal chan struct{}

// New is a signal that is not raised.
func New() Signal { return make(Signal, 1) }

// Raise puts the token in unless it is there.
func (s Signal) Raise() {
	select {
	case s <- struct{}{}:
	default:
	}
}

// Package crashpoint names the steps at which a crash test may stop the
// process. In a program that arms nothing a point costs one atomic load.
//
// It knows nothing of what stands at its points, starts no goroutine and does
// no I/O of its own. Arm is for tests; production code only calls Reach.
package crashpoint

import "sync/atomic"

type trap struct {
	name string
	left atomic.Int64
	do   func()
}

var armed atomic.Pointer[trap]

// Reach marks a step. When the name is armed and this is the nth time it is
// reached, what was armed runs on the calling goroutine.
func Reach(name string) {
	if t := armed.Load(); t != nil && t.name == name && t.left.Add(-1) == 0 {
		t.do()
	}
}

// Arm sets do to run when the point is reached for the nth time, counting
// from 1. Only one point is armed at a time; an empty name disarms.
func Arm(name string, nth int, do func()) {
	if name == "" {
		armed.Store(nil)
		return
	}
	t := &trap{name: name, do: do}
	t.left.Store(int64(nth))
	armed.Store(t)
}

// Package lock has the mutex of the engine and of its rooms. It is a
// [sync.Mutex] with a name, and tells a watcher of each lock that is taken or let go:
// the tests of the engine prove by it that none is taken while another one is held,
// and that no acknowledgement waits for one of delivery.
//
// Without a watcher it costs one atomic load more than a sync.Mutex. It cannot
// fail, and does not itself prevent anything: it has no order, no timeout and no
// read lock.
package lock

import (
	"sync"
	"sync/atomic"
)

// Mutex is a lock. None is taken while another one is held, nor held while a
// disk, a network or the code of a plug is waited for; the tests watch the first of
// it. The zero value is free and has no name.
type Mutex struct {
	sync.Mutex
	Name string // what it guards; not to be changed once it is in use
}

// watcher is told of each lock that is taken or let go; nil outside of tests.
var watcher atomic.Pointer[func(name string, taken bool)]

// Watch has every lock of the process watched from here on, in tests. watch is called by
// the goroutine that takes a lock or lets it go, while it has it.
func Watch(watch func(name string, taken bool)) { watcher.Store(&watch) }

// Watched reports whether there is a watcher.
func Watched() bool { return watcher.Load() != nil }

// Lock takes it.
func (m *Mutex) Lock() {
	m.Mutex.Lock()
	if watch := watcher.Load(); watch != nil {
		(*watch)(m.Name, true)
	}
}

// Unlock lets it go.
func (m *Mutex) Unlock() {
	if watch := watcher.Load(); watch != nil {
		(*watch)(m.Name, false)
	}
	m.Mutex.Unlock()
}

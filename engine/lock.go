package engine

import (
	"sync"
	"sync/atomic"
)

// mutex is a lock of the engine. None of them is taken while another one is
// held, nor held while a disk, a network or the code of a plug is waited for; the
// tests watch the first of it.
type mutex struct {
	sync.Mutex
	name string // what it guards
}

// lockWatch is told of each lock that is taken or let go, in tests.
var lockWatch atomic.Pointer[func(name string, taken bool)]

// Lock takes it.
func (m *mutex) Lock() {
	m.Mutex.Lock()
	if watch := lockWatch.Load(); watch != nil {
		(*watch)(m.name, true)
	}
}

// Unlock lets it go.
func (m *mutex) Unlock() {
	if watch := lockWatch.Load(); watch != nil {
		(*watch)(m.name, false)
	}
	m.Mutex.Unlock()
}

package kustosim

import (
	"context"
	"sync"
)

// change tells waiters that some state of the simulator has moved on.
type change struct {
	mu sync.Mutex
	ch chan struct{} // closed at the next change; nil while nobody waits
}

func (c *change) notify() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ch != nil {
		close(c.ch)
		c.ch = nil
	}
}

func (c *change) next() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ch == nil {
		c.ch = make(chan struct{})
	}
	return c.ch
}

// Wait returns nil as soon as cond is true. It asks at once and again after
// every change of state: a request served, a message taken, a fault applied,
// an ingestion committed or reported. cond may call any method of the Sim and
// need not be safe for concurrent use. Wait returns ctx.Err when ctx ends
// first, and [ErrClosed] when the simulator is closed.
func (s *Sim) Wait(ctx context.Context, cond func() bool) error {
	for {
		changed := s.change.next()
		if cond() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.done:
			return ErrClosed
		}
	}
}

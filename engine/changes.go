package engine

import (
	"sync"

	"kustospool/engine/internal/lock"
)

// changes wakes those who wait for a lane's batches to become final. It is a
// hint only: whoever is woken asks the store.
type changes struct {
	mu    lock.Mutex // guards lanes and all
	lanes map[uint32]chan struct{}
	all   chan struct{}
	end   chan struct{} // closed once, when the spool is
	once  sync.Once
}

func (c *changes) init() {
	c.lanes = make(map[uint32]chan struct{})
	c.all = make(chan struct{})
	c.end = make(chan struct{})
	c.mu.Name = "changes"
}

// of is closed at the next change of the lane.
func (c *changes) of(lane uint32) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	ch := c.lanes[lane]
	if ch == nil {
		ch = make(chan struct{})
		c.lanes[lane] = ch
	}
	return ch
}

// any is closed at the next change of any lane.
func (c *changes) any() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all
}

// closed is closed when the spool is.
func (c *changes) closed() <-chan struct{} { return c.end }

func (c *changes) fire(lane uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ch := c.lanes[lane]; ch != nil {
		close(ch)
		delete(c.lanes, lane)
	}
	close(c.all)
	c.all = make(chan struct{})
}

// close may be called again.
func (c *changes) close() { c.once.Do(func() { close(c.end) }) }

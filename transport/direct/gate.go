package direct

import (
	"context"
	"sync"
	"time"

	"kustospool/transport"
)

// How the number of commands under way follows the cluster's capacity.
const (
	refreshEvery   = time.Minute
	refreshTimeout = 15 * time.Second
	// defaultTotal stands in while the cluster does not tell its capacity. The
	// smallest number seen in the field is 6.
	defaultTotal = 6
)

// CapacityStats are the figures of a client's limit.
type CapacityStats struct {
	Total     int   // what the cluster says of its capacity for ingestions; an assumption of 6 until it does
	Share     int   // the most commands this client has under way
	Limit     int   // the most it has now: less than Share after refusals
	InFlight  int   // commands under way
	Peak      int   // the most there were at once
	Waiting   int   // attempts that wait for a slot
	Throttled int64 // refusals for want of capacity
}

// gate limits the commands under way. It has no goroutine: whoever wants a
// slot refreshes the capacity when that is due.
type gate struct {
	share float64
	fetch func(context.Context) (total int, err error)

	mu sync.Mutex
	// mu guards the following.
	stats      CapacityStats
	limit      float64
	epoch      int // of the last decrease: one burst of refusals is one decrease
	due        time.Time
	refreshing bool
	waiters    []chan struct{} // first come, first served; closed with the slot taken
}

func newGate(share float64, fetch func(context.Context) (int, error)) *gate {
	g := &gate{share: share, fetch: fetch}
	g.setTotalLocked(defaultTotal)
	g.limit = float64(g.stats.Share)
	return g
}

func (g *gate) setTotalLocked(total int) {
	full := g.limit >= float64(g.stats.Share)
	g.stats.Total = total
	g.stats.Share = max(1, int(float64(total)*g.share))
	if full || g.limit > float64(g.stats.Share) {
		g.limit = float64(g.stats.Share)
	}
}

// slot is a permission for one command.
type slot struct {
	g     *gate
	epoch int
}

// acquire waits for a slot, at most for wait and until ctx ends. The error is
// a *[transport.Error]; Throttled when it waited in vain.
func (g *gate) acquire(ctx context.Context, wait time.Duration) (slot, error) {
	g.refresh(ctx)
	g.mu.Lock()
	if len(g.waiters) == 0 && g.stats.InFlight < int(g.limit) {
		s := g.takeLocked()
		g.mu.Unlock()
		return s, nil
	}
	turn := make(chan struct{})
	g.waiters = append(g.waiters, turn)
	g.mu.Unlock()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	var err *transport.Error
	select {
	case <-turn:
		g.mu.Lock()
		defer g.mu.Unlock()
		return slot{g, g.epoch}, nil
	case <-timer.C:
		err = &transport.Error{Op: opCapacity, Class: transport.Throttled, Code: "CapacityInUse", RetryAfter: time.Second,
			Message: "all of this client's share of the cluster's capacity for ingestions is in use"}
	case <-ctx.Done():
		err = &transport.Error{Op: opCapacity, Class: transport.Transient, Message: "not begun: " + ctx.Err().Error(), Err: ctx.Err()}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, w := range g.waiters {
		if w == turn {
			g.waiters = append(g.waiters[:i:i], g.waiters[i+1:]...)
			return slot{}, err
		}
	}
	return slot{g, g.epoch}, nil // it came all the same
}

func (g *gate) takeLocked() slot {
	g.stats.InFlight++
	g.stats.Peak = max(g.stats.Peak, g.stats.InFlight)
	return slot{g, g.epoch}
}

// admitLocked hands free slots to those who wait.
func (g *gate) admitLocked() {
	for len(g.waiters) > 0 && g.stats.InFlight < int(g.limit) {
		g.takeLocked()
		close(g.waiters[0])
		g.waiters = g.waiters[1:]
	}
}

// result is how a command ended, as the gate sees it.
type result int

const (
	passed result = iota + 1
	refused
	neither // it says nothing of the capacity
)

// release gives the slot back. A refusal halves the limit, once for all that
// were under way then; a command that passed adds one over the limit, which is
// one for a full round.
func (s slot) release(r result) {
	g := s.g
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stats.InFlight--
	switch r {
	case passed:
		g.limit = min(float64(g.stats.Share), g.limit+1/g.limit)
	case refused:
		g.stats.Throttled++
		if s.epoch == g.epoch {
			g.epoch++
			g.limit = max(1, g.limit/2)
			g.due = time.Time{} // the capacity may have changed
		}
	case neither:
	}
	g.admitLocked()
}

// refresh asks for the capacity when that is due, and lets nobody wait for it
// but the one who asks. Where the cluster does not tell, what was last known
// stays.
func (g *gate) refresh(ctx context.Context) {
	g.mu.Lock()
	if g.refreshing || time.Now().Before(g.due) {
		g.mu.Unlock()
		return
	}
	g.refreshing = true
	g.mu.Unlock()
	rctx, cancel := context.WithTimeout(ctx, refreshTimeout)
	total, err := g.fetch(rctx)
	cancel()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.refreshing = false
	if ctx.Err() == nil {
		g.due = time.Now().Add(refreshEvery)
	}
	if err == nil && total > 0 {
		g.setTotalLocked(total)
		g.admitLocked()
	}
}

func (g *gate) figures() CapacityStats {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.stats
	s.Limit, s.Waiting = int(g.limit), len(g.waiters)
	return s
}

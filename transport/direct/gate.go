package direct

import (
	"context"
	"fmt"
	"sync"
	"time"

	"kustospool/ingest"
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

	Refreshed time.Time // when the cluster last told its capacity; zero until it did
	Failed    int64     // times that it did not, when asked
}

// Limit bounds the commands that are under way at one cluster. Clients of the
// same cluster that are given the same Limit share it.
type Limit struct{ gate *gate }

// NewLimit makes a limit of a share of the cluster's capacity for ingestions,
// over 0 to 1. The error matches [ingest.ErrInvalid].
func NewLimit(share float64) (*Limit, error) {
	if err := checkShare(share); err != nil {
		return nil, err
	}
	return &Limit{newGate(share)}, nil
}

// Stats returns the figures of the limit.
func (l *Limit) Stats() CapacityStats { return l.gate.figures() }

func checkShare(share float64) error {
	if share > 0 && share <= 1 {
		return nil
	}
	return &ingest.FieldError{Field: "Share", Value: fmt.Sprint(share), Rule: "must be over 0 and at most 1"}
}

// gate limits the commands under way. It has no goroutine: whoever wants a
// slot refreshes the capacity when that is due.
type gate struct {
	share float64

	mu sync.Mutex
	// mu guards the following.
	fetch      func(context.Context) (total int, err error) // that of the first client
	stats      CapacityStats
	limit      float64
	epoch      int // of the last decrease: one burst of refusals is one decrease
	due        time.Time
	refreshing bool
	waiters    []chan struct{} // first come, first served; closed with the slot taken
}

func newGate(share float64) *gate {
	g := &gate{share: share}
	g.setTotalLocked(defaultTotal)
	g.limit = float64(g.stats.Share)
	return g
}

// askBy says how to ask the cluster, where nobody has yet.
func (g *gate) askBy(fetch func(context.Context) (int, error)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fetch == nil {
		g.fetch = fetch
	}
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
	fetch := g.fetch
	g.mu.Unlock()
	rctx, cancel := context.WithTimeout(ctx, refreshTimeout)
	total, err := fetch(rctx)
	cancel()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.refreshing = false
	if ctx.Err() == nil {
		g.due = time.Now().Add(refreshEvery)
	}
	switch {
	case err == nil && total > 0:
		g.stats.Refreshed = time.Now()
		g.setTotalLocked(total)
		g.admitLocked()
	case ctx.Err() == nil:
		g.stats.Failed++
	}
}

func (g *gate) figures() CapacityStats {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.stats
	s.Limit, s.Waiting = int(g.limit), len(g.waiters)
	return s
}

// used reports whether anybody has wanted a slot.
func (s CapacityStats) used() bool {
	return s.Peak > 0 || s.Waiting > 0 || s.Failed > 0 || !s.Refreshed.IsZero()
}

// Figures are the capacity's, once it was used: capacity_total, _share, _limit,
// _in_flight, _peak, _waiting, _throttled, and _age_seconds since the cluster
// last told its capacity, -1 where it never did. With them are those of uploads
// that broke off, as the queued client has them, and lookups_forbidden, how often
// the credential's role did not allow to look for a batch, once it happened.
func (c *Client) Figures() []transport.Figure {
	uploads := c.uploads.Figures()
	if n := c.forbidden.Load(); n > 0 {
		uploads = append(uploads, transport.Figure{Name: "lookups_forbidden", Value: n})
	}
	s := c.gate.figures()
	if !s.used() {
		return uploads
	}
	age := int64(-1)
	if !s.Refreshed.IsZero() {
		age = int64(time.Since(s.Refreshed) / time.Second)
	}
	return append(uploads, []transport.Figure{{Name: "capacity_total", Value: int64(s.Total)}, {Name: "capacity_share", Value: int64(s.Share)},
		{Name: "capacity_limit", Value: int64(s.Limit)}, {Name: "capacity_in_flight", Value: int64(s.InFlight)}, {Name: "capacity_peak", Value: int64(s.Peak)},
		{Name: "capacity_waiting", Value: int64(s.Waiting)}, {Name: "capacity_throttled", Value: s.Throttled}, {Name: "capacity_age_seconds", Value: age}}...)
}

var _ transport.Gauged = (*Client)(nil)

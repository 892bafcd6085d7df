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

// capacityFigures are the figures of a limiter.
type capacityFigures struct {
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
type Limit struct{ of *limiter }

// NewLimit makes a limit of a share of the cluster's capacity for ingestions,
// over 0 to 1. The error matches [ingest.ErrInvalid].
func NewLimit(share float64) (*Limit, error) {
	if err := checkShare(share); err != nil {
		return nil, err
	}
	return &Limit{newLimiter(share)}, nil
}

func checkShare(share float64) error {
	if share > 0 && share <= 1 {
		return nil
	}
	return &ingest.FieldError{Field: "Share", Value: fmt.Sprint(share), Rule: "must be over 0 and at most 1"}
}

// limiter limits the commands under way to a share of the cluster's capacity. It has no goroutine: whoever wants a
// slot refreshes the capacity when that is due.
type limiter struct {
	share float64

	mu sync.Mutex
	// mu guards the following.
	fetch      func(context.Context) (total int, err error) // that of the first client
	stats      capacityFigures
	limit      float64
	epoch      int // of the last decrease: one burst of refusals is one decrease
	due        time.Time
	refreshing bool
	waiters    []chan struct{} // first come, first served; closed with the slot taken
}

func newLimiter(share float64) *limiter {
	l := &limiter{share: share}
	l.setTotalLocked(defaultTotal)
	l.limit = float64(l.stats.Share)
	return l
}

// askBy says how to ask the cluster, where nobody has yet.
func (l *limiter) askBy(fetch func(context.Context) (int, error)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fetch == nil {
		l.fetch = fetch
	}
}

func (l *limiter) setTotalLocked(total int) {
	full := l.limit >= float64(l.stats.Share)
	l.stats.Total = total
	l.stats.Share = max(1, int(float64(total)*l.share))
	if full || l.limit > float64(l.stats.Share) {
		l.limit = float64(l.stats.Share)
	}
}

// slot is a permission for one command.
type slot struct {
	l     *limiter
	epoch int
}

// acquire waits for a slot, at most for wait and until ctx ends. The error is
// a *[transport.Error]; Throttled when it waited in vain.
func (l *limiter) acquire(ctx context.Context, wait time.Duration) (slot, error) {
	l.refresh(ctx)
	l.mu.Lock()
	if len(l.waiters) == 0 && l.stats.InFlight < int(l.limit) {
		s := l.takeLocked()
		l.mu.Unlock()
		return s, nil
	}
	turn := make(chan struct{})
	l.waiters = append(l.waiters, turn)
	l.mu.Unlock()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	var err *transport.Error
	select {
	case <-turn:
		l.mu.Lock()
		defer l.mu.Unlock()
		return slot{l, l.epoch}, nil
	case <-timer.C:
		err = &transport.Error{Op: opCapacity, Class: transport.Throttled, Code: "CapacityInUse", RetryAfter: time.Second,
			Message: "all of this client's share of the cluster's capacity for ingestions is in use"}
	case <-ctx.Done():
		err = &transport.Error{Op: opCapacity, Class: transport.Transient, Message: "not begun: " + ctx.Err().Error(), Err: ctx.Err()}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, w := range l.waiters {
		if w == turn {
			l.waiters = append(l.waiters[:i:i], l.waiters[i+1:]...)
			return slot{}, err
		}
	}
	return slot{l, l.epoch}, nil // it came all the same
}

func (l *limiter) takeLocked() slot {
	l.stats.InFlight++
	l.stats.Peak = max(l.stats.Peak, l.stats.InFlight)
	return slot{l, l.epoch}
}

// admitLocked hands free slots to those who wait.
func (l *limiter) admitLocked() {
	for len(l.waiters) > 0 && l.stats.InFlight < int(l.limit) {
		l.takeLocked()
		close(l.waiters[0])
		l.waiters = l.waiters[1:]
	}
}

// result is how a command ended, as the limiter sees it.
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
	l := s.l
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats.InFlight--
	switch r {
	case passed:
		l.limit = min(float64(l.stats.Share), l.limit+1/l.limit)
	case refused:
		l.stats.Throttled++
		if s.epoch == l.epoch {
			l.epoch++
			l.limit = max(1, l.limit/2)
			l.due = time.Time{} // the capacity may have changed
		}
	case neither:
	}
	l.admitLocked()
}

// refresh asks for the capacity when that is due, and lets nobody wait for it
// but the one who asks. Where the cluster does not tell, what was last known
// stays.
func (l *limiter) refresh(ctx context.Context) {
	l.mu.Lock()
	if l.refreshing || time.Now().Before(l.due) {
		l.mu.Unlock()
		return
	}
	l.refreshing = true
	fetch := l.fetch
	l.mu.Unlock()
	rctx, cancel := context.WithTimeout(ctx, refreshTimeout)
	total, err := fetch(rctx)
	cancel()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refreshing = false
	if ctx.Err() == nil {
		l.due = time.Now().Add(refreshEvery)
	}
	switch {
	case err == nil && total > 0:
		l.stats.Refreshed = time.Now()
		l.setTotalLocked(total)
		l.admitLocked()
	case ctx.Err() == nil:
		l.stats.Failed++
	}
}

func (l *limiter) figures() capacityFigures {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.stats
	s.Limit, s.Waiting = int(l.limit), len(l.waiters)
	return s
}

// used reports whether anybody has wanted a slot.
func (s capacityFigures) used() bool {
	return s.Peak > 0 || s.Waiting > 0 || s.Failed > 0 || !s.Refreshed.IsZero()
}

// Figures are the capacity's, once it was used: capacity_total, _share, _limit,
// _in_flight, _peak, _waiting, _throttled, and _age_seconds since the cluster
// last told its capacity, -1 where it never did. With them are those of uploads
// that broke off, as the queued client has them, and lookups_forbidden, how often
// the credential's role did not allow to look for a batch, once it happened.
func (c *Client) Figures() []transport.Figure {
	uploads := append(c.uploads.Figures(), c.opts.Budget.Figures()...)
	if n := c.forbidden.Load(); n > 0 {
		uploads = append(uploads, transport.Figure{Name: "lookups_forbidden", Value: n})
	}
	s := c.limiter.figures()
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

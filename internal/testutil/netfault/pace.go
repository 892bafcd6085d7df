package netfault

import (
	"context"
	"sync"
	"time"
)

// pace spends time so that no more than rate bytes pass in a second. Whoever
// shares it shares the rate.
type pace struct {
	rate int64 // bytes a second; 0 for no limit

	mu   sync.Mutex // guards free
	free time.Time  // when what was let through will have passed
}

// piece is how much should pass in one go, so that bytes come evenly: what
// passes in a fiftieth of a second.
func (p *pace) piece() int {
	if p.rate <= 0 {
		return pieceBytes
	}
	return int(min(max(p.rate/50, 1), pieceBytes))
}

// wait returns when n more bytes have passed; false when ctx or stop ended
// first.
func (p *pace) wait(ctx context.Context, n int, stop <-chan struct{}) bool {
	if p.rate <= 0 || n <= 0 {
		return ctx.Err() == nil
	}
	now := time.Now()
	p.mu.Lock()
	if p.free.Before(now) {
		p.free = now
	}
	p.free = p.free.Add(time.Duration(float64(n) / float64(p.rate) * float64(time.Second)))
	until := p.free.Sub(now)
	p.mu.Unlock()
	return wait(ctx, until, stop)
}

// wait waits for d; false when ctx or stop ended first.
func wait(ctx context.Context, d time.Duration, stop <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	case <-stop:
		return false
	}
}

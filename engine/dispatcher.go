package engine

import (
	"context"
	"sync"
	"time"

	"kustospool/engine/internal/live"
	"kustospool/ingest"
)

// dispatcher begins attempts: it takes the batch whose turn it is, and gives the
// result back.
type dispatcher struct {
	queue    turnQueue
	attempts attempter
	wake     <-chan struct{}
}

// turnQueue says whose turn it is. Lanes take turns; at most as many attempts
// run as the destination's breaker allows, and none is begun while too many
// outcomes are awaited.
type turnQueue interface {
	Pick(now time.Time) (t live.Turn, wait time.Duration, ok bool)
	Finished(t live.Turn, started time.Time, r live.Result)
}

// attempter makes one attempt at a batch.
type attempter interface {
	attempt(ctx context.Context, id ingest.BatchID, lane uint32) live.Result
}

// run begins attempts until ctx ends, and then waits for those under way,
// which see the same ctx.
func (d *dispatcher) run(ctx context.Context) {
	var underWay sync.WaitGroup
	defer underWay.Wait()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		t, wait, ok := d.queue.Pick(time.Now())
		if ok {
			underWay.Go(func() {
				started := time.Now()
				d.queue.Finished(t, started, d.attempts.attempt(ctx, t.ID, t.Lane()))
			})
			continue
		}
		timer.Reset(wait)
		select {
		case <-d.wake:
		case <-timer.C:
		case <-ctx.Done():
		}
	}
}

package engine

import (
	"context"
	"sync"
	"time"

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
	pick(now time.Time) (t turn, wait time.Duration, ok bool)
	finished(t turn, started time.Time, r result)
}

// attempter makes one attempt at a batch.
type attempter interface {
	attempt(ctx context.Context, id ingest.BatchID, lane uint32) result
}

// run begins attempts until ctx ends, and then waits for those under way,
// which see the same ctx.
func (d *dispatcher) run(ctx context.Context) {
	var underWay sync.WaitGroup
	defer underWay.Wait()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		t, wait, ok := d.queue.pick(time.Now())
		if ok {
			underWay.Go(func() {
				started := time.Now()
				d.queue.finished(t, started, d.attempts.attempt(ctx, t.id, t.lane.key.lane))
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

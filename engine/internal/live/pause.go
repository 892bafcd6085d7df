package live

import (
	"time"

	"kustospool/store"
)

// SetPaused has the batches of these tables, and of no others, wait.
func (l *Mirror) SetPaused(list []store.Pause) {
	paused := make(map[Table]bool, len(list))
	for i := range list {
		paused[Table{list[i].Database, list[i].Table}] = true
	}
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.paused = paused
	for _, q := range l.lanes {
		if is := paused[q.table]; is != q.paused {
			q.paused = is
			l.refreshLocked(q, now)
		}
	}
	l.ToSend.Raise()
}

// RetryNow ends the pauses after failures of a table and of the destinations that its
// batches wait for. What failed counts as one failure, so that one batch probes.
func (l *Mirror) RetryNow(table Table, now time.Time) (waiting int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, q := range l.lanes {
		if q.table != table || len(q.waiting) == 0 {
			continue
		}
		waiting += len(q.waiting)
		q.failures, q.notBefore, q.held = min(q.failures, 1), time.Time{}, false
		q.destination.breaker.tryNow()
		l.refreshLocked(q, now)
	}
	l.ToSend.Raise()
	return waiting
}

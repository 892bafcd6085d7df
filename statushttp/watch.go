package statushttp

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"kustospool/internal/visible"
	"kustospool/operate"
)

// look is what one look at the spool found. It is not changed once it is there.
type look struct {
	number int
	at     time.Time
	every  time.Duration
	status *operate.Status // of the last answer; nil where there never was one
	seen   time.Time       // when that was
	// err is why there is no answer now, and failing since when.
	err     error
	failing time.Time
	parts   map[string]string // HTML, by the element's id
	charts  map[string]string // by range
}

// answers reports whether the spool answered at this look.
func (l *look) answers() bool { return l.status != nil && l.err == nil }

// watch looks at the spool again and again.
type watch struct {
	spool operate.Spool
	every time.Duration
	log   *slog.Logger
	may   may
	now   chan struct{} // a look is wanted at once

	mu      sync.Mutex
	last    *look         // guarded by mu
	changed chan struct{} // guarded by mu; closed at the next look
	short   *ring         // of run alone
	long    *ring         // of run alone
}

func newWatch(spool operate.Spool, every time.Duration, log *slog.Logger, m may) *watch {
	return &watch{spool: spool, every: every, log: log, may: m, now: make(chan struct{}, 1), changed: make(chan struct{}),
		short: newRing(shortSpan, max(every, shortStep)), long: newRing(longSpan, max(every, longStep))}
}

// run looks until ctx ends.
func (w *watch) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-w.now:
		}
		w.look(ctx)
		timer.Reset(w.every)
	}
}

// look asks once, and shows what it found to all who wait for it.
func (w *watch) look(ctx context.Context) {
	asking, cancel := context.WithTimeout(ctx, askTimeout)
	status, err := w.spool.Status(asking, operate.StatusQuery{Limit: maxShown})
	cancel()
	if ctx.Err() != nil {
		return // what Close interrupts says nothing of the spool
	}
	l := &look{at: time.Now(), every: w.every, err: err}
	before, _ := w.latest()
	if before != nil {
		l.number = before.number + 1
		l.status, l.seen, l.failing = before.status, before.seen, before.failing
	}
	p := point{at: l.at}
	if err == nil {
		if before != nil && before.err != nil {
			w.log.Info("the spool answers again", "silent", l.at.Sub(before.failing).Round(time.Second))
		}
		l.status, l.seen, l.failing = status, l.at, time.Time{}
		n := &status.Counters
		p.ok, p.records, p.age = true, n.Open+n.Sealed, n.OldestSeconds
		p.acked, p.settled = n.Acked, n.Ingested+n.HandedOver+n.DeadLettered+n.Dropped
	} else if l.failing.IsZero() {
		l.failing = l.at
		w.log.Warn("the spool does not answer", "error", visible.String(err.Error()))
	}
	w.short.add(p)
	w.long.add(p)
	l.parts = partsOf(l, w.may)
	l.charts = map[string]string{"15m": chartsOf(w.short.series(), "15m"), "24h": chartsOf(w.long.series(), "24h")}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last = l
	close(w.changed)
	w.changed = make(chan struct{})
}

// latest is the last look, nil before the first, and what is closed at the next one.
func (w *watch) latest() (*look, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last, w.changed
}

// first waits a moment for the first look.
func (w *watch) first(ctx context.Context) *look {
	ctx, cancel := context.WithTimeout(ctx, firstWait)
	defer cancel()
	for {
		l, changed := w.latest()
		if l != nil {
			return l
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// again has the spool looked at now, and waits a moment for it: what an action did
// shows on the page that comes behind it.
func (w *watch) again(ctx context.Context) {
	_, changed := w.latest()
	select {
	case w.now <- struct{}{}:
	default:
	}
	ctx, cancel := context.WithTimeout(ctx, firstWait)
	defer cancel()
	select {
	case <-changed:
	case <-ctx.Done():
	}
}

package statushttp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"kustospool/internal/visible"
	"kustospool/operate"
)

// look is what one look at the spool found. It is not changed once it is there.
type look struct {
	number int
	at     time.Time       // of the answer, or of its absence
	status *operate.Status // of the last answer; nil where there never was one
	seen   time.Time       // when that was
	// err is why there is no answer now, and failing since when.
	err     error
	failing time.Time
	// HTML, made once, when the first reader wants it: a page that nobody looks at
	// costs a question to the spool and no more.
	parts  func() map[string]string // by the element's id
	charts map[string]func() string // the section with the charts, by range
}

// troubles is how many there are that somebody should look after. A spool that does not
// answer is one.
func (l *look) troubles() (n int) {
	if l.err != nil {
		n++
	}
	if l.status == nil {
		return n
	}
	for i := range l.status.Troubles {
		if l.status.Troubles[i].Level != operate.Note {
			n++
		}
	}
	return n
}

// show readies what is made of a look.
func (l *look) show(m may, short, long []point) {
	l.parts = sync.OnceValue(func() map[string]string { return partsOf(l, m) })
	l.charts = map[string]func() string{
		"15m": sync.OnceValue(func() string { return chartsPart("15m", chartsOf(seriesOf(short), "15m")) }),
		"24h": sync.OnceValue(func() string { return chartsPart("24h", chartsOf(seriesOf(long), "24h")) }),
	}
}

// watch looks at the spool again and again.
type watch struct {
	spool operate.Spool
	every time.Duration
	log   *slog.Logger
	may   may
	now   chan struct{} // a look is wanted at once

	mu      sync.Mutex
	begun   int           // how many looks; guarded by mu
	last    *look         // guarded by mu
	changed chan struct{} // guarded by mu; closed at the next look
	short   *ring         // of run alone
	long    *ring         // of run alone

	late   chan answer    // of the question under way; nil where there is none; of run alone
	asking sync.WaitGroup // the goroutine that waits for it; run joins it
}

// answer is what a spool said.
type answer struct {
	status *operate.Status
	err    error
}

// lateTime is how much longer than its context a question may take before the page goes on
// without its answer.
const lateTime = time.Second

func newWatch(spool operate.Spool, every time.Duration, log *slog.Logger, m may) *watch {
	return &watch{spool: spool, every: every, log: log, may: m, now: make(chan struct{}, 1), changed: make(chan struct{}),
		short: newRing(shortSpan, max(every, shortStep)), long: newRing(longSpan, max(every, longStep))}
}

// run looks until ctx ends.
func (w *watch) run(ctx context.Context) {
	defer w.asking.Wait()
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
	w.mu.Lock()
	w.begun++
	number := w.begun
	w.mu.Unlock()
	status, err := w.ask(ctx)
	if ctx.Err() != nil {
		return // what Close interrupts says nothing of the spool
	}
	if err == nil && status == nil {
		err = errors.New("the spool gave no answer and no error")
	}
	l := &look{number: number, at: time.Now(), err: err}
	before, _ := w.latest()
	if before != nil {
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
	l.show(w.may, slices.Clone(w.short.points), slices.Clone(w.long.points))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last = l
	close(w.changed)
	w.changed = make(chan struct{})
}

// ask asks the spool, and no longer than its time. A spool that goes on behind the end of the
// context, as one whose disk hangs may, is told as one that does not answer; it is asked
// nothing more until that question has ended.
func (w *watch) ask(ctx context.Context) (*operate.Status, error) {
	select {
	case <-w.late: // of what was asked before; too old to be shown
		w.late = nil
	default:
	}
	if w.late == nil {
		late := make(chan answer, 1)
		w.late = late
		w.asking.Go(func() {
			asking, cancel := context.WithTimeout(ctx, askTimeout)
			defer cancel()
			status, err := w.spool.Status(asking, operate.StatusQuery{Limit: maxShown})
			late <- answer{status, err}
		})
	}
	enough := time.NewTimer(askTimeout + lateTime)
	defer enough.Stop()
	select {
	case a := <-w.late:
		w.late = nil
		return a.status, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-enough.C:
		return nil, fmt.Errorf("no answer came within %s", askTimeout)
	}
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
	w.mu.Lock()
	want := w.begun + 1 // one under way may have seen what was before
	w.mu.Unlock()
	select {
	case w.now <- struct{}{}:
	default: // one is wanted already, and has not begun
	}
	ctx, cancel := context.WithTimeout(ctx, firstWait)
	defer cancel()
	for {
		l, changed := w.latest()
		if l != nil && l.number >= want {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

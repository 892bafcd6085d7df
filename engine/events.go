package engine

import (
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"kustospool/engine/internal/lifecycle"
	"kustospool/engine/internal/lock"
	"kustospool/ingest"
	"kustospool/internal/wake"
	"kustospool/store"
	"kustospool/transport"
)

const (
	// maxEvents bounds the events that wait for the observer.
	maxEvents = 4096
	// gatherEvents is how long events are gathered: a commit of every
	// acknowledgement must not wake one goroutine more.
	gatherEvents = 20 * time.Millisecond
	// timedCalls are the calls of that time that are all timed; of those beyond, one
	// in timedShare is. Two looks at the clock are a twentieth of what an
	// acknowledgement costs where hundreds of producers share a commit.
	timedCalls = 512
	timedShare = 16
)

// events hands the engine's events over to the observer: whoever sends one
// appends it to a list, and one goroutine takes the list. A nil *events is that of
// a spool without an observer, and takes nothing.
type events struct {
	// Immutable.
	to   Observer
	log  *slog.Logger
	wake wake.Signal
	quit chan struct{}
	done chan struct{} // closed when the goroutine has ended

	calls  sharedDurations // of calls that were timed and returned
	since  atomic.Int64    // calls since the list was taken
	ending atomic.Bool     // the goroutine is to end and has not

	mu     lock.Mutex // guards what is below; held for memory only
	begun  bool       // Recovered is in the list; what Open's store did before is in its Stats
	list   []Event
	acked  RecordsAcked // at the end of the list, unless it is of no commit
	folded EventsFolded // behind that; of no event while there is room
	took   [2]time.Duration
}

func newEvents(to Observer, log *slog.Logger) *events {
	if to == nil {
		return nil
	}
	return &events{to: to, log: log, wake: wake.New(), quit: make(chan struct{}), done: make(chan struct{}), mu: lock.Mutex{Name: "events"}}
}

// send takes an event.
func (e *events) send(ev Event) {
	if e == nil {
		return
	}
	e.mu.Lock()
	if e.begun {
		e.putLocked(ev)
	}
	e.mu.Unlock()
	e.wake.Raise()
}

// begin makes the first event of what was found. From here on others are taken.
func (e *events) begin(found *Stats) {
	if e == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.begun = true
	e.list = append(e.list, Recovered{At: found.At, Stats: *found})
}

// start begins to hand over, the first event with the time that Open took.
func (e *events) start(opened time.Time) {
	if e == nil {
		return
	}
	e.mu.Lock()
	first := e.list[0].(Recovered)
	first.Took = time.Since(opened)
	e.list[0] = first
	e.mu.Unlock()
	e.wake.Raise()
	go e.run()
}

// putLocked appends an event behind the acknowledgements that came before it.
func (e *events) putLocked(ev Event) {
	e.flushLocked()
	e.appendLocked(ev)
}

func (e *events) flushLocked() {
	if e.acked.Commits > 0 {
		e.appendLocked(e.acked)
		e.acked = RecordsAcked{}
	}
}

// appendLocked counts what there is no room for, and all that comes behind it.
func (e *events) appendLocked(ev Event) {
	if e.folded.Events > 0 || len(e.list) >= maxEvents {
		e.folded.add(ev)
		return
	}
	e.list = append(e.list, ev)
}

// timed is the log telling how long the commit took that it tells of next.
func (e *events) timed(commit, sync time.Duration) {
	if e != nil {
		e.took = [2]time.Duration{commit, sync} // of the goroutine that commits, one at a time
	}
}

// committed is the store's committer telling what it wrote.
func (e *events) committed(frames []store.Frame) {
	if e == nil {
		return
	}
	now := time.Now()
	e.mu.Lock()
	if e.begun {
		a := &e.acked
		a.At = now
		a.Commits++
		a.Commit.Add(e.took[0])
		a.Sync.Add(e.took[1])
		for i := range frames {
			a.Records += frames[i].Records()
			a.Bytes += frames[i].Bytes
		}
	}
	e.mu.Unlock()
	e.wake.Raise()
}

// called is the time at which a call begins that stores records; zero for one that
// is not timed.
func (e *events) called() (t time.Time) {
	if e == nil {
		return t
	}
	if n := e.since.Add(1); n <= timedCalls || n%timedShare == 0 {
		t = time.Now()
	}
	return t
}

// returned is told of each call that stored records.
func (e *events) returned(called time.Time) {
	if !called.IsZero() {
		e.calls.add(time.Since(called))
	}
}

// waited is told of each call that found the spool full, when that is over.
func (e *events) waited(began time.Time, err error) {
	if e != nil {
		now := time.Now()
		e.send(WaitedForRoom{At: now, Took: now.Sub(began), Stored: err == nil})
	}
}

// settled is the store telling of a final batch.
func (e *events) settled(row store.Entry) {
	if e == nil || row.State == ingest.Split {
		return
	}
	ev := BatchSettled{At: time.Now(), Batch: row.Batch, State: row.State, Attempts: row.Attempts, Failure: row.Failure}
	if oldest := row.Batch.Oldest; !oldest.IsZero() {
		ev.Took = max(0, ev.At.Sub(oldest))
	}
	e.send(ev)
}

// handled is told of a dead letter that is none any more.
func (e *events) handled(id ingest.BatchID, how string) {
	if e != nil {
		e.send(DeadLetterHandled{At: time.Now(), Batch: id, How: how})
	}
}

func (e *events) sealed(rows []store.Entry) {
	if e == nil {
		return
	}
	for i := range rows {
		e.send(BatchSealed{At: time.Now(), Batch: rows[i].Batch})
	}
}

func (e *events) split(row *store.Entry, parts []store.Entry) {
	if e == nil {
		return
	}
	ev := BatchSplit{At: time.Now(), Batch: row.Batch, Parts: make([]ingest.Batch, len(parts)), Failure: row.Failure}
	for i := range parts {
		ev.Parts[i] = parts[i].Batch
	}
	e.send(ev)
}

// begins is told of an attempt right before the transport is called.
func (e *events) begins(row *store.Entry) {
	if e != nil {
		e.send(AttemptBegun{At: time.Now(), Batch: row.Batch, Attempt: row.Attempts})
	}
}

// ended is told how an attempt ended and what became of the batch; now is nil
// where that could not be recorded.
func (e *events) ended(began time.Time, row *store.Entry, ev *lifecycle.Event, now *store.Entry) {
	if e == nil {
		return
	}
	out := AttemptEnded{At: time.Now(), Batch: row.Batch, Attempt: row.Attempts, Outcome: outcomeOf(ev), WireBytes: ev.Wire, Failure: ev.Failure}
	out.Took = out.At.Sub(began)
	if now != nil {
		out.State = now.State
	} else {
		out.Outcome = "not_recorded"
	}
	if ev.Kind == lifecycle.Damaged {
		e.send(DamageFound{At: out.At, Batch: row.Batch, What: ev.Failure.Message})
	}
	e.send(out)
}

// outcomeOf is an answer as one word of few.
func outcomeOf(ev *lifecycle.Event) string {
	switch ev.Kind {
	case lifecycle.AnsweredAccepted:
		return "accepted"
	case lifecycle.AnsweredHandedOver:
		return "handed_over"
	case lifecycle.AnsweredSucceeded:
		return "ingested"
	case lifecycle.AnsweredSkipped:
		return "skipped"
	case lifecycle.CutOff:
		return "cut_off"
	}
	return ev.Failure.Class // also "damaged"
}

// decided is told of a verdict, or of the want of one, that moved a batch.
func (e *events) decided(row *store.Entry, why *ingest.Failure) {
	if e != nil {
		e.send(BatchDecided{At: time.Now(), Batch: row.Batch, State: row.State, Failure: why})
	}
}

// take gives all that waits.
func (e *events) take() []Event {
	calls := e.calls.take()
	e.since.Store(0)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.flushLocked()
	list := e.list
	e.list = nil
	if e.folded.Events > 0 {
		list = append(list, e.folded)
		e.folded = EventsFolded{}
	}
	if calls.Count() > 0 {
		list = append(list, CallsReturned{At: time.Now(), Took: calls})
	}
	return list
}

// run hands events over until end.
func (e *events) run() {
	defer close(e.done)
	pause := time.NewTimer(gatherEvents)
	defer pause.Stop()
	told := false
	for last := false; !last; {
		select {
		case <-e.wake:
			pause.Reset(gatherEvents)
			select {
			case <-pause.C:
			case <-e.quit:
			}
		case <-e.quit:
			last = true
		}
		for list := e.take(); len(list) > 0; {
			var err error
			list, err = e.hand(list)
			if bad, ok := errors.AsType[*transport.PanicError](err); ok && !told {
				told = true // a panic for each event would be a line for each
				e.log.Error("the observer panicked; its next panics are not told", "panic", bad.Words, "stack", bad.Stack)
			}
		}
	}
}

// hand gives the events to the observer until that panics, and returns what is
// left.
func (e *events) hand(list []Event) ([]Event, error) {
	n := 0
	err := transport.Guard("Observer.Observe", func() error {
		for n < len(list) {
			n++
			e.to.Observe(list[n-1])
		}
		return nil
	})
	return list[n:], err
}

// end hands over what is left. Nothing may be sent any more.
func (e *events) end() {
	if e != nil {
		e.ending.Store(true)
		close(e.quit)
		<-e.done
		e.ending.Store(false)
	}
}

// waitedFor reports whether end waits for the observer.
func (e *events) waitedFor() bool { return e != nil && e.ending.Load() }

// add counts an event.
func (f *EventsFolded) add(ev Event) {
	f.Events++
	switch ev := ev.(type) {
	case RecordsAcked:
		f.At = ev.At
		f.Acked += ev.Records
		f.AckedBytes += ev.Bytes
		f.Commits += ev.Commits
		f.Commit.Merge(&ev.Commit)
		f.Sync.Merge(&ev.Sync)
	case BatchSealed:
		f.At = ev.At
		f.Sealed++
	case AttemptBegun:
		f.At = ev.At
		f.AttemptsBegun++
	case AttemptEnded:
		f.At = ev.At
		if f.AttemptsEnded == nil {
			f.AttemptsEnded = make(map[string]int64)
		}
		f.AttemptsEnded[ev.Outcome]++
	case BatchDecided:
		f.At = ev.At
		f.Decided++
	case BatchSplit:
		f.At = ev.At
		f.Splits++
		f.Parts += int64(len(ev.Parts))
	case BatchSettled:
		f.At = ev.At
		ev.Count(&f.Settled, &f.SettledBatches)
	case DeadLetterHandled:
		f.At = ev.At
		f.Handled++
	case DamageFound:
		f.At = ev.At
		f.Damage++
	case WaitedForRoom:
		f.At = ev.At
		f.WaitedForRoom++
	}
}

// Count adds the batch, and its records, to what is settled.
func (ev *BatchSettled) Count(records *Settled, batches *SettledBatches) {
	n := ev.Batch.Records()
	switch ev.State {
	case ingest.Succeeded:
		records.Ingested += n
		batches.Ingested++
	case ingest.Skipped:
		records.Skipped += n
		batches.Skipped++
	case ingest.HandedOver:
		records.HandedOver += n
		batches.HandedOver++
	case ingest.DeadLettered:
		records.DeadLettered += n
		batches.DeadLettered++
	case ingest.Dropped:
		records.Dropped += n
		batches.Dropped++
	}
}

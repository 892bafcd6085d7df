package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"kustospool/engine/internal/lifecycle"
	"kustospool/engine/internal/live"
	"kustospool/ingest"
	"kustospool/store"
	"kustospool/transport"
)

// trackTimeout bounds one question.
const trackTimeout = time.Minute

// recordTogether is how many outcomes are written at the same time: each waits
// for the disk, and they share the commits of the ledger.
const recordTogether = 64

// tracker asks the destinations what became of batches, and resolves attempts
// of unknown outcome: it looks for them for a while and then has them sent
// again, under the same tag.
type tracker struct {
	questions questions
	books     outcomeBooks
	events    *events
	asker     asker
	wake      <-chan struct{}

	ledgerTrouble *trouble
}

// questions says what is to be asked, and hears what was answered.
type questions interface {
	Due(now time.Time) (ask map[string][]ingest.BatchID, overdue []ingest.BatchID, wait time.Duration)
	Inquired(to string, err error)
	Answered(to string, ids []ingest.BatchID, how func(ingest.BatchID) live.Heard)
	Reported(e store.Entry, r live.Result)
	Postpone(id ingest.BatchID)
}

// outcomeBooks keeps the outcomes.
type outcomeBooks interface {
	row(ingest.BatchID) (store.Entry, bool)
	happened(context.Context, ingest.BatchID, lifecycle.Event) (change, error)
	lost(ingest.BatchID)
}

// asker asks a destination.
type asker interface {
	Track(context.Context, []transport.Pending) ([]transport.Verdict, error)
	Tracks() bool
}

// run puts questions until ctx ends, and then waits for those under way, which
// see the same ctx.
func (t *tracker) run(ctx context.Context) {
	var asking sync.WaitGroup
	defer asking.Wait()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		ask, overdue, wait := t.questions.Due(time.Now())
		t.wrote(each(overdue, func(id ingest.BatchID) (bool, error) { return t.sendAgain(ctx, id) }))
		for to, ids := range ask {
			asking.Go(func() { t.ask(ctx, to, ids) })
		}
		if len(overdue) > 0 {
			continue
		}
		timer.Reset(wait)
		select {
		case <-t.wake:
		case <-timer.C:
		case <-ctx.Done():
		}
	}
}

// each does something about all of a list, some at the same time, and returns
// when all is done: whether any of it was written, and the first error.
func each[T any](list []T, do func(T) (wrote bool, err error)) (bool, error) {
	var together errgroup.Group
	together.SetLimit(recordTogether)
	var some atomic.Bool
	for _, one := range list {
		together.Go(func() error {
			wrote, err := do(one)
			if wrote {
				some.Store(true)
			}
			return err
		})
	}
	err := together.Wait()
	return some.Load(), err
}

// wrote tells of a ledger that could not be written, however many batches that is
// about and however often: each is asked for, or sent, again.
func (t *tracker) wrote(some bool, err error) {
	switch {
	case errors.Is(err, store.ErrClosed) || errors.Is(err, store.ErrFailed): // the store said so itself
	case err != nil:
		t.ledgerTrouble.begin("err", err)
	case some:
		t.ledgerTrouble.end()
	}
}

// ask puts one question to a destination and records the answers.
func (t *tracker) ask(ctx context.Context, to string, ids []ingest.BatchID) {
	pending := make([]transport.Pending, 0, len(ids))
	for _, id := range ids {
		if e, ok := t.books.row(id); ok {
			pending = append(pending, transport.Pending{Batch: &e.Batch, Progress: e.Progress})
		} else {
			t.books.lost(id)
		}
	}
	askCtx, cancel := context.WithTimeout(ctx, trackTimeout)
	defer cancel()
	verdicts, err := t.asker.Track(askCtx, pending)
	if err == nil || ctx.Err() == nil { // else it was cut off
		t.questions.Inquired(to, err)
	}
	answered := make(map[ingest.BatchID]live.Heard)
	for _, v := range verdicts {
		answered[v.Batch] = live.AnAnswer
		if v.State == ingest.Unknown {
			answered[v.Batch] = live.ARefusal
		}
	}
	t.wrote(each(verdicts, func(v transport.Verdict) (bool, error) {
		if v.State == 0 || v.State == ingest.Unknown {
			return false, nil
		}
		return t.record(context.WithoutCancel(ctx), v)
	}))
	// What of them could be asked about does not wait for the rest.
	t.questions.Answered(to, ids, func(id ingest.BatchID) live.Heard {
		if how := answered[id]; how != live.Nothing || err != nil {
			return how
		}
		return live.AnAnswer
	})
}

// record records a verdict, and says whether there was something to write.
func (t *tracker) record(ctx context.Context, v transport.Verdict) (bool, error) {
	if _, there := t.books.row(v.Batch); !there {
		return false, nil // settled by an earlier answer
	}
	ev := t.event(v)
	c, err := t.books.happened(ctx, v.Batch, ev)
	if err != nil {
		return false, fmt.Errorf("recording the outcome of batch %s: %w", v.Batch, err)
	}
	if !c.do.Has(lifecycle.Forget) {
		return false, nil
	}
	t.events.decided(&c.entry, ev.Failure)
	t.questions.Reported(c.entry, live.Result{Again: c.queue, Err: v.Failure, Settled: c.settled()})
	return true, nil
}

// event is that of a verdict.
func (t *tracker) event(v transport.Verdict) lifecycle.Event {
	now := time.Now()
	ev := lifecycle.Event{Kind: lifecycle.ReportedNothing, Tracked: t.asker.Tracks()}
	switch {
	case v.State == ingest.Succeeded:
		ev.Kind = lifecycle.ReportedSucceeded
	case v.State == ingest.Skipped:
		ev.Kind = lifecycle.ReportedSkipped
	case v.Failure != nil && v.Failure.Class == transport.Unknown:
	case v.State == ingest.Accepted:
		ev.Kind = lifecycle.ReportedAccepted
	case v.State != ingest.DeadLettered || v.Failure == nil:
	default:
		ev.Failure = v.Failure.Failure(now)
		switch v.Failure.Class {
		case transport.Malformed:
			ev.Kind = lifecycle.ReportedMalformed
		case transport.Permanent:
			ev.Kind = lifecycle.ReportedPermanent
		default:
			ev.Kind, ev.At = lifecycle.ReportedNotNow, now.Add(v.Failure.RetryAfter)
		}
	}
	return ev
}

// sendAgain gives up waiting, and says whether there was something to write.
func (t *tracker) sendAgain(ctx context.Context, id ingest.BatchID) (bool, error) {
	if _, there := t.books.row(id); !there {
		t.books.lost(id)
		return false, nil
	}
	c, err := t.books.happened(context.WithoutCancel(ctx), id, lifecycle.Event{Kind: lifecycle.Unheard})
	if err != nil {
		t.questions.Postpone(id)
		return false, fmt.Errorf("recording that batch %s is sent again: %w", id, err)
	}
	t.events.decided(&c.entry, nil)
	t.questions.Reported(c.entry, live.Result{Again: c.queue})
	return true, nil
}

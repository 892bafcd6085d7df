package spools

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"

	"kustospool/ingest"
	"kustospool/internal/wake"
	"kustospool/store"
)

// settlers is how many batches are settled at the same time: those of many
// lanes then share the ledger's commits.
const settlers = 16

// taker seals what a store has committed and settles it: a destination that
// takes, without an engine between. It has one goroutine, from start to stop.
type taker struct {
	store *store.Store // set by start
	wake  wake.Signal
	quit  chan struct{}
	done  sync.WaitGroup

	// turn is held while batches are sealed and settled: a lane's ranges have
	// to be sealed in order.
	turn sync.Mutex

	mu    sync.Mutex // guards all below
	open  map[uint32]*store.Seal
	bytes int64 // in open
	err   error // the first failure in the background
}

func newTaker() *taker {
	return &taker{wake: wake.New(), quit: make(chan struct{}), open: make(map[uint32]*store.Seal)}
}

func (t *taker) start(s *store.Store) {
	t.store = s
	t.done.Go(t.run)
}

// stop joins the goroutine. What was not taken stays in the store.
func (t *taker) stop() error {
	close(t.quit)
	t.done.Wait()
	return t.err
}

// committed is the store's Options.Committed: it is quick and calls nothing.
func (t *taker) committed(frames []store.Frame) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range frames {
		seal := t.open[f.Lane]
		if seal == nil {
			seal = &store.Seal{Lane: f.Lane, First: f.First, Guarantee: ingest.ExactlyOnce, Confirm: ingest.ConfirmIngested}
			t.open[f.Lane] = seal
		}
		seal.Last = f.Last
		seal.Bytes += f.Bytes
		t.bytes += f.Bytes
	}
	if t.bytes >= takeBytes {
		t.wake.Raise()
	}
}

func (t *taker) run() {
	for {
		select {
		case <-t.wake:
		case <-t.quit:
			return
		}
		if err := t.take(context.Background()); err != nil {
			t.mu.Lock()
			t.err = err
			t.mu.Unlock()
			return
		}
	}
}

// take seals everything that is committed, and settles it.
func (t *taker) take(ctx context.Context) error {
	t.turn.Lock()
	defer t.turn.Unlock()
	t.mu.Lock()
	seals := make([]store.Seal, 0, len(t.open))
	for _, s := range t.open {
		seals = append(seals, *s)
	}
	clear(t.open)
	t.bytes = 0
	t.mu.Unlock()
	if len(seals) == 0 {
		return nil
	}
	batches, err := t.store.Seal(ctx, seals)
	if err != nil {
		return err
	}
	var settling errgroup.Group
	settling.SetLimit(settlers)
	for _, b := range batches {
		settling.Go(func() error {
			_, err := t.store.Transition(ctx, b.Batch.ID, ingest.Sealed, func(e *store.Entry) { e.State = ingest.Sending })
			if err == nil {
				_, err = t.store.Transition(ctx, b.Batch.ID, ingest.Sending, func(e *store.Entry) { e.State = ingest.Succeeded })
			}
			return err
		})
	}
	return settling.Wait()
}

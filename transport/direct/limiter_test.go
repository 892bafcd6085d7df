package direct

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/transport"
)

func limiterOf(fetch func(context.Context) (int, error)) *limiter {
	g := newLimiter(1)
	g.askBy(fetch)
	return g
}

// 64 lanes against a cluster that takes 6 commands of a second each: never
// more than the share is under way, nothing is refused, and the work is done
// within a tenth of the time that the capacity needs.
func TestSixtyFourLanesOnACapacityOfSix(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const lanes, capacity, each = 64, 6, 30
		var (
			mu              sync.Mutex
			active, refusal int
			late            int // refusals after the first minute
		)
		begun := time.Now()
		g := limiterOf(func(context.Context) (int, error) { return capacity, nil })
		var all sync.WaitGroup
		for range lanes {
			all.Go(func() {
				for done := 0; done < each; {
					s, err := g.acquire(t.Context(), time.Hour)
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					full := active >= capacity
					if full {
						refusal++
						if time.Since(begun) > time.Minute {
							late++
						}
					} else {
						active++
					}
					mu.Unlock()
					if full {
						s.release(refused)
						time.Sleep(time.Second)
						continue
					}
					time.Sleep(time.Second)
					mu.Lock()
					active--
					mu.Unlock()
					s.release(passed)
					done++
				}
			})
		}
		all.Wait()
		took, optimum := time.Since(begun), lanes*each*time.Second/capacity
		f := g.figures()
		t.Logf("%d commands in %v, optimum %v; peak %d, refused %d", lanes*each, took, optimum, f.Peak, refusal)
		if f.Peak > capacity || late != 0 || took > optimum*11/10 {
			t.Errorf("peak %d, %d refused after the first minute, %v for an optimum of %v", f.Peak, late, took, optimum)
		}
		if f.InFlight != 0 || f.Waiting != 0 {
			t.Errorf("at the end %+v", f)
		}
	})
}

// The cluster says 24 and takes 6, because others use the rest: refusals bring
// the limit down, and commands that pass bring it up again.
func TestRefusalsHalveTheLimit(t *testing.T) {
	g := limiterOf(func(context.Context) (int, error) { return 24, nil })
	ctx := t.Context()
	var slots []slot
	for range 24 {
		s, err := g.acquire(ctx, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		slots = append(slots, s)
	}
	for _, s := range slots {
		s.release(refused)
	}
	if f := g.figures(); f.Limit != 12 || f.Throttled != 24 {
		t.Errorf("after one burst of refusals: %+v, want a limit of 12", f)
	}
	for range 12 * 20 {
		s, err := g.acquire(ctx, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		s.release(passed)
	}
	if f := g.figures(); f.Limit <= 18 || f.Limit > 24 {
		t.Errorf("after 240 commands that passed: %+v", f)
	}
}

// A Send that finds no slot waits within its time and then says Throttled; one
// whose context ends leaves no trace.
func TestWaitingForASlotEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := limiterOf(func(context.Context) (int, error) { return 1, nil })
		s, err := g.acquire(t.Context(), time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		_, err = g.acquire(t.Context(), 30*time.Second)
		var e *transport.Error
		if !errors.As(err, &e) || e.Class != transport.Throttled || e.RetryAfter == 0 {
			t.Errorf("%v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err = g.acquire(ctx, time.Minute); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		s.release(passed)
		if f := g.figures(); f.InFlight != 0 || f.Waiting != 0 {
			t.Errorf("%+v", f)
		}
	})
}

// Clients that share a Limit have one number of slots together, and its figures
// tell when the cluster was asked and how that went.
func TestSharedLimit(t *testing.T) {
	if _, err := NewLimit(1.5); !errors.Is(err, ingest.ErrInvalid) {
		t.Errorf("a share of 1.5: %v", err)
	}
	limit, err := NewLimit(0.5)
	if err != nil {
		t.Fatal(err)
	}
	sim := startSim(t, &kustosim.Options{AutoCreate: true, IngestCapacity: 4})
	var clients []*Client
	for range 2 {
		c, err := NewClient(sim.Endpoint(), nil, &ClientOptions{Limit: limit, SlotWait: 20 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if f := c.Figures(); f != nil {
			t.Errorf("figures before the first command: %v", f)
		}
		clients = append(clients, c)
	}
	for i, c := range []*Client{clients[0], clients[1]} {
		if _, err := c.limiter.acquire(t.Context(), time.Second); err != nil {
			t.Fatalf("slot %d: %v", i, err)
		}
	}
	var e *transport.Error
	if _, err := clients[1].limiter.acquire(t.Context(), 20*time.Millisecond); !errors.As(err, &e) || e.Class != transport.Throttled {
		t.Errorf("a third slot of two: %v", err)
	}
	s := limit.of.figures()
	if s.Total != 4 || s.Share != 2 || s.InFlight != 2 || s.Refreshed.IsZero() || s.Failed != 0 {
		t.Errorf("%+v", s)
	}
	figures := map[string]int64{}
	for _, f := range clients[0].Figures() {
		figures[f.Name] = f.Value
	}
	if figures["capacity_in_flight"] != 2 || figures["capacity_share"] != 2 || figures["capacity_age_seconds"] < 0 || len(figures) != 8 {
		t.Errorf("%v", figures)
	}
}

// A cluster that does not tell its capacity: six are assumed, and the figures
// say that they are.
func TestCapacityNotTold(t *testing.T) {
	g := limiterOf(func(context.Context) (int, error) { return 0, errors.New("no") })
	if _, err := g.acquire(t.Context(), time.Second); err != nil {
		t.Fatal(err)
	}
	if s := g.figures(); s.Total != 6 || !s.Refreshed.IsZero() || s.Failed != 1 {
		t.Errorf("%+v", s)
	}
}

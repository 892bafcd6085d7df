package e2e_test

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/internal/testutil/ledger"
	"kustospool/internal/testutil/simspool"
	"kustospool/transport/budget"
	"kustospool/transport/queued"
)

// A day's budget that is too small for the backlog is not exceeded; batches wait,
// and say why. With a larger one all arrive once, those that were on the wire when
// the first was used up included.
func TestBudgetHoldsBatchesBack(t *testing.T) {
	sim := startSim(t, nil)
	dir := t.TempDir()
	var books ledger.Ledger
	o := quick()
	client := func(bytes int64) (*queued.Client, *budget.Meter) {
		m, err := budget.Open(filepath.Join(dir, "budget"), &budget.Options{BytesPerDay: bytes})
		if err != nil {
			t.Fatal(err)
		}
		c, err := queued.NewClient(sim.Endpoint(), nil, &queued.ClientOptions{Budget: m, TrackInterval: 20 * time.Millisecond, RequestTimeout: 5 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		return c, m
	}
	const small = 256 << 10
	c, m := client(small)
	s, err := engine.Open(dir, c, o)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(3, 3))
	for range 16 {
		var some []*ingest.Request
		for n := range 500 {
			some = append(some, &ingest.Request{Properties: telemetry, Data: noise(r, n)})
		}
		rcpts, err := s.IngestAll(t.Context(), some)
		if err != nil {
			t.Fatal(err)
		}
		for n, rcpt := range rcpts {
			books.Acked(rcpt.String(), string(some[n].Data))
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	held := func() bool {
		f := s.Stats().Unhealthy
		return f != nil && strings.Contains(f.Message, "budget of the day")
	}
	for look := time.NewTicker(20 * time.Millisecond); !held(); {
		select {
		case <-look.C:
		case <-ctx.Done():
			t.Fatalf("nothing was held back: %+v", s.Stats())
		}
	}
	figures := map[string]int64{}
	for _, f := range s.Stats().Transport {
		figures[f.Name] = f.Value
	}
	if figures["budget_passed"] > small || figures["budget_passed"] < small*3/4 || figures["budget_open"] != 0 || figures["budget_day_used"] != small {
		t.Errorf("figures %v", figures)
	}
	waiting := s.Stats().Waiting.Records
	if waiting == 0 || sim.Count(database, tableName) == 0 {
		t.Errorf("%d records wait, and %d are there", waiting, sim.Count(database, tableName))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}

	c, m = client(64 << 20)
	s = simspool.Open(t, dir, c, o)
	t.Cleanup(func() { m.Close() })
	drain(t, s, time.Minute)
	balanced(t, sim, &books, ledger.ExactlyOnce)
	t.Logf("%d bytes of %d passed at first, with %d records left", figures["budget_passed"], small, waiting)
}

package e2e_test

import (
	"runtime"
	"slices"
	"testing"
	"time"

	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/internal/testutil/ledger"
)

// down takes every host of the service away and returns what brings it back.
func down(sim *kustosim.Sim) func() {
	var back []func()
	for _, h := range []kustosim.Host{kustosim.DM, kustosim.Blob, kustosim.Queue, kustosim.Table} {
		back = append(back, sim.Fault(h, kustosim.Fault{Kind: kustosim.Refuse}))
	}
	return func() {
		for _, f := range back {
			f()
		}
	}
}

// heap is the live heap after a collection.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// The service is away when the spool opens, comes, goes again in the middle of
// the load, and comes back. Ingest does not notice, the heap does not grow with
// the backlog, and all arrives once.
func TestOutage(t *testing.T) {
	sim := startSim(t, nil)
	up := down(sim)
	o := quick()
	o.Batch.MaxBytes = 1 << 20
	s := mustOpen(t, t.TempDir(), sim.Endpoint(), o)

	const perPhase = 4000
	var books ledger.Ledger
	var median [3]time.Duration
	var live [3]int64
	phase := func(i int) {
		took := make([]time.Duration, 0, perPhase)
		for n := range perPhase {
			rec := record(i, n)
			begin := time.Now()
			r, err := s.Ingest(t.Context(), &ingest.Request{Properties: telemetry, Data: []byte(rec)})
			if err != nil {
				t.Fatalf("phase %d: %v", i, err)
			}
			took = append(took, time.Since(begin))
			books.Acked(r.String(), rec)
		}
		slices.Sort(took)
		median[i], live[i] = took[perPhase/2], heap()
	}
	phase(0) // down from the start
	if n := sim.Count(database, tableName); n != 0 {
		t.Fatalf("%d rows while the service is down", n)
	}
	up()
	phase(1)
	up = down(sim)
	phase(2)
	up()
	drain(t, s, time.Minute)
	balanced(t, sim, &books, ledger.ExactlyOnce)
	conserved(t, s)
	t.Logf("median ack: down %v, up %v, down again %v; live heap %d, %d, %d KiB",
		median[0], median[1], median[2], live[0]>>10, live[1]>>10, live[2]>>10)
	// The simulator's rows and the test's own books are part of this heap and
	// grow with each phase, by some 150 bytes a record each; a spool that kept
	// its backlog in memory would add as much again for every record waiting.
	// So are the buffers of uploads, at most two of 2 MiB for each sender.
	if grown := live[2] - live[0]; grown > 20<<20 {
		t.Errorf("the heap grew by %d KiB over the outages", grown>>10)
	}
}

// Each part of the service fails by itself, in each way it can.
func TestEachHostFails(t *testing.T) {
	cases := []struct {
		name  string
		host  kustosim.Host
		fault kustosim.Fault
	}{
		{"dm 503", kustosim.DM, kustosim.Fault{Kind: kustosim.Respond, Status: 503, Times: 3}},
		{"dm 429", kustosim.DM, kustosim.Fault{Kind: kustosim.Respond, Status: 429, Times: 3}},
		{"dm 403", kustosim.DM, kustosim.Fault{Kind: kustosim.Respond, Status: 403, Times: 3}},
		{"dm reset", kustosim.DM, kustosim.Fault{Kind: kustosim.Down, Times: 3}},
		{"blob 503", kustosim.Blob, kustosim.Fault{Kind: kustosim.Respond, Status: 503, Times: 12}},
		{"blob 403", kustosim.Blob, kustosim.Fault{Kind: kustosim.Respond, Status: 403, Times: 4}},
		{"blob reset", kustosim.Blob, kustosim.Fault{Kind: kustosim.Down, Times: 12}},
		{"blob slow", kustosim.Blob, kustosim.Fault{Kind: kustosim.Slow, Delay: 50 * time.Millisecond}},
		{"queue 500", kustosim.Queue, kustosim.Fault{Kind: kustosim.Respond, Status: 500, Times: 3}},
		{"queue 503", kustosim.Queue, kustosim.Fault{Kind: kustosim.Respond, Status: 503, Times: 3}},
		{"queue 403", kustosim.Queue, kustosim.Fault{Kind: kustosim.Respond, Status: 403, Times: 3}},
		{"queue reset", kustosim.Queue, kustosim.Fault{Kind: kustosim.Down, Times: 3}},
		{"table 503", kustosim.Table, kustosim.Fault{Kind: kustosim.Respond, Status: 503, Times: 6}},
		{"table 403", kustosim.Table, kustosim.Fault{Kind: kustosim.Respond, Status: 403, Times: 3}},
		{"one account dead", kustosim.Blob.Account(0), kustosim.Fault{Kind: kustosim.Refuse}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			sim := startSim(t, nil)
			sim.Fault(c.host, c.fault)
			s := mustOpen(t, t.TempDir(), sim.Endpoint(), quick())
			var books ledger.Ledger
			ingestConcurrently(t, s, &books, 2, 20)
			drain(t, s, time.Minute)
			balanced(t, sim, &books, ledger.ExactlyOnce)
			conserved(t, s)
		})
	}
}

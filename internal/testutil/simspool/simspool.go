// Package simspool sets up what tests of delivery begin with: a simulated service,
// and a spool that delivers to it. Both end with the test, which fails when one
// does not end well.
package simspool

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"kustospool/engine"
	"kustospool/internal/kustosim"
	"kustospool/transport"
)

// Start starts a simulated service.
func Start(t testing.TB, o *kustosim.Options) *kustosim.Sim {
	t.Helper()
	sim, err := kustosim.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sim.Close(); err != nil {
			t.Errorf("closing the simulator: %v", err)
		}
	})
	return sim
}

// Open opens a spool that delivers through tr, which it owns from then on.
func Open(t testing.TB, dir string, tr transport.Transport, o *engine.Options) *engine.Spool {
	t.Helper()
	s, err := engine.Open(dir, tr, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("closing the spool: %v", err)
		}
	})
	return s
}

// settleWithin is more than the simulator needs for what it was given.
const settleWithin = 20 * time.Second

// Settle waits until everything that was queued or commanded has come to an end
// and was reported.
func Settle(t testing.TB, sim *kustosim.Sim) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), settleWithin)
	defer cancel()
	err := sim.Wait(ctx, func() bool {
		s := sim.Stats()
		ended := s.Ingested - s.Streamed + s.SkippedByTag
		for _, n := range s.Failed {
			ended += n
		}
		queued := s.MessagesPosted + s.BlobsQueued
		return ended >= queued && s.ReportsWritten >= queued && sim.CommandsUnderWay() == 0
	})
	if err != nil {
		t.Fatalf("the simulator does not settle: %v; %+v", err, sim.Stats())
	}
}

// Text is a row of a table without a schema as it was sent: a document, or a row
// of three columns whose last one is quoted.
func Text(row kustosim.Row) string {
	var csv struct{ C0, C1, C2 *string }
	if json.Unmarshal(row, &csv) == nil && csv.C0 != nil {
		return fmt.Sprintf("%s,%s,%q", *csv.C0, *csv.C1, *csv.C2)
	}
	return string(row)
}

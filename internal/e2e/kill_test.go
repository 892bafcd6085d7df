package e2e_test

import (
	"context"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/internal/testutil/crash"
	"kustospool/internal/testutil/ledger"
)

const childWriters = 4

// writers is a child that ingests and delivers until it is killed. Its
// arguments are the spool's directory, the endpoint, and the round, which
// makes its records unlike those of other rounds.
func writers(c *crash.Child) {
	round, err := strconv.Atoi(c.Args[2])
	if err != nil {
		c.Fatalf("round: %v", err)
	}
	o := quick()
	o.Batch.MaxBytes = 8 << 10
	s, err := openQueued(c.Args[0], c.Args[1], o)
	if err != nil {
		c.Fatalf("open: %v", err)
	}
	var wg sync.WaitGroup
	for w := range childWriters {
		wg.Go(func() {
			for n := 0; ; n++ {
				rec := record(w+childWriters*round, n)
				c.Try(rec)
				r, err := s.Ingest(context.Background(), &ingest.Request{Properties: telemetry, Data: []byte(rec)})
				if err != nil {
					c.Fatalf("ingest: %v", err)
				}
				c.Ack(r.String(), rec)
			}
		})
	}
	wg.Wait()
}

// TestKill kills the process that ingests and delivers with SIGKILL, again and
// again, on one spool; the next one goes on. In the end every acknowledged
// record is in the table once.
func TestKill(t *testing.T) {
	t.Run("built-in", func(t *testing.T) { killRounds(t, nil, rounds(t, 50)) })
	t.Run("azurite", func(t *testing.T) { killRounds(t, onAzurite(t), min(rounds(t, 8), 8)) })
}

// rounds is how many kills: n, or what E2E_ROUNDS asks for.
func rounds(t *testing.T, n int) int {
	if v := os.Getenv("E2E_ROUNDS"); v != "" {
		var err error
		if n, err = strconv.Atoi(v); err != nil || n < 1 {
			t.Fatalf("E2E_ROUNDS %q must be a positive number", v)
		}
	}
	return n
}

func killRounds(t *testing.T, o *kustosim.Options, n int) {
	sim := startSim(t, o)
	rng := crash.Seed(t)
	dir := t.TempDir()
	var books ledger.Ledger
	var acks []crash.Ack
	for round := range n {
		how := crash.Options{Program: "writers", Args: []string{dir, sim.Endpoint(), strconv.Itoa(round)}}
		if rng.IntN(4) == 0 { // at any time, the opening of the spool included
			how.KillAfter = time.Duration(1+rng.IntN(150)) * time.Millisecond
		} else {
			how.KillAcks = 1 + rng.IntN(150)
		}
		result := crash.Run(t, how)
		result.Book(&books)
		acks = append(acks, result.Acks...)
	}
	atKill := sim.Count(database, tableName)
	s := mustOpen(t, dir, sim.Endpoint(), quick())
	drain(t, s, 2*time.Minute)
	report := balanced(t, sim, &books, ledger.ExactlyOnce)
	conserved(t, s)
	for _, a := range acks {
		id, err := ingest.ParseID(a.ID)
		if err != nil {
			t.Fatal(err)
		}
		if st, err := s.Status(t.Context(), id); err != nil || !st.State.Ingested() {
			t.Fatalf("status of acknowledged record %s: %+v, %v", id, st, err)
		}
	}
	st := s.Stats()
	t.Logf("%d kills: %d records acknowledged, %d rows when the last one died, %d at the end, %d of them unacknowledged; %d batches ingested, %d found already there",
		n, books.Len(), atKill, sim.Count(database, tableName), report.Maybes, st.SettledBatches.Ingested, st.SettledBatches.Skipped)
	if st.Acked < int64(books.Len()) || len(acks) == 0 {
		t.Fatalf("the books of the spool have %d records, %d were acknowledged", st.Acked, books.Len())
	}

	// Negative control: an acknowledged row that is missing, or there twice, must
	// be seen.
	rows := rowTexts(sim)
	at := slices.Index(rows, acks[len(acks)/2].Content)
	if books.Check(ledger.Places{Ingested: slices.Delete(slices.Clone(rows), at, at+1)}, ledger.ExactlyOnce).Err() == nil {
		t.Error("a missing row is not seen")
	}
	if books.Check(ledger.Places{Ingested: append(rows, rows[at])}, ledger.ExactlyOnce).Err() == nil {
		t.Error("a doubled row is not seen")
	}
}

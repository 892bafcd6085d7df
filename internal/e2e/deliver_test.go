package e2e_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/internal/testutil/azurite"
	"kustospool/internal/testutil/ledger"
)

// storages runs a test over the simulator's own storage and over Azurite's.
func storages(t *testing.T, test func(t *testing.T, o *kustosim.Options)) {
	t.Run("built-in", func(t *testing.T) { test(t, &kustosim.Options{}) })
	t.Run("azurite", func(t *testing.T) { test(t, onAzurite(t)) })
}

// onAzurite makes the simulator the DM and ingestor only.
func onAzurite(t *testing.T) *kustosim.Options {
	a := azurite.Start(t)
	return &kustosim.Options{Storage: &kustosim.ExternalStorage{
		BlobURL: a.BlobURL, QueueURL: a.QueueURL, TableURL: a.TableURL, Account: a.Account, Key: a.Key,
	}}
}

// ingestConcurrently has writers ingest n records each, and books them.
func ingestConcurrently(t *testing.T, s *engine.Spool, books *ledger.Ledger, writers, n int) {
	t.Helper()
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range n {
				rec := record(w, i)
				r, err := s.Ingest(t.Context(), &ingest.Request{Properties: telemetry, Data: []byte(rec)})
				if err != nil {
					t.Errorf("writer %d: %v", w, err)
					return
				}
				books.Acked(r.String(), rec)
			}
		})
	}
	wg.Wait()
}

// of is the ledger's word for a guarantee.
func of(g ingest.Guarantee) ledger.Guarantee {
	if g == ingest.AtLeastOnce {
		return ledger.AtLeastOnce
	}
	return ledger.ExactlyOnce
}

func TestEveryRecordOnceValueByValue(t *testing.T) {
	storages(t, func(t *testing.T, o *kustosim.Options) {
		sim := startSim(t, o)
		s := mustOpen(t, t.TempDir(), sim.Endpoint(), quick())
		var books ledger.Ledger
		ingestConcurrently(t, s, &books, 16, 250)
		drain(t, s, time.Minute)
		balanced(t, sim, &books, ledger.ExactlyOnce)
		conserved(t, s)
		if st := s.Stats(); st.Settled.Ingested != 4000 || st.WireBytes == 0 || st.WireBytes >= st.RawBytes {
			t.Errorf("books: %+v", st)
		}
		for _, e := range sim.Extents(database, tableName) {
			if len(e.Tags) != 1 || !strings.HasPrefix(e.Tags[0], "ingest-by:") {
				t.Errorf("extent without its tag: %+v", e)
			}
		}
	})
}

func TestLostRepliesAndRequests(t *testing.T) {
	for _, g := range []ingest.Guarantee{ingest.ExactlyOnce, ingest.AtLeastOnce} {
		t.Run(g.String(), func(t *testing.T) {
			storages(t, func(t *testing.T, o *kustosim.Options) {
				sim := startSim(t, o)
				// Every third reply is lost after the effect, and some requests
				// before it.
				sim.Fault(kustosim.Blob, kustosim.Fault{Kind: kustosim.DropReply, Method: "PUT", Every: 3})
				sim.Fault(kustosim.Queue, kustosim.Fault{Kind: kustosim.DropReply, Method: "POST", Every: 3})
				sim.Fault(kustosim.Queue, kustosim.Fault{Kind: kustosim.DropRequest, Method: "POST", Every: 7})
				opts := quick()
				opts.Guarantee = g
				opts.Batch.MaxBytes = 4 << 10
				s := mustOpen(t, t.TempDir(), sim.Endpoint(), opts)
				var books ledger.Ledger
				ingestConcurrently(t, s, &books, 4, 150)
				drain(t, s, time.Minute)
				report, st := balanced(t, sim, &books, of(g)), s.Stats()
				t.Logf("%d batches, %d attempts, %d rows doubled, %d possible duplicates",
					st.SettledBatches.Ingested+st.SettledBatches.Skipped, st.Attempts, report.Extra, st.Duplicates.Possible)
				if int64(report.Extra) > st.Duplicates.Possible {
					t.Fatalf("%d rows doubled, %d counted as possible", report.Extra, st.Duplicates.Possible)
				}
				conserved(t, s)
			})
		})
	}
}

// Where the service loses its report as well, a repeat is the only way to find
// out: exactly-once rests on the tags alone, and at-least-once must show
// doubles, which is the negative control of the test above.
func TestLostReportsAreRepeated(t *testing.T) {
	for _, g := range []ingest.Guarantee{ingest.ExactlyOnce, ingest.AtLeastOnce} {
		t.Run(g.String(), func(t *testing.T) {
			sim := startSim(t, nil)
			sim.Fault(kustosim.Queue, kustosim.Fault{Kind: kustosim.DropReply, Method: "POST", Every: 3})
			sim.IngestFault(database, tableName, kustosim.IngestFault{Kind: kustosim.LoseReport, Every: 2})
			opts := quick()
			opts.Guarantee = g
			opts.Batch.MaxBytes = 4 << 10
			opts.UnknownGrace, opts.VerdictTimeout = 100*time.Millisecond, 200*time.Millisecond
			s := mustOpen(t, t.TempDir(), sim.Endpoint(), opts)
			var books ledger.Ledger
			ingestConcurrently(t, s, &books, 4, 100)
			drain(t, s, time.Minute)
			report, st := balanced(t, sim, &books, of(g)), s.Stats()
			t.Logf("%d attempts, %d rows doubled, %d possible duplicates, %d batches found already there",
				st.Attempts, report.Extra, st.Duplicates.Possible, st.SettledBatches.Skipped)
			switch g {
			case ingest.ExactlyOnce:
				if st.SettledBatches.Skipped == 0 {
					t.Error("no repeat was skipped, so nothing was tested")
				}
			case ingest.AtLeastOnce:
				if report.Extra == 0 || int64(report.Extra) > st.Duplicates.Possible {
					t.Errorf("%d rows doubled, %d counted", report.Extra, st.Duplicates.Possible)
				}
			}
			conserved(t, s)
		})
	}
}

func TestAMissingTableWaitsAndOthersGoOn(t *testing.T) {
	sim := startSim(t, nil)
	s := mustOpen(t, t.TempDir(), sim.Endpoint(), quick())
	missing := telemetry
	missing.Table = "NotThere"
	held, err := s.Ingest(t.Context(), &ingest.Request{Properties: missing, Data: []byte(`{"a":1}`)})
	if err != nil {
		t.Fatal(err)
	}
	var books ledger.Ledger
	ingestConcurrently(t, s, &books, 4, 50)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := sim.Wait(ctx, func() bool { return sim.Count(database, tableName) == books.Len() }); err != nil {
		t.Fatalf("the good table is not served: %v", err)
	}
	var st ingest.Status
	if err := sim.Wait(ctx, func() bool {
		st, err = s.Status(ctx, held.ID)
		return err != nil || st.Failure != nil
	}); err != nil {
		t.Fatal(err)
	}
	if st.State.Final() || !strings.Contains(st.Failure.String(), "BadRequest_TableNotExist") {
		t.Fatalf("status of the held record: %+v, failure %v", st, st.Failure)
	}
	if err := sim.CreateTable(database, "NotThere"); err != nil {
		t.Fatal(err)
	}
	drain(t, s, time.Minute)
	if n := sim.Count(database, "NotThere"); n != 1 {
		t.Errorf("%d rows once the table was there", n)
	}
	conserved(t, s)
}

func TestABadRecordIsTheOnlyDeadLetter(t *testing.T) {
	// A CSV record of another width fails beside others only: alone it is whole CSV.
	sim := startSim(t, &kustosim.Options{FailMalformedJSON: true})
	typed := ingest.Properties{Database: database, Table: "Typed", Format: ingest.JSON}
	if err := sim.CreateTable(database, "Typed", kustosim.Column{Name: "n", Type: "long"}, kustosim.Column{Name: "text", Type: "string"}); err != nil {
		t.Fatal(err)
	}
	o := quick()
	o.Batch.MaxAge = time.Hour
	o.UncheckedJSON = true // it is the service that is to find the bad record
	s := mustOpen(t, t.TempDir(), sim.Endpoint(), o)
	var bad ingest.Receipt
	for n := range 40 {
		line := fmt.Sprintf(`{"n":%d,"text":"Zeile\n%d"}`, n, n)
		if n == 23 {
			line = `{"n":23,"text":`
		}
		r, err := s.Ingest(t.Context(), &ingest.Request{Properties: typed, Data: []byte(line)})
		if err != nil {
			t.Fatal(err)
		}
		if n == 23 {
			bad = r
		}
	}
	drain(t, s, time.Minute)
	st, err := s.Status(t.Context(), bad.ID)
	if err != nil || st.State != ingest.DeadLettered || st.Failure == nil || st.Failure.Code != "BadRequest_UnexpectedCharacterInInputStream" {
		t.Fatalf("%+v, %v", st, err)
	}
	if n := sim.Count(database, "Typed"); n != 39 {
		t.Errorf("%d rows, want the 39 good ones", n)
	}
	if got := s.Stats().Settled.DeadLettered; got != 1 {
		t.Errorf("%d dead letters", got)
	}
	conserved(t, s)
}

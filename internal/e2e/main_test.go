package e2e_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"kustospool/batching"
	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/internal/testutil/crash"
	"kustospool/internal/testutil/ledger"
	"kustospool/internal/testutil/simspool"
	"kustospool/transport/queued"
)

func TestMain(m *testing.M) {
	crash.Main(map[string]func(*crash.Child){"writers": writers, "dealers": dealers})
	if child := os.Getenv(powerVariable); child != "" {
		os.Exit(runPowerChild(child))
	}
	goleak.VerifyTestMain(m)
}

const database, tableName = "Demo", "Telemetry"

var telemetry = ingest.Properties{Database: database, Table: tableName, Format: ingest.JSON}

// startSim starts a simulated service that has the table.
func startSim(t testing.TB, o *kustosim.Options) *kustosim.Sim {
	t.Helper()
	sim := simspool.Start(t, o)
	if err := sim.CreateTable(database, tableName); err != nil {
		t.Fatal(err)
	}
	return sim
}

// quick are options under which nothing waits for long.
func quick() *engine.Options {
	return &engine.Options{
		Batch:    batching.Policy{MaxBytes: 64 << 10, MaxAge: 20 * time.Millisecond},
		RetryMin: 5 * time.Millisecond, RetryMax: 100 * time.Millisecond,
		UnknownGrace: 300 * time.Millisecond,
		SegmentBytes: 1 << 20, MaxDiskBytes: 256 << 20,
	}
}

// queuedClient delivers to endpoint.
func queuedClient(endpoint string) (*queued.Client, error) {
	return queued.NewClient(endpoint, nil, &queued.ClientOptions{
		TrackInterval: 20 * time.Millisecond, RequestTimeout: 5 * time.Second, UploadTimeout: 5 * time.Second,
	})
}

// openQueued opens a spool that delivers to endpoint, and that the caller closes.
func openQueued(dir, endpoint string, o *engine.Options) (*engine.Spool, error) {
	client, err := queuedClient(endpoint)
	if err != nil {
		return nil, err
	}
	return engine.Open(dir, client, o)
}

func mustOpen(t testing.TB, dir, endpoint string, o *engine.Options) *engine.Spool {
	t.Helper()
	client, err := queuedClient(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	return simspool.Open(t, dir, client, o)
}

// record is the n-th record of a writer: nested, with text outside of ASCII
// and numbers at the edge of what a double holds.
func record(writer, n int) string {
	return fmt.Sprintf(`{"writer":%d,"n":%d,"boat":{"name":"Möwe-%d ⛵","crew":["Åsa","李"]},"big":%d,"ratio":%g}`,
		writer, n, n%7, 9007199254740993+int64(n), float64(n)/3)
}

func drain(t testing.TB, s *engine.Spool, limit time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if err := s.Drain(ctx); err != nil {
		for _, l := range s.Stats().Backlogged() {
			t.Logf("lane %s: %+v, %+v; last failure %v", l.Name(), l.Waiting, l.Batches, l.Failure)
		}
		t.Fatalf("Drain: %v; %+v", err, s.Stats())
	}
}

// balanced compares what was acknowledged with the rows, by their text: the
// simulator keeps a document of a table without a schema as it was sent.
func balanced(t testing.TB, sim *kustosim.Sim, books *ledger.Ledger, g ledger.Guarantee) ledger.Report {
	t.Helper()
	report := books.Check(ledger.Places{Ingested: rowTexts(sim)}, g)
	if err := report.Err(); err != nil {
		t.Fatal(err)
	}
	return report
}

func rowTexts(sim *kustosim.Sim) []string {
	var texts []string
	for _, r := range sim.Rows(database, tableName) {
		texts = append(texts, string(r))
	}
	return texts
}

// conserved checks the spool's own books.
func conserved(t testing.TB, s *engine.Spool) {
	t.Helper()
	st := s.Stats()
	if sum := st.Waiting.Records + st.Settled.Records(); sum != st.Acked {
		t.Fatalf("%d acknowledged, the states add up to %d: %+v", st.Acked, sum, st)
	}
}

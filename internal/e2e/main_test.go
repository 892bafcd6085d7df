package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"

	"kustospool/batching"
	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/transport/queued"
)

func TestMain(m *testing.M) {
	if child := os.Getenv(childVariable); child != "" {
		os.Exit(runChild(child))
	}
	if child := os.Getenv(powerVariable); child != "" {
		os.Exit(runPowerChild(child))
	}
	goleak.VerifyTestMain(m)
}

const database, tableName = "Demo", "Telemetry"

var telemetry = ingest.Properties{Database: database, Table: tableName, Format: ingest.JSON}

// seeded gives a source of random numbers whose seed is on record.
func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if v := os.Getenv("E2E_SEED"); v != "" {
		var err error
		if seed, err = strconv.ParseUint(v, 10, 64); err != nil {
			t.Fatalf("E2E_SEED: %v", err)
		}
	}
	t.Logf("repeat with E2E_SEED=%d go test ./internal/e2e -run '^%s$'", seed, t.Name())
	return rand.New(rand.NewPCG(seed, 1))
}

// startSim starts a simulated service that has the table.
func startSim(t testing.TB, o *kustosim.Options) *kustosim.Sim {
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

// openQueued opens a spool that delivers to endpoint.
func openQueued(dir, endpoint string, o *engine.Options) (*engine.Spool, error) {
	client, err := queued.NewClient(endpoint, nil, &queued.ClientOptions{
		TrackInterval: 20 * time.Millisecond, RequestTimeout: 5 * time.Second, UploadTimeout: 5 * time.Second,
	})
	if err != nil {
		return nil, err
	}
	return engine.Open(dir, client, o)
}

func mustOpen(t testing.TB, dir, endpoint string, o *engine.Options) *engine.Spool {
	t.Helper()
	s, err := openQueued(dir, endpoint, o)
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
		for _, l := range s.Lanes() {
			t.Logf("lane %s: %+v; last failure %v", l.Properties.Table, l, l.Failure)
		}
		t.Fatalf("Drain: %v; %+v", err, s.Stats())
	}
}

// count is how often each row is in the table, compared by its text: the
// simulator keeps a document of a table without a schema as it was sent.
func count(sim *kustosim.Sim) map[string]int {
	rows := make(map[string]int)
	for _, r := range sim.Rows(database, tableName) {
		rows[string(r)]++
	}
	return rows
}

// balance is what is wrong with the rows, given what was acknowledged and what
// else may be there because its acknowledgement was never seen.
type balance struct{ missing, doubled, forged []string }

func check(rows map[string]int, acked []string, maybe map[string]bool) balance {
	var b balance
	want := make(map[string]bool, len(acked))
	for _, r := range acked {
		want[r] = true
		if rows[r] == 0 {
			b.missing = append(b.missing, r)
		}
	}
	for r, n := range rows {
		if n > 1 {
			b.doubled = append(b.doubled, r)
		}
		if !want[r] && !maybe[r] {
			b.forged = append(b.forged, r)
		}
	}
	slices.Sort(b.missing)
	return b
}

func (b balance) ok() bool { return len(b.missing)+len(b.doubled)+len(b.forged) == 0 }

func (b balance) String() string {
	return fmt.Sprintf("%d missing %.2q, %d doubled %.2q, %d that nobody sent %.2q",
		len(b.missing), b.missing, len(b.doubled), b.doubled, len(b.forged), b.forged)
}

// conserved checks the spool's own books.
func conserved(t testing.TB, s *engine.Spool) {
	t.Helper()
	st := s.Stats()
	if sum := st.Open + st.Sealed + st.Ingested + st.Skipped + st.HandedOver + st.DeadLettered + st.Dropped; sum != st.Acked {
		t.Fatalf("%d acknowledged, the states add up to %d: %+v", st.Acked, sum, st.Stats)
	}
}

// The checker must see each kind of damage, or the tests below prove nothing.
func TestTheCheckerSees(t *testing.T) {
	acked := []string{"a", "b"}
	good := map[string]int{"a": 1, "b": 1}
	if b := check(good, acked, nil); !b.ok() {
		t.Errorf("good rows: %s", b)
	}
	for name, rows := range map[string]map[string]int{
		"loss": {"a": 1}, "double": {"a": 2, "b": 1}, "forgery": {"a": 1, "b": 1, "c": 1},
	} {
		if check(rows, acked, nil).ok() {
			t.Errorf("%s is not seen", name)
		}
	}
	if b := check(map[string]int{"a": 1, "b": 1, "c": 1}, acked, map[string]bool{"c": true}); !b.ok() {
		t.Errorf("a record whose acknowledgement was cut off may be there: %s", b)
	}
	if !json.Valid([]byte(record(3, 4))) {
		t.Error("the records are not JSON")
	}
}

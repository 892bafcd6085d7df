package main

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLatencies_QuantilesAreWithinThreePercent(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var l latencies
	var all []time.Duration
	for range 10_000 {
		d := time.Duration(rnd.ExpFloat64() * float64(time.Millisecond))
		l.add(d)
		all = append(all, d)
	}
	slices.Sort(all)
	for _, q := range []float64{0, 0.5, 0.9, 0.99, 0.999} {
		want := all[int(q*float64(len(all)))]
		got := l.quantile(q)
		if got > want || float64(got) < 0.96*float64(want)-1 {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	var empty latencies
	if empty.quantile(0.5) != 0 {
		t.Error("an empty histogram has a median")
	}
}

func TestLatencyBucket_FloorsAreTheirOwn(t *testing.T) {
	for _, n := range []uint64{0, 1, 63, 64, 65, 127, 128, 1e6, 1e9, 1 << 40, 1<<63 - 1} {
		b := latencyBucket(n)
		floor := uint64(latencyFloor(b))
		if floor > n || n-floor > n/32 || latencyBucket(floor) != b {
			t.Errorf("%d: bucket %d, floor %d", n, b, floor)
		}
	}
}

func TestLedger_SeesLossAndDoubles(t *testing.T) {
	for _, tc := range []struct {
		name                   string
		acked, rows            string
		lost, doubled, unknown int64
	}{
		{name: "balanced", acked: "a b b", rows: "b a b"},
		{name: "lost", acked: "a b b", rows: "b", lost: 2},
		{name: "doubled", acked: "a b", rows: "a a b b b", doubled: 3},
		{name: "unknown", acked: "a", rows: "a x", unknown: 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l := newLedger()
			for _, r := range strings.Fields(tc.acked) {
				l.acknowledged([]byte(r))
			}
			for _, r := range strings.Fields(tc.rows) {
				l.delivered([]byte(r))
			}
			lost, doubled, unknown := l.balance()
			if lost != tc.lost || doubled != tc.doubled || unknown != tc.unknown {
				t.Errorf("lost %d, doubled %d, unknown %d", lost, doubled, unknown)
			}
		})
	}
}

func bench(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = run(context.Background(), args, &out, &err)
	return code, out.String(), err.String()
}

func TestRun_Ingest(t *testing.T) {
	code, out, stderr := bench(t, "ingest", "-n", "200", "-producers", "1,8", "-lanes", "3", "-record", "100", "-floor", "-dir", t.TempDir())
	if code != 0 {
		t.Fatalf("code %d: %s", code, stderr)
	}
	line := regexp.MustCompile(`(?m)^Benchmark(Ingest|Floor)/record=100/producers=[18]-\d+\s+200\s+\d+ ns/op\s+[\d.]+ MB/s\s+\d+ acks/s\s+[\d.]+ p50-us\s+[\d.]+ p99-us$`)
	if n := len(line.FindAllString(out, -1)); n != 4 {
		t.Errorf("%d result lines, want 4:\n%s", n, out)
	}
}

func TestRun_Limit(t *testing.T) {
	code, out, stderr := bench(t, "limit", "-duration", "5ms", "-producers", "1,8", "-record", "100", "-dir", t.TempDir())
	if n := strings.Count(out, "BenchmarkLimit/log="); code != 0 || n != 2*len(limits) {
		t.Errorf("code %d, %d result lines, want %d: %s%s", code, n, 2*len(limits), out, stderr)
	}
}

// TestRun_DrainReadsTheWholeBacklog: both ways give the same bytes, or their
// rates could not be compared.
func TestRun_DrainReadsTheWholeBacklog(t *testing.T) {
	dir := t.TempDir()
	spool, plain := filepath.Join(dir, "spool"), filepath.Join(dir, "plain")
	if err := errors.Join(os.Mkdir(spool, 0o700), os.Mkdir(plain, 0o700)); err != nil {
		t.Fatal(err)
	}
	batches, err := fillBacklog(t.Context(), spool, backlogBatch+1)
	if err != nil || len(batches) != 2 {
		t.Fatalf("%d batches, %v; want 2", len(batches), err)
	}
	if err := copyPlain(spool, plain, batches); err != nil {
		t.Fatal(err)
	}
	a, err := drainSpool(spool, batches)
	if err != nil || a <= backlogBatch {
		t.Fatalf("%d bytes drained from the spool, %v", a, err)
	}
	if b, err := drainPlain(plain, len(batches)); b != a || err != nil {
		t.Errorf("%d bytes drained from plain files, %v; want %d", b, err, a)
	}
	code, out, stderr := bench(t, "drain", "-backlog", "1000", "-count", "1", "-dir", dir)
	if code != 0 || !strings.Contains(out, "BenchmarkDrain/from=spool-warm-") || !strings.Contains(out, "warm: spool / plain files") {
		t.Errorf("code %d: %s%s", code, out, stderr)
	}
}

func TestRun_Recover(t *testing.T) {
	code, out, stderr := bench(t, "recover", "-backlog", "1000", "-count", "2", "-dir", t.TempDir())
	if n := strings.Count(out, "BenchmarkOpen/backlog="); code != 0 || n != 4 || !strings.Contains(out, "open of an empty spool: ") {
		t.Errorf("code %d: %s%s", code, out, stderr)
	}
}

func TestRun_E2EThroughAnOutage(t *testing.T) {
	code, out, stderr := bench(t, "e2e", "-n", "4000", "-producers", "8", "-batch-bytes", "100000", "-outage", "200ms", "-dir", t.TempDir())
	if code != 0 || !strings.Contains(out, "\t0 lost\t0 doubled\t") {
		t.Fatalf("code %d: %s%s", code, out, stderr)
	}
}

func TestRun_Usage(t *testing.T) {
	for _, args := range [][]string{{}, {"nope"}, {"ingest", "-producers", "0"}, {"ingest", "-record", "0"}, {"e2e", "-n", "0"}, {"e2e", "x"}, {"drain", "-backlog", "0"}, {"recover", "-count", "0"}, {"limit", "-record", "1"}, {"ingest", "-nope"}} {
		if code, _, stderr := bench(t, args...); code != 2 || stderr == "" {
			t.Errorf("%q: code %d, %q", args, code, stderr)
		}
	}
	if code, _, _ := bench(t, "ingest", "-h"); code != 0 {
		t.Errorf("-h: code %d", code)
	}
}

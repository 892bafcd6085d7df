package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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
	code, out, stderr := bench(t, "ingest", "-n", "200", "-producers", "1,8", "-lanes", "1,3", "-record", "100", "-floor", "-backlog", "1000", "-dir", t.TempDir())
	if code != 0 {
		t.Fatalf("code %d: %s", code, stderr)
	}
	line := regexp.MustCompile(`(?m)^Benchmark(Ingest|Floor)/record=100(/lanes=[13])?/producers=[18]-\d+\s+200\s+\d+ ns/op\s+[\d.]+ MB/s\s+\d+ acks/s\s+[\d.]+ p50-us\s+[\d.]+ p99-us\s+[\d.]+ p999-us\s+[\d.]+ max-us$`)
	if n := len(line.FindAllString(out, -1)); n != 6 {
		t.Errorf("%d result lines, want 6:\n%s", n, out)
	}
}

// TestWear: bytes written are counted, and a commit of several records writes
// fewer for each.
func TestWear(t *testing.T) {
	if diskWritten() == 0 {
		t.Skip("not run: this system does not tell what was written, or nothing was")
	}
	wear := regexp.MustCompile(`(?m)^# record=100 .*, ([\d.]+) bytes written`)
	var got [2]float64
	for i, producers := range []string{"1", "16"} {
		code, out, stderr := bench(t, "ingest", "-n", "320", "-producers", producers, "-record", "100", "-dir", t.TempDir())
		m := wear.FindStringSubmatch(out)
		if code != 0 || m == nil {
			t.Fatalf("code %d: %s%s", code, out, stderr)
		}
		got[i], _ = strconv.ParseFloat(m[1], 64)
	}
	if got[1] < 1 || got[1] > got[0]/2 {
		t.Errorf("%.2f bytes written for each payload byte by one producer, and %.2f by 16", got[0], got[1])
	}
}

func TestRun_Mixed(t *testing.T) {
	code, out, stderr := bench(t, "mixed", "-duration", "50ms", "-count", "2", "-producers", "8", "-dir", t.TempDir())
	if n := strings.Count(out, "BenchmarkMixed/ingest="); code != 0 || n != 4 || !strings.Contains(out, "ingestion while draining / alone: ") {
		t.Errorf("code %d: %s%s", code, out, stderr)
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
	batches, err := fillBacklog(t.Context(), spool, drainBatch+1, drainBatch)
	if err != nil || len(batches) != 2 {
		t.Fatalf("%d batches, %v; want 2", len(batches), err)
	}
	if err := copyPlain(spool, plain, batches); err != nil {
		t.Fatal(err)
	}
	a, err := drainSpool(spool, batches)
	if err != nil || a <= drainBatch {
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
	for _, args := range [][]string{{}, {"nope"}, {"ingest", "-producers", "0"}, {"ingest", "-record", "0"}, {"e2e", "-n", "0"}, {"e2e", "x"}, {"drain", "-backlog", "0"}, {"recover", "-count", "0"}, {"limit", "-record", "1"}, {"mixed", "-senders", "0"}, {"ingest", "-nope"}} {
		if code, _, stderr := bench(t, args...); code != 2 || stderr == "" {
			t.Errorf("%q: code %d, %q", args, code, stderr)
		}
	}
	if code, _, _ := bench(t, "ingest", "-h"); code != 0 {
		t.Errorf("-h: code %d", code)
	}
}

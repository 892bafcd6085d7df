package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"kustospool/cmd/bench/internal/device"
	"kustospool/cmd/bench/internal/load"
)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
	}
	goleak.VerifyTestMain(m)
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
	code, out, stderr := bench(t, "ingest", "-n", "200", "-producers", "1,8", "-lanes", "1,3", "-record", "100", "-floor", "-backlog", "1000", "-dir", t.TempDir())
	if code != 0 {
		t.Fatalf("code %d: %s", code, stderr)
	}
	line := regexp.MustCompile(`(?m)^Benchmark(Ingest|Floor)/record=100(/lanes=[13])?/producers=[18]-\d+\s+200\s+\d+ ns/op\s+[\d.]+ MB/s\s+\d+ acks/s\s+[\d.]+ p50-us\s+[\d.]+ p99-us\s+[\d.]+ p999-us\s+[\d.]+ max-us$`)
	if n := len(line.FindAllString(out, -1)); n != 6 {
		t.Errorf("%d result lines, want 6:\n%s", n, out)
	}
}

// TestRun_Wear: every load is measured and judged, and a lone producer writes
// more for each byte than 64 do.
func TestRun_Wear(t *testing.T) {
	dir := t.TempDir()
	if _, err := device.Written(dir); err != nil {
		t.Skipf("not run: %v", err)
	}
	code, out, stderr := bench(t, "wear", "-duration", "20ms", "-count", "1", "-of", "store", "-dir", dir)
	wear := regexp.MustCompile(`(?m)^BenchmarkWear/of=store/space=(\w+)/record=(\d+)/producers=(\d+)-\d+\s+\d+\s+\d+ ns/op\s+([\d.]+) device-B/B$`)
	got := make(map[string]float64)
	for _, m := range wear.FindAllStringSubmatch(out, -1) {
		got[m[1]+" "+m[2]+" "+m[3]], _ = strconv.ParseFloat(m[4], 64)
	}
	if n := strings.Count(out, "bytes on the device, of=store"); code != 0 || len(got) != 8 || n != 8 {
		t.Fatalf("code %d, %d results, %d bars: %s%s", code, len(got), n, out, stderr)
	}
	for _, space := range []string{"fresh", "recycled"} {
		lone, many := got[space+" 1024 1"], got[space+" 1024 64"]
		// Other programs write to the same device, so there is no upper bound.
		if lone < 1 || many < 1 {
			t.Errorf("%s: %.2f bytes written for each of payload by a lone producer, %.2f by 64", space, lone, many)
		}
	}
}

func TestRun_Mixed(t *testing.T) {
	code, out, stderr := bench(t, "mixed", "-duration", "50ms", "-count", "2", "-producers", "8", "-dir", t.TempDir())
	if n := strings.Count(out, "BenchmarkMixed/ingest="); code != 0 || n != 8 || !strings.Contains(out, "of what the limit keeps beside gzip") {
		t.Errorf("code %d: %s%s", code, out, stderr)
	}
}

// TestMixed_CompressesBesideTheLimit: one batch for each batch's worth.
func TestMixed_CompressesBesideTheLimit(t *testing.T) {
	m := mixed{dir: t.TempDir(), senders: 1, load: load.Load{Producers: 4, Records: load.Records(8, 1<<20, 1), Count: 10*drainBatch>>20 + 1}}
	r, drained, err := m.measure(t.Context(), "limit-gzip")
	if batch := int64(drainBatch + 8); err != nil || r.N != m.load.Count || drained == 0 || drained%batch != 0 || drained > 10*batch {
		t.Errorf("%d records, %d bytes compressed, %v; want at most 10 batches", r.N, drained, err)
	}
}

// TestCodeLines: what is code, line by line.
func TestCodeLines(t *testing.T) {
	for _, tc := range []struct {
		name, source string
		code, all    int
		fails        bool
	}{
		{name: "nothing"},
		{name: "comments and blank lines", source: "// a\npackage a\n\n/* b\nc */\nvar x = 1 // d\n", code: 2, all: 6},
		{name: "code behind a comment", source: "package a\n/* b\n*/ var x = 1\n", code: 2, all: 3},
		{name: "a raw string", source: "package a\nvar x = `1\n\n// 3\n4` + `5\n6`\n", code: 6, all: 6},
		{name: "slashes in a string", source: "package a\nvar x = \"// no comment\"", code: 2, all: 2},
		{name: "no Go", source: "package a\nvar x = '\n", fails: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, all, err := codeLines([]byte(tc.source))
			if (err != nil) != tc.fails || !tc.fails && (code != tc.code || all != tc.all) {
				t.Errorf("%d of %d lines are code, %v; want %d of %d, error: %v", code, all, err, tc.code, tc.all, tc.fails)
			}
		})
	}
}

func TestRun_Lines(t *testing.T) {
	dir := t.TempDir()
	for name, source := range map[string]string{
		"a.go": "package a\n", "a_test.go": "package a\n\nvar x = 1\n", "b.txt": "x\n",
		"sub/b.go": "// Package b.\npackage b\n\nvar x = 1\n", "testdata/c.go": "package c\n",
	} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(source), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	c, err := countLines(dir)
	if err != nil || c.files != 2 || c.code != 3 || c.all != 5 || c.largest != 4 || filepath.Base(c.name) != "b.go" {
		t.Errorf("%+v, %v", c, err)
	}
	code, out, stderr := bench(t, "lines", "-of", dir)
	if code != 0 || strings.Count(out, "PASS") != 2 {
		t.Errorf("code %d: %s%s", code, out, stderr)
	}
	if code, _, stderr := bench(t, "lines", "-of", t.TempDir()); code != 2 || stderr == "" {
		t.Errorf("an empty directory: code %d, %q", code, stderr)
	}
}

func TestFigures(t *testing.T) {
	f := make(figures)
	for _, v := range []float64{30, 10, 20} {
		f.add("a", v)
		f.add("b", 2*v)
	}
	if r := f.ratio("b", "a"); f.median("a") != 20 || r.Value != 2 || r.Text != "b / a" {
		t.Errorf("median %v, ratio %+v", f.median("a"), r)
	}
	if r := f.ratio("a", "missing"); r.Value != 0 || f.median("missing") != 0 {
		t.Errorf("what was not measured has the ratio %+v", r)
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
	batches, err := fillBacklog(t.Context(), spool, backlog{size: drainBatch + 1, batch: drainBatch, lanes: 3, frame: 16})
	if err != nil || len(batches) != 3 {
		t.Fatalf("%d batches, %v; want one of each lane", len(batches), err)
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
	if code != 0 || !strings.Contains(out, "BenchmarkDrain/from=spool-warm/lanes=20-") || !strings.Contains(out, "drain, warm, lanes=1, of plain files") {
		t.Errorf("code %d: %s%s", code, out, stderr)
	}
}

func TestRun_Recover(t *testing.T) {
	code, out, stderr := bench(t, "recover", "-backlog", "1000", "-count", "1", "-duration", "20ms", "-dir", t.TempDir())
	for _, want := range []string{
		"BenchmarkOpen/backlog=0-", "BenchmarkOpen/backlog=1000-", "BenchmarkOpenKilled/cache=warm-", "BenchmarkHeap/backlog=1000/producers=1024-",
		"open with backlog=1000, of an empty spool", "open after kill -9 with a full active segment, warm, in ms", "peak heap with backlog=1000, producers=1024, in MiB",
	} {
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("code %d, %q is missing: %s%s", code, want, out, stderr)
		}
	}
}

// TestRecovery_SeesLoss: a spool that opens quickly because it forgot is no
// figure.
func TestRecovery_SeesLoss(t *testing.T) {
	r := recovery{seen: make(figures), stdout: io.Discard}
	if err := r.open(t.TempDir(), "Open", "x", "x", 1); err == nil || len(r.seen) > 0 {
		t.Errorf("%v, %v: an empty spool passes for one with a record", err, r.seen)
	}
}

func TestRun_E2EThroughAnOutage(t *testing.T) {
	code, out, stderr := bench(t, "e2e", "-n", "4000", "-producers", "8", "-batch-bytes", "100000", "-outage", "200ms", "-dir", t.TempDir())
	if code != 0 || !strings.Contains(out, "\t0 lost\t0 doubled\t") {
		t.Fatalf("code %d: %s%s", code, out, stderr)
	}
}

func TestRun_Usage(t *testing.T) {
	for _, args := range [][]string{{}, {"nope"}, {"ingest", "-producers", "0"}, {"ingest", "-record", "0"}, {"e2e", "-n", "0"}, {"e2e", "x"}, {"drain", "-backlog", "0"}, {"recover", "-count", "0"}, {"limit", "-record", "1"}, {"mixed", "-senders", "0"}, {"wear", "-of", "disk"}, {"drain", "-lanes", "0"}, {"lines", "x"}, {"fill"}, {"ingest", "-nope"}} {
		if code, _, stderr := bench(t, args...); code != 2 || stderr == "" {
			t.Errorf("%q: code %d, %q", args, code, stderr)
		}
	}
	if code, _, _ := bench(t, "ingest", "-h"); code != 0 {
		t.Errorf("-h: code %d", code)
	}
}

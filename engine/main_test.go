package engine_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"kustospool/batching"
	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/transport"
	"kustospool/transport/transporttest"
)

// The model test commits to a real disk at every step, so the quick run tries
// fewer histories than rapid would; -rapid.checks=N asks for more.
func TestMain(m *testing.M) {
	if err := flag.Set("rapid.checks", "25"); err != nil {
		panic(err)
	}
	flag.Parse()
	if flag.Lookup("test.bench").Value.String() == "" {
		engine.WatchLocks()
	}
	goleak.VerifyTestMain(m)
}

var telemetry = ingest.Properties{Database: "Demo", Table: "Telemetry", Format: ingest.JSON}

// soon are options under which nothing waits for long.
func soon() *engine.Options {
	return &engine.Options{
		Batch:    batching.Policy{MaxAge: 10 * time.Millisecond},
		RetryMin: time.Millisecond, RetryMax: 10 * time.Millisecond,
		UnknownGrace: 20 * time.Millisecond,
		NoSocket:     true, // many tests have a clock of their own
		SegmentBytes: 1 << 20, MaxDiskBytes: 64 << 20,
	}
}

// open opens a spool and closes it when the test ends.
func open(t testing.TB, dir string, tr transport.Transport, opts *engine.Options) *engine.Spool {
	t.Helper()
	s, err := engine.Open(dir, tr, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

// row is the n-th distinct record.
func row(n int) string { return fmt.Sprintf(`{"n":%d,"text":"größe %d"}`, n, n*n) }

func rows(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = row(i)
	}
	return out
}

func request(p ingest.Properties, data string) *ingest.Request {
	return &ingest.Request{Properties: p, Data: []byte(data)}
}

// put ingests records one by one and returns their receipts.
func put(t testing.TB, s *engine.Spool, p ingest.Properties, records ...string) []ingest.Receipt {
	t.Helper()
	var out []ingest.Receipt
	for _, r := range records {
		rcpt, err := s.Ingest(t.Context(), request(p, r))
		if err != nil {
			t.Fatalf("Ingest(%q): %v", r, err)
		}
		out = append(out, rcpt)
	}
	return out
}

// drain waits longer than the longest pause of any test between two attempts.
func drain(t testing.TB, s *engine.Spool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if err := s.Drain(ctx); err != nil {
		for _, l := range s.Stats().Backlogged() {
			t.Logf("%s: %d open, %+v, held %v until %v: %v", l.Name(), l.Waiting.Open, l.Batches, l.Held, l.Next, l.Failure)
		}
		t.Fatalf("Drain: %v", err)
	}
}

// sameRows compares as multisets.
func sameRows(t testing.TB, got, want []string) {
	t.Helper()
	got, want = slices.Clone(got), slices.Clone(want)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Fatalf("%d rows, want %d; first ones %.5q and %.5q", len(got), len(want), got, want)
	}
}

// conserved checks the law that no record is in two places or in none.
func conserved(t testing.TB, s *engine.Spool) {
	t.Helper()
	st := s.Stats()
	if sum := st.Waiting.Records + st.Settled.Records(); sum != st.Acked {
		t.Fatalf("%d acknowledged, but the states add up to %d: %+v", st.Acked, sum, st)
	}
}

// kept checks the fake's own view of the engine.
func kept(t testing.TB, f *transporttest.Fake) {
	t.Helper()
	for _, v := range f.Violations() {
		t.Errorf("the engine broke the transport's contract: %s", v)
	}
}

func state(t testing.TB, s *engine.Spool, r ingest.Receipt, want ingest.State) ingest.Status {
	t.Helper()
	st, err := s.Status(t.Context(), r.ID)
	if err != nil || st.State != want {
		t.Fatalf("status of %s: %+v, %v; want %s", r, st, err, want)
	}
	return st
}

func isInvalid(t testing.TB, err error, part string) {
	t.Helper()
	if !errors.Is(err, ingest.ErrInvalid) {
		t.Fatalf("%v does not match ErrInvalid", err)
	}
	if !contains(err.Error(), part) {
		t.Fatalf("%q does not say %q", err, part)
	}
}

// spoil overwrites the first byte of a text in the first segment of a spool.
func spoil(t *testing.T, dir, text string) {
	t.Helper()
	path := filepath.Join(dir, "segments", "00000001.log")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(data, []byte(text))
	if at < 0 {
		t.Fatalf("%s does not hold %q", path, text)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("#"), int64(at)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

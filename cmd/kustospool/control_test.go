package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/operate"
	"kustospool/transport/queued"
)

// A table that is paused at rest is not drained, and the drain says so and ends; once it is
// resumed all of it arrives.
func TestPauseAtRest(t *testing.T) {
	sim := simulator(t, &kustosim.Options{Databases: []string{"D"}, AutoCreate: true})
	spool := filepath.Join(t.TempDir(), "s")
	for _, table := range []string{"T", "U"} {
		if got := kustospool(t, "{\"a\":1}\n", "send", "--to", sim.Endpoint(), "--database", "D", "--table", table, "--spool", spool, "--no-wait", "-"); got.code != exitOK {
			t.Fatalf("%+v", got)
		}
	}
	run := func(code int, says string, args ...string) result {
		t.Helper()
		got := kustospool(t, "", append(args, "--spool", spool)...)
		if got.code != code || !strings.Contains(got.out+got.stderr, says) {
			t.Errorf("%q: %+v, want code %d with %q", args, got, code, says)
		}
		return got
	}
	run(exitOK, "D.T is paused since ", "pause", "T", "--reason", "schema \x1b[2Jchange")
	run(exitPending, `D.T: paused since `, "drain", "--to", sim.Endpoint())
	got := run(exitPending, "change)", "drain", "--to", sim.Endpoint())
	if strings.Contains(got.stderr, "\x1b") {
		t.Errorf("control characters of the reason: %q", got.stderr)
	}
	if sim.Count("D", "T") != 0 || sim.Count("D", "U") != 1 {
		t.Errorf("%d rows in T and %d in U", sim.Count("D", "T"), sim.Count("D", "U"))
	}
	run(exitPending, "What to do about it:\n  kustospool status --spool "+spool+"\n", "drain", "--to", sim.Endpoint())
	run(exitUsage, "is paused: resume it", "retry", "T")
	var resumed operate.Resumed
	if got := run(exitOK, "", "resume", "D.T", "--json"); json.Unmarshal([]byte(got.out), &resumed) != nil || !resumed.Was || resumed.Table != "T" {
		t.Errorf("%+v", got)
	}
	run(exitOK, "D.T was not paused", "resume", "T")
	run(exitOK, "No process has the spool open", "retry", "T")
	run(exitOK, "", "drain", "--to", sim.Endpoint())
	if sim.Count("D", "T") != 1 || sim.Count("D", "U") != 1 {
		t.Errorf("%d rows in T and %d in U", sim.Count("D", "T"), sim.Count("D", "U"))
	}
	for _, bad := range [][]string{{"pause"}, {"pause", "T", "U"}, {"resume", "Nowhere"}, {"pause", "T", "--reason", strings.Repeat("x", 257)}} {
		run(exitUsage, "", bad...)
	}
	if runtime.GOOS == "windows" {
		return // there are no such rights
	}
	if err := os.Chmod(spool, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"status", "history", "check"} {
		run(exitUsage, "chmod o-w", name)
	}
}

// The commands on a spool in use: its process does what they say.
func TestControlOfASpoolInUse(t *testing.T) {
	sim := simulator(t, &kustosim.Options{Databases: []string{"D"}})
	dir, err := os.MkdirTemp("", "ks")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	tr, err := queued.NewClient(sim.Endpoint(), nil, &queued.ClientOptions{TrackInterval: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	s, err := engine.Open(dir, tr, &engine.Options{RetryMin: time.Hour, RetryMax: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Ingest(t.Context(), &ingest.Request{Properties: ingest.Properties{Database: "D", Table: "T", Format: ingest.JSON}, Data: []byte(`{"a":1}`)}); err != nil {
		t.Fatal(err)
	}
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for changed := true; changed; changed = !s.Stats().Lanes[0].Held {
	}
	run := func(code int, says string, args ...string) {
		t.Helper()
		got := kustospool(t, "", append(args, "--spool", dir)...)
		if got.code != code || !strings.Contains(got.out+got.stderr, says) {
			t.Errorf("%q: %+v, want code %d with %q", args, got, code, says)
		}
	}
	run(exitOK, "records read       1 (1 wait)", "check")
	run(exitOK, `"in_use":true`, "check", "--json")
	run(exitOK, "D.T is paused since ", "pause", "T")
	if len(s.Stats().Paused) != 1 {
		t.Error("it is not paused")
	}
	run(exitUsage, "is paused: resume it", "retry", "T")
	run(exitOK, "D.T is resumed", "resume", "T")
	if err := sim.CreateTable("D", "T", kustosim.Column{Name: "a", Type: "long"}); err != nil {
		t.Fatal(err)
	}
	run(exitOK, "D.T is tried now (1 batch waits)", "retry", "T")
	if err := s.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if sim.Count("D", "T") != 1 {
		t.Errorf("%d rows", sim.Count("D", "T"))
	}
}

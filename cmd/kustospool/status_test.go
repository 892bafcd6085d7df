package main

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/operate"
	"kustospool/store"
	"kustospool/transport"
	"kustospool/transport/transporttest"
)

// filesOf are names, sizes, times and bytes of the files of a directory.
func filesOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		out[path] = fmt.Sprint(info.Size(), info.ModTime().UnixNano())
		if info.Mode().IsRegular() {
			data, err := os.ReadFile(path)
			out[path] += string(data)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestStatusChangesNothing: whatever the spool is like, and however status ends.
func TestStatusChangesNothing(t *testing.T) {
	dir := t.TempDir()
	st, err := store.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	lane, err := st.Lane(t.Context(), &ingest.Properties{Database: "D", Table: "T", Format: ingest.JSON}, store.FrameLimit{})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := st.AppendOne(t.Context(), lane, []byte("{}"), ""); err != nil {
			t.Fatal(err)
		}
	}
	inUse := kustospool(t, "", "status", "--spool", dir)
	if inUse.code != exitUsage || !strings.Contains(inUse.stderr, fmt.Sprint("pid ", os.Getpid())) {
		t.Errorf("status of a spool in use: %+v", inUse)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	look := func(what string, code int, text string) {
		t.Helper()
		before := filesOf(t, dir)
		got := kustospool(t, "", "status", "--spool", dir)
		if got.code != code || !strings.Contains(got.out+got.stderr, text) {
			t.Errorf("status of a spool that is %s: %+v", what, got)
		}
		if !maps.Equal(before, filesOf(t, dir)) {
			t.Errorf("status of a spool that is %s changed it", what)
		}
	}
	look("sound", exitOK, "in no batch yet")
	stranger := filepath.Join(dir, "segments", "99999999.log")
	if err := os.WriteFile(stranger, []byte("?"), 0o600); err != nil {
		t.Fatal(err)
	}
	look("damaged in the log", exitOK, "99999999.log")
	manifest := filepath.Join(dir, "manifest.db")
	if err := os.Truncate(manifest, 5000); err != nil {
		t.Fatal(err)
	}
	look("damaged in the ledger", exitFailed, "3 records in them would be sent again")
	if err := os.Remove(manifest); err != nil {
		t.Fatal(err)
	}
	look("without a ledger", exitFailed, "3 records in them would be sent again")
}

// TestStatusTellsSinceWhen: what waits and for how long, since when and why, and
// which dead letters were dealt with.
func TestStatusTellsSinceWhen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	fake := transporttest.NewFake()
	refused := &transport.Error{Op: "send", Class: transport.Transient, Code: "503", Message: "busy", RequestID: "r-17"}
	fake.Poison(func(rec []byte) bool { return strings.Contains(string(rec), "bad") })
	spool, err := engine.Open(dir, fake, &engine.Options{RetryMin: time.Millisecond, RetryMax: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	table, err := spool.Table(ingest.Properties{Database: "D", Table: "T", Format: ingest.JSON})
	if err != nil {
		t.Fatal(err)
	}
	put := func(text string) {
		t.Helper()
		if _, err := table.Ingest(t.Context(), []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	for _, text := range []string{`{"n":"bad 1"}`, `{"n":"bad 2"}`} {
		put(text)
		if err := spool.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for d, err := range spool.DeadLetters() {
		if err != nil {
			t.Fatal(err)
		}
		if err := spool.RemoveDeadLetter(d.Batch.ID); err != nil {
			t.Fatal(err)
		}
		break
	}
	fake.Down(refused)
	put(`{"n":1}`)
	put(`{"n":2}`)
	if err := spool.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	seen := len(fake.Sends())
	if err := fake.WaitEnded(t.Context(), seen+3); err != nil {
		t.Fatal(err)
	}
	want := spool.Stats()
	if err := spool.Close(); err != nil {
		t.Fatal(err)
	}
	got := kustospool(t, "", "status", "--spool", dir, "--json")
	st := decode[operate.Status](t, got.out)
	l := st.Lanes[0]
	if len(st.Lanes) != 1 || l.Records != 2 || l.RawBytes != 16 || l.Batches != 1 || !l.Oldest.Equal(want.Lanes[0].Waiting.Oldest) || l.Oldest.IsZero() {
		t.Errorf("lane %+v, want %+v", l, want.Lanes[0].Waiting)
	}
	if f := l.Failure; f == nil || f.RequestID != "r-17" || !f.First.Before(f.At) || f.First.IsZero() {
		t.Errorf("failure %+v", l.Failure)
	}
	if c := st.Counters; c.DeadLettered != 2 || c.DeadWaiting != 1 || c.DeadHandled != 1 || c.FreeBytes <= 0 || !c.Oldest.Equal(l.Oldest) {
		t.Errorf("counters %+v", c)
	}
	text := kustospool(t, "", "status", "--spool", dir).out
	for _, part := range []string{"dead letters waiting", "dead letters handled", " free\n", "accepted " + l.Oldest.Format(time.RFC3339),
		"transient: 503: send: busy (request r-17)", ", since " + l.Failure.First.Format(time.RFC3339)} {
		if !strings.Contains(text, part) {
			t.Errorf("status does not say %q:\n%s", part, text)
		}
	}
}

package store_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"kustospool/ingest"
	"kustospool/store"
)

// only is a change to this list, whatever it was.
func only(list ...store.Pause) func([]store.Pause) ([]store.Pause, error) {
	return func([]store.Pause) ([]store.Pause, error) { return list, nil }
}

func names(list []store.Pause) (out []string) {
	for _, p := range list {
		out = append(out, p.Database+"."+p.Table+":"+p.Reason)
	}
	return out
}

// TestPaused: the list lives through a restart, a lost ledger and a change of a
// spool at rest, and an empty one leaves no file.
func TestPaused(t *testing.T) {
	dir := t.TempDir()
	since := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	a, b := store.Pause{"D", "A", since, "schema change"}, store.Pause{"D", "B", since, ""}
	want := func(got []store.Pause, list ...store.Pause) {
		t.Helper()
		if !slices.Equal(got, list) {
			t.Fatalf("paused %v, want %v", got, list)
		}
	}
	s := openStore(t, dir, nil)
	want(s.Paused())
	if err := s.ChangePaused(only(b, a)); err != nil {
		t.Fatal(err)
	}
	want(s.Paused(), a, b)
	refused := errors.New("no")
	if err := s.ChangePaused(func(list []store.Pause) ([]store.Pause, error) { return nil, refused }); err != refused {
		t.Fatalf("got %v", err)
	}
	want(s.Paused(), a, b)
	closeStore(t, s)

	if err := os.Remove(filepath.Join(dir, "manifest.db")); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, dir, nil)
	want(s.Paused(), a, b)
	if err := store.ChangePausedAt(dir, nil, only()); !errors.As(err, new(*store.LockedError)) {
		t.Fatalf("of a spool in use: %v", err)
	}
	closeStore(t, s)

	if err := store.ChangePausedAt(dir, nil, func(list []store.Pause) ([]store.Pause, error) {
		want(list, a, b)
		return list[1:], nil
	}); err != nil {
		t.Fatal(err)
	}
	p, err := store.Look(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	want(p.Paused(), b)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if err := store.ChangePausedAt(dir, nil, only()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "paused.json")); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("an empty list: %v", err)
	}
	if err := store.ChangePausedAt(t.TempDir(), nil, only(a)); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("no spool: %v", err)
	}
}

func TestPaused_Bounds(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, nil)
	many := make([]store.Pause, store.MaxPaused+1)
	for i := range many {
		many[i] = store.Pause{Database: "D", Table: fmt.Sprint("T", i)}
	}
	for name, list := range map[string][]store.Pause{
		"no table":      {{Database: "D"}},
		"no database":   {{Table: "T"}},
		"a long reason": {{Database: "D", Table: "T", Reason: strings.Repeat("x", store.MaxReasonBytes+1)}},
		"not UTF-8":     {{Database: "D", Table: "T", Reason: "\xff"}},
		"twice":         {{Database: "D", Table: "T"}, {Database: "D", Table: "T", Reason: "x"}},
		"too many":      many,
	} {
		if err := s.ChangePaused(only(list...)); !errors.Is(err, ingest.ErrInvalid) || len(s.Paused()) > 0 {
			t.Errorf("%s: %v, paused %v", name, err, names(s.Paused()))
		}
	}
	// The largest list there can be is one that can be read again.
	long := make([]store.Pause, store.MaxPaused)
	for i := range long {
		name := strings.Repeat("ä", (ingest.MaxNameBytes-8)/2) + fmt.Sprintf("%04d", i)
		long[i] = store.Pause{Database: name, Table: name, Reason: strings.Repeat("\x01", store.MaxReasonBytes)}
	}
	if err := s.ChangePaused(only(long...)); err != nil {
		t.Fatal(err)
	}
	s = reopen(t, s, dir, nil)
	if list := s.Paused(); len(list) != store.MaxPaused || s.Stats().Damaged != 0 {
		t.Fatalf("%d read, damage %d", len(list), s.Stats().Damaged)
	}
}

// TestPaused_Damaged: whatever is in the file, the spool opens, tells, counts and
// keeps it, and a look changes nothing.
func TestPaused_Damaged(t *testing.T) {
	for name, text := range map[string]string{
		"no JSON": "{", "another version": `{"version":2}`, "no names": `{"version":1,"paused":[{}]}`, "empty": "",
		"too large": `{"version":1}` + strings.Repeat(" ", 8<<20),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			closeStore(t, openStore(t, dir, nil))
			path := filepath.Join(dir, "paused.json")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			p, err := store.Look(dir, nil)
			if err != nil {
				t.Fatal(err)
			}
			if st := p.Stats(); st.Damaged != 1 || len(p.Paused()) > 0 {
				t.Errorf("look: damaged %d, paused %v", st.Damaged, names(p.Paused()))
			}
			if err := p.Close(); err != nil {
				t.Fatal(err)
			}
			s := openStore(t, dir, nil)
			if st := s.Stats(); st.Damaged != 1 || len(s.Paused()) > 0 {
				t.Errorf("open: damaged %d, paused %v", st.Damaged, names(s.Paused()))
			}
			closeStore(t, s)
			kept, err := os.ReadFile(filepath.Join(dir, "quarantine", "paused.json.1"))
			if err != nil || string(kept) != text {
				t.Errorf("kept %d bytes of %d, %v", len(kept), len(text), err)
			}
		})
	}
}

func closeStore(t testing.TB, s *store.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

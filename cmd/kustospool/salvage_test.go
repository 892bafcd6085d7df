package main

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kustospool/store"
)

// The plan changes nothing and adds up; --apply does it, keeps what it used up, and a second time
// there is nothing to do.
func TestSalvageCommand(t *testing.T) {
	s := makeSample(t)
	if got := s.unchangedBy(t, "salvage"); got.code != exitOK || !strings.Contains(got.out, "no segment that was set aside") {
		t.Errorf("%+v", got)
	}
	if err := os.Rename(filepath.Join(s.dir, "segments", "00000001.log"), filepath.Join(s.dir, "quarantine", "00000001.log.1")); err != nil {
		t.Fatal(err)
	}
	plan := decode[salvageReport](t, s.unchangedBy(t, "salvage", "--json").out)
	if len(plan.Files) != 1 || plan.Applied || plan.Kept != "" {
		t.Fatalf("%+v", plan)
	}
	f := plan.Files[0]
	if f.Read != f.Good+f.Bad || f.Good != f.Lost+f.Dead+f.Doubtful+f.Settled+f.There+f.Homeless || f.Lost != 8 || f.Settled != 3 {
		t.Errorf("%+v", f)
	}
	if got := s.unchangedBy(t, "salvage"); !strings.Contains(got.out, "Nothing was changed. --apply does it.") || !strings.Contains(got.out, "quarantine/00000001.log.1") {
		t.Errorf("%+v", got)
	}
	st, err := store.Open(s.dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := kustospool(t, "", "salvage", "--apply", "--spool", s.dir, "--lock-timeout", "0"); got.code != exitUsage || !strings.Contains(got.stderr, "a spool in use is not salvaged") {
		t.Errorf("%+v", got)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	done := decode[salvageReport](t, kustospool(t, "", "salvage", "--apply", "--json", "--spool", s.dir).out)
	if done.PutBack != 8 || done.Stored != 0 || !strings.HasPrefix(done.Kept, filepath.Join(s.dir, "quarantine")) {
		t.Errorf("%+v", done)
	}
	if r := checkOf(t, s, exitOK); r.Waiting != 8 || r.Bad != 0 {
		t.Errorf("%+v", r)
	}
	before := filesOf(t, s.dir)
	if got := kustospool(t, "", "salvage", "--apply", "--spool", s.dir); got.code != exitOK || !strings.Contains(got.out, "There was nothing to do.") || !maps.Equal(before, filesOf(t, s.dir)) {
		t.Errorf("%+v", got)
	}
	if got := kustospool(t, "", "salvage", "x", "--spool", s.dir); got.code != exitUsage {
		t.Errorf("%+v", got)
	}
}

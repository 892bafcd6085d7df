package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kustospool/store"
)

// checked is what Check told, added up.
type checked struct {
	good, bad, waitingBad int64
	seen                  map[at]bool
	badFiles              map[string]int64
}

func checkAt(t *testing.T, dir string) checked {
	t.Helper()
	before := traces(t, dir)
	p, err := store.Look(dir, crashOptions())
	if err != nil {
		t.Fatal(err)
	}
	out := checked{seen: map[at]bool{}, badFiles: map[string]int64{}}
	for c, err := range p.Check().Records() {
		if err != nil {
			t.Fatal(err)
		}
		for seq := c.First; seq <= c.Last; seq++ {
			if out.seen[at{uint64(c.Lane), seq}] {
				t.Errorf("record %d of lane %d is told of twice", seq, c.Lane)
			}
			out.seen[at{uint64(c.Lane), seq}] = true
		}
		if c.Err == nil {
			out.good += c.Records()
			continue
		}
		out.bad += c.Records()
		out.waitingBad += c.Waiting
		out.badFiles[c.File] += c.Records()
	}
	// What Waiting shows is what Check found of the same records.
	var shown, unreadable int64
	for _, lane := range p.Lanes() {
		next := uint64(0)
		for w, err := range p.Waiting(lane, 0) {
			if err != nil {
				t.Fatal(err)
			}
			if w.Seq < next {
				t.Errorf("lane %d: record %d behind %d", lane, w.Seq, next)
			}
			next = w.Last + 1
			if w.Err != nil {
				var damage *store.CorruptionError
				if !errors.As(w.Err, &damage) {
					t.Errorf("%v is no CorruptionError", w.Err)
				}
				unreadable += int64(w.Last - w.Seq + 1)
				continue
			}
			shown++
			if !out.seen[at{uint64(lane), w.Seq}] {
				t.Errorf("record %d of lane %d waits, and was not checked", w.Seq, lane)
			}
		}
	}
	st := p.Stats()
	if shown+unreadable != st.Open+st.Sealed {
		t.Errorf("%d records shown and %d unreadable, %d wait", shown, unreadable, st.Open+st.Sealed)
	}
	if unreadable != out.waitingBad {
		t.Errorf("%d waiting records cannot be shown, and %d were found bad", unreadable, out.waitingBad)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(before, traces(t, dir)) {
		t.Error("a check changed the spool")
	}
	return out
}

// TestCheck: every flip in a frame or an object is found in its file, and costs
// what it holds; every record that waits is told of once.
func TestCheck(t *testing.T) {
	c := makeCorpus(t)
	for name, files := range map[string]map[string][]byte{"clean": c.clean, "killed": c.unclean} {
		dir := t.TempDir()
		writeFiles(t, dir, files)
		if got := checkAt(t, dir); got.bad != 0 || got.good == 0 {
			t.Errorf("%s: %d good and %d bad %v", name, got.good, got.bad, got.badFiles)
		}
	}
	hurt := 0
	for _, name := range slices.Sorted(maps.Keys(c.clean)) {
		data := c.clean[name]
		var offs []int
		switch {
		case strings.HasPrefix(name, "objects/"):
			offs = []int{10, 100, len(data) - 1}
		case strings.HasSuffix(name, ".log"):
			all, _ := frames(data)
			for i := 0; i < len(all); i += 1 + len(all)/4 {
				offs = append(offs, int(all[i].off)+12, int(all[i].end)-1)
			}
		}
		for _, off := range offs {
			t.Run(fmt.Sprint(name, " at ", off), func(t *testing.T) {
				dir := t.TempDir()
				files := maps.Clone(c.clean)
				files[name] = flip(files[name], off)
				writeFiles(t, dir, files)
				got := checkAt(t, dir)
				if got.bad == 0 {
					// The active segment is read by the look, which counts what it finds.
					p, err := store.Look(dir, crashOptions())
					if err != nil {
						t.Fatal(err)
					}
					if p.Stats().Damaged == 0 {
						t.Error("the damage was not found")
					}
					if err := p.Close(); err != nil {
						t.Fatal(err)
					}
					return
				}
				hurt++
				// The look has read the active segment. Of a frame whose head is gone
				// it does not know that it was there.
				if unknown := got.badFiles[""]; len(got.badFiles) != 1 || got.badFiles[name] != got.bad && (name != activeOf(c.clean) || unknown != got.bad) {
					t.Errorf("%d bad records in %v, the damage is in %s", got.bad, got.badFiles, name)
				}
			})
		}
	}
	if hurt < 10 {
		t.Errorf("%d places were found damaged: this test sees little", hurt)
	}
}

// TestCheckMissing: a segment that is gone costs the records that wait in it.
func TestCheckMissing(t *testing.T) {
	c := makeCorpus(t)
	for name := range c.clean {
		if !strings.HasSuffix(name, ".log") && !strings.HasPrefix(name, "objects/") || name == activeOf(c.clean) {
			continue
		}
		dir := t.TempDir()
		writeFiles(t, dir, c.clean)
		whole := checkAt(t, dir)
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		got := checkAt(t, dir)
		if got.good+got.bad > whole.good || got.bad != got.waitingBad || got.good == whole.good && got.bad > 0 {
			t.Errorf("without %s: %d good, %d bad, before %d", name, got.good, got.bad, whole.good)
		}
		for file := range got.badFiles {
			if file != name {
				t.Errorf("without %s the bad records are in %q", name, file)
			}
		}
	}
}

// TestWaiting: the records are as they were given, and of a long one the
// beginning.
func TestWaiting(t *testing.T) {
	dir := t.TempDir()
	s := openStore(t, dir, nil)
	lane := laneOf(t, s, jsonTable("t"))
	appendOne(t, s, lane, "before")
	lines := append([]string{"before"}, lineObject(t, s, lane, 900, 3000)...)
	appendOne(t, s, lane, "after")
	lines = append(lines, "after")
	file := laneOf(t, s, parquetTable("t"))
	whole := noise(1, 3<<20)
	wholeObject(t, s, file, whole)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	p, err := store.Look(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for _, from := range []uint64{0, 1, 2, 450, 902, 903} {
		next := max(from, 1)
		for w, err := range p.Waiting(lane, from) {
			if err != nil || w.Err != nil || w.Seq != next || string(w.Data) != lines[next-1] || w.Cut || w.At.IsZero() {
				t.Fatalf("from %d: %+v, %v", from, w, err)
			}
			next++
		}
		if next != max(from, uint64(len(lines)+1)) {
			t.Errorf("from %d: ended before %d", from, next)
		}
	}
	n := 0
	for w, err := range p.Waiting(file, 0) {
		n++
		if err != nil || w.Err != nil || !w.Cut || len(w.Data) < 1<<20 || len(w.Data) > 3<<20 || !bytes.HasPrefix(whole, w.Data) {
			t.Errorf("%d bytes, %v, %v", len(w.Data), w.Err, err)
		}
	}
	if n != 1 {
		t.Errorf("%d records of a file", n)
	}
}

// TestCheck_OfOneMoment: what is settled and given back after a check began, before and
// while it reads, is told as gone; what came after it began is not told; and what is read
// before it goes is not told again.
func TestCheck_OfOneMoment(t *testing.T) {
	opts := store.Manual(&store.Options{SegmentBytes: store.MinSegmentBytes, MaxBytes: 64 << 20})
	s := openStore(t, t.TempDir(), opts)
	lane := laneOf(t, s, jsonTable("T"))
	record := []byte(`"` + strings.Repeat("x", 1000) + `"`)
	appendSome := func() {
		t.Helper()
		for range 150 {
			if _, err := s.AppendOne(ctx, lane, record, ""); err != nil {
				t.Fatal(err)
			}
		}
	}
	settleAll := func() {
		t.Helper()
		for _, e := range sealAll(t, s) {
			settle(t, s, e.Batch.ID)
		}
		store.Upkeep(s)
	}
	for name, during := range map[string]bool{"before the first read": false, "while it reads": true} {
		appendSome()
		c := s.Check()
		wait := c.Stats.Open + c.Stats.Sealed
		appendSome()
		if !during {
			settleAll()
		}
		var read, gone, waiting int64
		for part, err := range c.Records() {
			if err != nil || part.Err != nil {
				t.Fatal(name, err, part.Err)
			}
			if during && read+gone == 0 {
				settleAll()
			}
			read += part.Records()
			waiting += part.Waiting
			gone += part.Gone
		}
		if waiting+gone != wait || gone == 0 || during == (read == 0) {
			t.Errorf("%s: %d records waited; %d were read, %d of them waiting, and %d gone", name, wait, read, waiting, gone)
		}
		settleAll()
	}
}

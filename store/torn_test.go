package store

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"kustospool/ingest"
	"kustospool/internal/testutil/crash"
)

// tornHistory is a spool that was stopped without a close, with the bytes of
// its active segment after each commit.
type tornHistory struct {
	dir     string
	segment string // relative to dir
	images  [][]byte
	records []map[[2]uint64]string // lane, number -> data, after each commit
}

// newTornHistory makes commits of every shape: a lone small record, a large
// one, many lanes in a sheaf, records with keys, lanes that are new.
func newTornHistory(t *testing.T, rng *rand.Rand, commits int) *tornHistory {
	t.Helper()
	h := &tornHistory{dir: t.TempDir()}
	s, err := Open(h.dir, &Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	h.segment, err = filepath.Rel(h.dir, s.commit.active.path)
	if err != nil {
		t.Fatal(err)
	}
	lane := func(n int) uint32 {
		no, err := s.Lane(context.Background(), &ingest.Properties{Database: "D", Table: fmt.Sprint("T", n), Format: ingest.JSON}, FrameLimit{})
		if err != nil {
			t.Fatal(err)
		}
		return no
	}
	all := map[[2]uint64]string{}
	for c := range commits {
		var recs []Record
		record := func(l uint32, size int, key string) {
			data := fmt.Sprintf("%d/%d/%d:", c, l, len(recs))
			recs = append(recs, Record{Lane: l, Key: key, Data: []byte(data + strings.Repeat("x", size))})
		}
		switch rng.IntN(5) {
		case 0:
			record(lane(rng.IntN(3)), rng.IntN(1500), "")
		case 1:
			record(lane(rng.IntN(3)), 3000+rng.IntN(40000), "")
		case 2:
			for i := range 12 {
				record(lane(i), rng.IntN(2500), "")
			}
		case 3:
			for i := range 20 {
				record(lane(rng.IntN(3)), rng.IntN(300), fmt.Sprint("key ", c, " ", i))
			}
		case 4:
			record(lane(20+c), 100, "")
		}
		out, err := s.Append(context.Background(), recs)
		if err != nil {
			t.Fatal(err)
		}
		for i, a := range out {
			all[[2]uint64{uint64(recs[i].Lane), a.Seq}] = string(recs[i].Data)
		}
		h.records = append(h.records, maps.Clone(all))
		image, err := os.ReadFile(filepath.Join(h.dir, h.segment))
		if err != nil {
			t.Fatal(err)
		}
		h.images = append(h.images, image)
	}
	// A copy taken while the store is open is what a power cut leaves. The
	// keeper has nothing to do once the next segment is there.
	if err := s.fillShelf(); err != nil {
		t.Fatal(err)
	}
	h.dir = copySpool(t, h.dir)
	return h
}

func copySpool(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// torn is what a drive may have kept of commit n when the power went before its
// sync: all of the commits before, and some sectors of this one.
func (h *tornHistory) torn(rng *rand.Rand, n int) []byte {
	const sector = 512
	before, after := h.images[n-1], h.images[n]
	end := len(after)
	if rng.IntN(4) == 0 {
		end = len(before) // the new size is lost, and what stands behind the old one
	}
	out := make([]byte, end)
	copy(out, before)
	unit := sector
	if rng.IntN(2) == 0 {
		unit = 4096 // what a page cache writes at a time
	}
	var changed []int
	for at := 2 * 4096; at < end; at += unit { // with the meta page: without it the commit before counts anyhow
		if !bytes.Equal(out[at:min(at+unit, end)], after[at:min(at+unit, end)]) {
			changed = append(changed, at)
		}
	}
	copy(out[:2*4096], after)
	keep, one := rng.IntN(100), rng.IntN(len(changed))
	for i, at := range changed {
		var kept bool
		switch n % 3 {
		case 0:
			kept = rng.IntN(100) < keep
		case 1:
			kept = i != one
		case 2:
			kept = i == one
		}
		if kept {
			copy(out[at:min(at+unit, end)], after[at:])
		}
	}
	return out
}

// readAll gives every record that the store holds.
func readAll(t *testing.T, s *Store) map[[2]uint64]string {
	t.Helper()
	out := map[[2]uint64]string{}
	var seals []Seal
	for f, err := range s.Unsealed() {
		if err != nil {
			t.Fatal(err)
		}
		seals = append(seals, Seal{Lane: f.Lane, First: f.First, Last: f.Last, Bytes: f.Bytes, Guarantee: ingest.ExactlyOnce, Confirm: ingest.ConfirmIngested})
	}
	if len(seals) == 0 {
		return out
	}
	if _, err := s.Seal(context.Background(), seals); err != nil {
		t.Fatal(err)
	}
	for _, e := range s.Live() {
		var b bytes.Buffer
		r := s.Payload(&e.Batch).Open()
		if _, err := b.ReadFrom(r); err != nil {
			t.Fatal(err)
		}
		r.Close()
		for i, line := range strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n") {
			out[[2]uint64{uint64(e.Batch.Lane), e.Batch.First + uint64(i)}] = line
		}
	}
	return out
}

// TestTornCommit: whatever subset of a commit's sectors a drive has kept, every
// record of the commits before is there and nothing of it is taken for damage;
// of the torn commit there is all or nothing. The control reads the same files
// without going back to the commit before, and must see what that loses.
func TestTornCommit(t *testing.T) {
	rng := crash.Seed(t)
	undone, kept, lostWithout := 0, 0, 0
	for range 6 {
		h := newTornHistory(t, rng, 40)
		for range 25 {
			n := 1 + rng.IntN(len(h.images)-1)
			dir := copySpool(t, h.dir)
			path := filepath.Join(dir, h.segment)
			if err := os.WriteFile(path, h.torn(rng, n), 0o600); err != nil {
				t.Fatal(err)
			}
			if lostTo(path, h.records[n-1]) {
				lostWithout++
			}
			s, err := Open(dir, &Options{NoSync: true})
			if err != nil {
				t.Fatal(err)
			}
			if st := s.Stats(); st.Damaged != 0 || st.Suspect != 0 {
				t.Errorf("a torn commit was taken for damage: %+v", st)
			}
			got := readAll(t, s)
			switch {
			case maps.Equal(got, h.records[n-1]):
				undone++
			case maps.Equal(got, h.records[n]):
				kept++
			default:
				t.Errorf("%d records, want the %d of before or the %d of after", len(got), len(h.records[n-1]), len(h.records[n]))
			}
			// It goes on where it was.
			lane := slices.Min(s.Lanes())
			if _, err := s.AppendOne(context.Background(), lane, []byte("on"), ""); err != nil {
				t.Error(err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if s, err = Open(dir, &Options{NoSync: true}); err != nil {
				t.Fatal(err)
			}
			if st := s.Stats(); st.Damaged != 0 || st.Suspect != 0 || st.Acked != int64(len(got)+1) {
				t.Errorf("opened again: %+v, want %d records", st, len(got)+1)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	t.Logf("undone %d, kept %d; lost without going back: %d", undone, kept, lostWithout)
	if undone == 0 || kept == 0 || lostWithout == 0 {
		t.Error("the cuts did not show all that a cut can do")
	}
}

// lostTo reports whether records are lost to who opens the file as it is.
func lostTo(path string, want map[[2]uint64]string) bool {
	sv, err := surveySegment(path, &Options{}, true)
	if err != nil || sv.bad > 0 {
		return true
	}
	for at := range want {
		if l, ok := sv.lanes[uint32(at[0])]; !ok || l.Last < at[1] {
			return true
		}
	}
	return false
}

// TestDamageIsNotUndone: frames that went bad long ago cost themselves, and a
// transaction that had acknowledged records is not undone for pages that are
// bad now.
func TestDamageIsNotUndone(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	h := newTornHistory(t, rng, 12)
	last := h.images[len(h.images)-1]
	frame := bytes.Index(last, []byte(frameMagic))
	if frame < 0 {
		t.Fatal("no frame")
	}
	hurt := bytes.Clone(last)
	hurt[frame+frameHeaderLen] ^= 1
	dir := copySpool(t, h.dir)
	if err := os.WriteFile(filepath.Join(dir, h.segment), hurt, 0o600); err != nil {
		t.Fatal(err)
	}
	undone, err := settle(filepath.Join(dir, h.segment), nil, true)
	if undone || err != nil {
		t.Errorf("a frame's bit: undone %v, %v", undone, err)
	}
	// The newest root page is broken, and the books say that it was acknowledged.
	metas, err := readMetas(filepath.Join(h.dir, h.segment))
	if err != nil {
		t.Fatal(err)
	}
	m, _ := metas.newest()
	hurt = bytes.Clone(last)
	clear(hurt[int64(m.root)*m.pageSize : int64(m.root+1)*m.pageSize])
	path := filepath.Join(dir, h.segment)
	if err := os.WriteFile(path, hurt, 0o600); err != nil {
		t.Fatal(err)
	}
	known := map[uint32]uint64{}
	for at := range h.records[len(h.records)-1] {
		known[uint32(at[0])] = max(known[uint32(at[0])], at[1])
	}
	if undone, err := settle(path, known, true); undone || err == nil {
		t.Errorf("acknowledged records were undone: %v, %v", undone, err)
	}
	if undone, err := settle(path, nil, true); !undone || err != nil {
		t.Errorf("where nothing is known of it, it is undone: %v, %v", undone, err)
	}
}

package object

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"

	"pgregory.net/rapid"

	"kustospool/internal/vfs"
	"kustospool/internal/vfs/memfs"
)

var spool = [8]byte{1, 2, 3, 4, 5, 6, 7, 8}

func newDir(t testing.TB, fsys *memfs.FS) *Dir {
	t.Helper()
	if err := fsys.MkdirAll("/objects"); err != nil {
		t.Fatal(err)
	}
	return &Dir{FS: fsys, Path: "/objects", Spool: spool}
}

func noise(seed uint64, n int) []byte {
	var key [32]byte
	key[0] = byte(seed)
	out := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(out)
	return out
}

func refOf(w *Writer) *Ref {
	return &Ref{ID: w.ID(), Size: w.Size(), Records: uint64(w.Records()), Bytes: w.Bytes(), Separator: w.separator}
}

// write makes an object of records of these sizes, and says what they are.
func write(t testing.TB, d *Dir, sizes []int) (*Ref, [][]byte) {
	t.Helper()
	w, err := d.New(1)
	if err != nil {
		t.Fatal(err)
	}
	var recs [][]byte
	for i, n := range sizes {
		recs = append(recs, noise(uint64(i), n))
		if err := w.Record(recs[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Finish(), d.Sync()); err != nil {
		t.Fatal(err)
	}
	w.Retain()
	return refOf(w), recs
}

// readAll reads a range in runs of limit bytes.
func readAll(d *Dir, o *Ref, from, last uint64, limit int) ([]byte, error) {
	var out []byte
	var pos Pos
	for next := from; next <= last; {
		var buf []byte
		var err error
		buf, next, err = d.Read(o, next, last, &pos, nil, limit)
		out = append(out, buf...)
		if err != nil {
			return out, err
		}
		if len(buf) > limit+ChunkBytes+maxBody {
			return out, fmt.Errorf("a run of %d bytes", len(buf))
		}
	}
	return out, nil
}

func joined(recs [][]byte) []byte {
	var out []byte
	for _, r := range recs {
		out = append(append(out, r...), '\n')
	}
	return out
}

// TestRecords: any range of any records is read as it was written, in runs of
// any length, and its size is told.
func TestRecords(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := newDir(t, memfs.New(1))
		size := rapid.OneOf(rapid.IntRange(1, 300), rapid.IntRange(ChunkBytes-3, ChunkBytes+3), rapid.IntRange(1, 3*ChunkBytes))
		o, recs := write(t, d, rapid.SliceOfN(size, 1, 8).Draw(rt, "sizes"))
		from := rapid.Uint64Range(0, o.Records-1).Draw(rt, "from")
		last := rapid.Uint64Range(from, o.Records-1).Draw(rt, "last")
		got, err := readAll(d, o, from, last, rapid.SampledFrom([]int{1, ChunkBytes, 4 * ChunkBytes}).Draw(rt, "limit"))
		want := joined(recs[from : last+1])
		if err != nil || !bytes.Equal(got, want) {
			rt.Fatalf("%d..%d: %d bytes of %d, %v", from, last, len(got), len(want), err)
		}
		a, err1 := d.Offset(o, from)
		b, err2 := d.Offset(o, last+1)
		if err1 != nil || err2 != nil || b-a != int64(len(want)) || a != int64(len(joined(recs[:from]))) {
			rt.Fatalf("offsets %d, %d of %d..%d, %v %v", a, b, from, last, err1, err2)
		}
	})
}

// TestOneRecord: an object without a separator is one record, of any size.
func TestOneRecord(t *testing.T) {
	for _, n := range []int{1, ChunkBytes - 1, ChunkBytes, ChunkBytes + 1, 3*ChunkBytes + 17} {
		d := newDir(t, memfs.New(1))
		w, err := d.New(0)
		if err != nil {
			t.Fatal(err)
		}
		data := noise(1, n)
		for p := data; len(p) > 0; {
			k, err := w.Write(p[:min(len(p), 300_000)])
			if err != nil {
				t.Fatal(err)
			}
			p = p[k:]
		}
		if err := w.Finish(); err != nil {
			t.Fatal(err)
		}
		if w.Records() != 1 || w.Bytes() != int64(n) {
			t.Errorf("%d records of %d bytes", w.Records(), w.Bytes())
		}
		if got, err := readAll(d, refOf(w), 0, 0, 1<<20); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes: read %d, %v", n, len(got), err)
		}
		if err := w.Discard(); err != nil {
			t.Fatal(err)
		}
		if left, _ := d.List(); len(left) > 0 {
			t.Errorf("left after Discard: %v", left)
		}
	}
}

// TestDamage: whatever byte is bad, other chunks are read, and no wrong byte is.
func TestDamage(t *testing.T) {
	fsys := memfs.New(1)
	d := newDir(t, fsys)
	o, recs := write(t, d, []int{400_000, 400_000, 2*ChunkBytes + 5, 700_000, 10})
	path := d.FilePath(o.ID)
	sound, err := fsys.Contents(path)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 60 {
		bad := bytes.Clone(sound)
		at := rng.IntN(len(bad))
		if i < chunkHeaderLen {
			at = i
		}
		what := "flip"
		switch i % 3 {
		case 0:
			bad[at] ^= 1 << rng.IntN(8)
		case 1:
			what, bad = "cut", bad[:at]
		case 2:
			what = "zeros"
			clear(bad[at:min(at+5000, len(bad))])
			if bytes.Equal(bad, sound) {
				continue
			}
		}
		fsys.Put(path, bad)
		read := 0
		for n := range o.Records {
			got, err := readAll(d, o, n, n, ChunkBytes)
			var damage *DamageError
			switch {
			case err == nil && bytes.Equal(got, joined(recs[n:n+1])):
				read++
			case !errors.As(err, &damage) || damage.First > n || damage.Last < n:
				t.Fatalf("%s at %d: record %d: %d bytes, %v", what, at, n, len(got), err)
			}
		}
		if what == "flip" && at >= chunkHeaderLen && read < 2 {
			t.Errorf("%s at %d: only %d records can be read", what, at, read)
		}
		if read == len(recs) {
			t.Errorf("%s at %d was not noticed", what, at)
		}
		var raw int
		if err := d.Salvage(o, 0, o.Records-1, 1<<30, func(b []byte) bool { raw += len(b); return true }); err != nil {
			t.Errorf("%s at %d: salvage: %v", what, at, err)
		}
		if raw != len(bad) {
			t.Errorf("%s at %d: %d bytes of %d set aside", what, at, raw, len(bad))
		}
	}
	// The controls: the sound file is read, a missing one is damage.
	fsys.Put(path, sound)
	if got, err := readAll(d, o, 0, 4, ChunkBytes); err != nil || !bytes.Equal(got, joined(recs)) {
		t.Errorf("the sound file: %v", err)
	}
	fsys.Delete(path)
	var damage *DamageError
	if _, err := readAll(d, o, 3, 3, ChunkBytes); !errors.As(err, &damage) || damage.First != 0 || damage.Last != 4 {
		t.Errorf("a missing file: %v", err)
	}
}

// TestNoRoom: a call that found no room can be repeated, and the object is as
// if there had been room.
func TestNoRoom(t *testing.T) {
	fsys := memfs.New(1)
	d := newDir(t, fsys)
	full := errors.New("full")
	tries := 0
	d.Room = func(int64) error {
		if tries++; tries%3 == 1 {
			return full
		}
		return nil
	}
	size := map[string]int64{}
	d.Sized = func(path string, n int64) { size[path] = n }
	w, err := d.New(1)
	if err != nil {
		t.Fatal(err)
	}
	var recs [][]byte
	again := func(do func() error) {
		t.Helper()
		for range 20 {
			if err = do(); err == nil {
				return
			}
			if !errors.Is(err, full) && !vfs.NoSpace(err) {
				break
			}
		}
		t.Fatal(err)
	}
	for i, n := range []int{700_000, 700_000, ChunkBytes * 2, 5, ChunkBytes + 1} {
		recs = append(recs, noise(uint64(i), n))
		if i == 2 {
			fsys.Fail(memfs.Write, 2, syscall.ENOSPC)
		}
		again(func() error { return w.Record(recs[i]) })
	}
	again(w.Finish)
	o := refOf(w)
	if got, err := readAll(d, o, 0, 4, ChunkBytes); err != nil || !bytes.Equal(got, joined(recs)) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if size[d.FilePath(o.ID)] != o.Size || len(size) != 2 {
		t.Errorf("sizes told: %v, the file has %d", size, o.Size)
	}
	if info, _ := fsys.Stat(d.FilePath(o.ID)); info.Size != o.Size {
		t.Errorf("the file has %d bytes, not %d", info.Size, o.Size)
	}
}

// TestFailedSync ends an object for good.
func TestFailedSync(t *testing.T) {
	fsys := memfs.New(1)
	d := newDir(t, fsys)
	w, err := d.New(1)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Record([]byte("x")); err != nil {
		t.Fatal(err)
	}
	fsys.Fail(memfs.Sync, 1, syscall.EIO)
	for range 2 {
		if err := w.Finish(); !errors.Is(err, syscall.EIO) {
			t.Errorf("Finish: %v", err)
		}
	}
	if err := w.Record([]byte("y")); err == nil {
		t.Error("a broken object took a record")
	}
	if err := errors.Join(w.Discard(), w.Discard()); err != nil {
		t.Error(err)
	}
	if infos, _ := fsys.List("/objects"); len(infos) > 0 {
		t.Errorf("left: %v", infos)
	}
}

// TestPowerCut: an object that was finished and whose directory was synced is
// whole after a power cut; with NoSync, the negative control, some are not.
func TestPowerCut(t *testing.T) {
	survived := func(noSync bool) (whole int) {
		for seed := range uint64(100) {
			fsys := memfs.New(seed)
			d := newDir(t, fsys)
			d.NoSync = noSync
			o, recs := write(t, d, []int{3000, 4000})
			after := newDir(t, fsys.Crash())
			if err := after.Sweep(); err != nil {
				t.Fatal(err)
			}
			if got, err := readAll(after, o, 0, 1, ChunkBytes); err == nil && bytes.Equal(got, joined(recs)) {
				whole++
			}
		}
		return whole
	}
	if n := survived(false); n != 100 {
		t.Errorf("%d of 100 survived", n)
	}
	if n := survived(true); n == 100 {
		t.Error("without a sync nothing was lost")
	}
}

// TestSweep leaves complete objects, and what is not ours, alone.
func TestSweep(t *testing.T) {
	fsys := memfs.New(1)
	d := newDir(t, fsys)
	o, _ := write(t, d, []int{10})
	if _, err := d.New(1); err != nil {
		t.Fatal(err)
	}
	fsys.Put("/objects/note.tmp", []byte("mine"))
	if err := d.Sweep(); err != nil {
		t.Fatal(err)
	}
	files, err := d.List()
	if err != nil || len(files) != 1 || files[0] != (File{o.ID, o.Size}) {
		t.Errorf("%v, %v", files, err)
	}
	var names []string
	infos, _ := fsys.List("/objects")
	for _, i := range infos {
		names = append(names, i.Name)
	}
	if len(names) != 2 || !strings.Contains(fmt.Sprint(names), "note.tmp") {
		t.Errorf("left: %v", names)
	}
}

// FuzzHeader: no bytes make the parser accept what a reader could trip over.
func FuzzHeader(f *testing.F) {
	id := ID{9}
	p := make([]byte, chunkHeaderLen+10)
	h := header{count: 1, bytes: 10}
	h.put(p, spool, id)
	f.Add(p)
	f.Fuzz(func(t *testing.T, p []byte) {
		if len(p) >= 32 {
			copy(p, chunkMagic)
			copy(p[8:], spool[:])
			copy(p[16:], id[:])
		}
		h, err := parseHeader(spool, id, p)
		if err != nil {
			return
		}
		if h.body <= 0 || h.body > maxBody || h.before < 0 || h.last() < h.first && h.flags == 0 {
			t.Errorf("accepted %+v", h)
		}
		if len(p) >= chunkHeaderLen {
			_ = h.each(p[chunkHeaderLen:], func(uint64, []byte) bool { return true })
		}
	})
}

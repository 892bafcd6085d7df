package store_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"kustospool/store"
)

// traces are all that a directory shows of its files: names, modes, sizes, times, bytes.
func traces(t testing.TB, dir string) map[string]string {
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
		trace := fmt.Sprint(info.Mode(), info.Size(), info.ModTime().UnixNano())
		if info.Mode().IsRegular() {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			trace += string(data)
		}
		out[path] = trace
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// view is what a spool shows: of a Store or of a Picture.
type view struct {
	Stats  store.Stats
	Lanes  []uint32
	Frames []store.Frame
	Live   []store.Entry
	Dead   []string
	Errs   int
}

// viewOf walks what is open before it takes the counters, which know ages then.
func viewOf(s *store.Store, p *store.Picture) (v view) {
	unsealed, dead := s.Unsealed, s.DeadLetters
	if p != nil {
		unsealed, dead = p.Unsealed, p.DeadLetters
	}
	for f, err := range unsealed() {
		if err != nil {
			v.Errs++
		}
		v.Frames = append(v.Frames, f)
	}
	for e, err := range dead() {
		if err != nil {
			v.Errs++
		}
		v.Dead = append(v.Dead, fmt.Sprint(e.Batch.ID, e.Failure))
	}
	if p != nil {
		v.Stats, v.Lanes, v.Live = p.Stats(), p.Lanes(), p.Live()
	} else {
		v.Stats, v.Lanes, v.Live = s.Stats(), s.Lanes(), s.Live()
	}
	// Opening makes room and takes some: these are not of the books.
	v.Stats.DiskBytes, v.Stats.Segments = 0, 0
	return v
}

// lookAt looks at a directory and sees to it that nothing in it changes.
func lookAt(t *testing.T, dir string) (v view, disk int64, err error) {
	t.Helper()
	before := traces(t, dir)
	p, err := store.Look(dir, crashOptions())
	if err == nil {
		disk = p.Stats().DiskBytes
		v = viewOf(nil, p)
		if err := p.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	after := traces(t, dir)
	for name := range before {
		if before[name] != after[name] {
			t.Errorf("a look changed %s", name)
		}
	}
	for name := range after {
		if _, ok := before[name]; !ok {
			t.Errorf("a look made %s", name)
		}
	}
	return v, disk, err
}

// flip changes one bit.
func flip(data []byte, off int) []byte {
	out := bytes.Clone(data)
	out[off] ^= 1
	return out
}

// leaves finds pages of the manifest that hold rows: each one's place, and that
// of its first key.
func leaves(data []byte) (pages, keys []int) {
	const size, header, leaf = 4096, 16, 2
	for off := 2 * size; off+size <= len(data); off += size {
		p := data[off:]
		if binary.NativeEndian.Uint16(p[8:]) != leaf || binary.NativeEndian.Uint16(p[10:]) == 0 {
			continue
		}
		pages = append(pages, off)
		keys = append(keys, off+header+int(binary.NativeEndian.Uint32(p[header+4:])))
	}
	return pages, keys
}

func TestLook(t *testing.T) {
	if os.Getpagesize() != 4096 {
		t.Log("pages of another size: fewer kinds of damage")
	}
	c := makeCorpus(t)
	total := func(files map[string][]byte) (n int64) {
		for _, data := range files {
			n += int64(len(data))
		}
		return n
	}
	ledgerLost := func(t *testing.T, err error) {
		var e *store.LedgerError
		if !errors.As(err, &e) || e.Records == 0 || e.Segments == 0 || !strings.Contains(err.Error(), "sent again") {
			t.Errorf("a look at a damaged ledger: %v", err)
		}
	}
	type row struct {
		name   string
		files  map[string][]byte
		hurt   func(t *testing.T, dir string, files map[string][]byte)
		broken bool // the ledger cannot be read
		exact  bool // DiskBytes are those of the files
	}
	manifest := func(change func([]byte) []byte) func(*testing.T, string, map[string][]byte) {
		return func(_ *testing.T, _ string, files map[string][]byte) {
			files["manifest.db"] = change(files["manifest.db"])
		}
	}
	rows := []row{
		{name: "sound", files: c.clean, exact: true},
		{name: "killed", files: c.unclean, exact: true},
		{name: "no manifest", files: c.clean, broken: true, hurt: func(_ *testing.T, _ string, files map[string][]byte) { delete(files, "manifest.db") }},
		{name: "a manifest of nothing", files: c.unclean, broken: true, hurt: manifest(func([]byte) []byte { return nil })},
		{name: "no lock", files: c.clean, hurt: func(_ *testing.T, _ string, files map[string][]byte) { delete(files, "lock") }},
		{name: "torn commit of the ledger", files: c.unclean, hurt: manifest(func(p []byte) []byte {
			// The newer of the two meta pages is the one with the higher transaction.
			const txid = 16 + 48
			off := 0
			if binary.NativeEndian.Uint64(p[4096+txid:]) > binary.NativeEndian.Uint64(p[txid:]) {
				off = 4096
			}
			return flip(p, off+txid+8)
		})},
		{name: "torn commit of the log", files: c.unclean, hurt: func(_ *testing.T, _ string, files map[string][]byte) {
			name := activeOf(files)
			_, last := frames(files[name])
			files[name] = bytes.Clone(files[name])
			clear(files[name][last+200:])
		}},
		{name: "damage in the active segment", files: c.unclean, hurt: func(_ *testing.T, _ string, files map[string][]byte) {
			name := activeOf(files)
			all, _ := frames(files[name])
			files[name] = flip(files[name], int(all[len(all)/2].off)+70)
		}},
		{name: "FIFO and stranger", files: c.clean, hurt: func(t *testing.T, dir string, files map[string][]byte) {
			files["segments/99999999.log"] = []byte("no segment")
			files["segments/note.txt"] = []byte("mine")
			if runtime.GOOS == "windows" {
				return
			}
			for _, name := range []string{"pipe", "segments/99999998.log", "segments/pipe", "objects/pipe", "dead/pipe"} {
				if out, err := exec.Command("mkfifo", filepath.Join(dir, name)).CombinedOutput(); err != nil {
					t.Fatalf("mkfifo: %v: %s", err, out)
				}
			}
		}},
		{name: "a segment is missing", files: c.clean, hurt: func(_ *testing.T, _ string, files map[string][]byte) {
			names := slices.Sorted(maps.Keys(files))
			for _, name := range names {
				if strings.HasSuffix(name, ".log") && name != activeOf(files) {
					delete(files, name)
					return
				}
			}
		}},
	}
	pages, keys := leaves(c.clean["manifest.db"])
	if len(pages) == 0 && os.Getpagesize() == 4096 {
		t.Fatal("no page with rows in the manifest")
	}
	for i := range pages {
		rows = append(rows,
			row{name: fmt.Sprintf("flip in a key at %d", keys[i]), files: c.clean, hurt: manifest(func(p []byte) []byte { return flip(p, keys[i]) })},
			row{name: fmt.Sprintf("flip in an overflow at %d", pages[i]+12), files: c.clean, hurt: manifest(func(p []byte) []byte { return flip(p, pages[i]+12) })})
	}
	broken := 0
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			dir := t.TempDir()
			files := maps.Clone(r.files)
			writeFiles(t, dir, nil)
			if r.hurt != nil {
				r.hurt(t, dir, files)
			}
			writeFiles(t, dir, files)
			got, disk, err := lookAt(t, dir)
			if strings.HasPrefix(r.name, "flip") && err != nil || r.broken {
				ledgerLost(t, err)
				broken++
				lookThenOpen(t, dir, err)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if r.exact && disk != total(files) {
				t.Errorf("%d bytes on disk, the files have %d", disk, total(files))
			}
			before := traces(t, dir)
			s := openStore(t, dir, crashOptions())
			if maps.Equal(before, traces(t, dir)) {
				t.Error("not even Open leaves a trace: this test sees nothing")
			}
			if want := viewOf(s, nil); !reflect.DeepEqual(got, want) {
				t.Errorf("a look shows\n%+v, and Open\n%+v", got.Stats, want.Stats)
				t.Logf("%d frames and %d, %d live and %d, %v dead and %v", len(got.Frames), len(want.Frames), len(got.Live), len(want.Live), got.Dead, want.Dead)
			}
		})
	}
	if len(pages) > 0 && broken < 4 {
		t.Errorf("%d rows had a ledger that cannot be read: the flips hit nothing", broken)
	}
}

// lookThenOpen checks what a look said that Open would do.
func lookThenOpen(t *testing.T, dir string, looked error) {
	t.Helper()
	var e *store.LedgerError
	if !errors.As(looked, &e) {
		return
	}
	s := openStore(t, dir, crashOptions())
	if n := s.Stats().PossibleDuplicates; n != e.Records {
		t.Errorf("the look said that %d records would be sent again; they are %d", e.Records, n)
	}
}

// TestLookAtVariants: whatever was damaged, a look changes nothing, and tells
// what Open then finds.
func TestLookAtVariants(t *testing.T) {
	c := makeCorpus(t)
	n := uint64(60)
	if testing.Short() {
		n = 15
	}
	for seed := range n {
		v := c.variant(t, 1000+seed)
		dir := t.TempDir()
		writeFiles(t, dir, v.files)
		got, _, err := lookAt(t, dir)
		if err != nil {
			var e *store.LedgerError
			if !errors.As(err, &e) {
				t.Errorf("variant %s: %v", v.name, err)
			}
			lookThenOpen(t, dir, err)
			continue
		}
		s := openStore(t, dir, crashOptions())
		if want := viewOf(s, nil); !reflect.DeepEqual(got, want) {
			t.Errorf("variant %s: a look shows\n%+v, and Open\n%+v", v.name, got.Stats, want.Stats)
		}
	}
}

func TestLookWithHolder(t *testing.T) {
	dir := t.TempDir()
	if _, err := store.Look(dir, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a look at nothing: %v", err)
	}
	if _, err := store.Look(filepath.Join(dir, "none"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a look at no directory: %v", err)
	}
	if left := contents(t, dir); len(left) > 0 {
		t.Errorf("a look made %v", left)
	}
	s, err := store.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	quick := &store.Options{LockTimeout: time.Nanosecond}
	var locked *store.LockedError
	if _, err := store.Look(dir, quick); !errors.As(err, &locked) || !strings.Contains(locked.Owner, fmt.Sprint("pid ", os.Getpid())) {
		t.Errorf("a look at a spool in use: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	p, err := store.Look(dir, quick)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(dir, quick); !errors.As(err, &locked) {
		t.Errorf("opened while it was looked at: %v", err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	openStore(t, dir, quick)
}

// reads is a context that ends when its error was asked for a number of times, which a
// look does before each read.
type reads struct {
	context.Context
	left, asked int
}

func (r *reads) Err() error {
	if r.asked++; r.asked > r.left {
		return context.DeadlineExceeded
	}
	return nil
}

// TestLookThatEnds: wherever in a look its context ends, it is that error and no damage,
// the lock is free, and nothing has changed; and a Picture reads nothing any more.
func TestLookThatEnds(t *testing.T) {
	c := makeCorpus(t)
	dir := t.TempDir()
	writeFiles(t, dir, c.unclean)
	before := traces(t, dir)
	quick := crashOptions()
	quick.LockTimeout = time.Nanosecond
	ended := 0
	for n := 0; ; n++ {
		ctx := &reads{Context: t.Context(), left: n}
		p, err := store.LookContext(ctx, dir, quick)
		if err == nil {
			ctx.left = 0
			for f, err := range p.Unsealed() {
				if err == nil {
					t.Fatalf("read %+v after the end", f)
				}
				break
			}
			if err := p.Close(); err != nil {
				t.Fatal(err)
			}
			break
		}
		var lost *store.LedgerError
		if !errors.Is(err, context.DeadlineExceeded) || errors.As(err, &lost) {
			t.Fatalf("ended after %d reads: %v", n, err)
		}
		ended++
	}
	if ended < 5 {
		t.Errorf("a look was ended at %d places: it does not ask", ended)
	}
	if !maps.Equal(before, traces(t, dir)) {
		t.Error("a look that ended changed the spool")
	}
	openStore(t, dir, quick) // the lock is free
}

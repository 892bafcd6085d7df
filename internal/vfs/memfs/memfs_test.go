package memfs_test

import (
	"bytes"
	"errors"
	"fmt"
	"syscall"
	"testing"

	"kustospool/internal/vfs"
	"kustospool/internal/vfs/memfs"
)

const seeds = 200

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func create(t *testing.T, fsys vfs.FS, name string) vfs.File {
	t.Helper()
	f, err := fsys.Open(name, vfs.Create)
	must(t, err)
	return f
}

// afterCrash writes two times four sectors, with or without a Sync after the
// first and of the directory, and says what is left for each seed.
func afterCrash(t *testing.T, sync, syncDir bool) map[string]int {
	found := map[string]int{}
	for seed := range uint64(seeds) {
		fsys := memfs.New(seed)
		must(t, fsys.MkdirAll("/d"))
		f := create(t, fsys, "/d/f")
		write := func(c byte, off int64) {
			_, err := f.WriteAt(bytes.Repeat([]byte{c}, 2048), off)
			must(t, err)
		}
		write('a', 0)
		if sync {
			must(t, f.Sync())
		}
		if syncDir {
			must(t, fsys.SyncDir("/d"))
		}
		write('b', 1024)
		b, err := fsys.Crash().Contents("/d/f")
		if vfs.Missing(err) {
			found["missing"]++
			continue
		}
		must(t, err)
		var what []byte
		for i := 0; i < len(b); i += 512 {
			if bytes.Count(b[i:i+512], b[i:i+1]) != 512 {
				t.Fatalf("seed %d: a sector is torn", seed)
			}
			what = append(what, "0ab"[bytes.IndexByte([]byte{0, 'a', 'b'}, b[i])])
		}
		found[string(what)]++
	}
	return found
}

// TestCrash: what was synced is there, with every outcome of what was not;
// without the syncs, which is the negative control, it gets lost.
func TestCrash(t *testing.T) {
	for what := range afterCrash(t, true, true) {
		if len(what) < 4 || what[:2] != "aa" {
			t.Errorf("durable sectors came back as %q", what)
		}
		for _, c := range what[2:min(4, len(what))] {
			if c != 'a' && c != 'b' {
				t.Errorf("sectors came back as %q", what)
			}
		}
	}
	if n := len(afterCrash(t, true, true)); n < 12 {
		t.Errorf("only %d outcomes", n)
	}
	if afterCrash(t, true, false)["missing"] == 0 {
		t.Error("no file was lost whose directory was not synced")
	}
	if found := afterCrash(t, false, true); found["aabbbb"] == seeds || found[""] == 0 || found["0000"]+found["00"]+found["000000"] == 0 {
		t.Errorf("nothing was lost without a sync: %v", found)
	}
}

func TestDeterminism(t *testing.T) {
	if a, b := fmt.Sprint(afterCrash(t, false, false)), fmt.Sprint(afterCrash(t, false, false)); a != b {
		t.Errorf("the same seeds gave %s and %s", a, b)
	}
}

// TestKill: a killed process loses nothing, and a power cut after it may.
func TestKill(t *testing.T) {
	lost := 0
	for seed := range uint64(seeds) {
		fsys := memfs.New(seed)
		f := create(t, fsys, "/f")
		_, err := f.WriteAt([]byte("data"), 0)
		must(t, err)
		if _, err := fsys.Lock("/lock"); err != nil {
			t.Fatal(err)
		}
		next := fsys.Kill()
		if _, err := f.WriteAt([]byte("late"), 0); !errors.Is(err, memfs.ErrOff) {
			t.Errorf("a dead process wrote: %v", err)
		}
		if b, err := next.Contents("/f"); err != nil || string(b) != "data" {
			t.Fatalf("after a kill: %q, %v", b, err)
		}
		if _, err := next.Lock("/lock"); err != nil {
			t.Errorf("the lock outlived its process: %v", err)
		}
		if b, _ := next.Crash().Contents("/f"); string(b) != "data" {
			lost++
		}
	}
	if lost == 0 {
		t.Error("a power cut after a kill lost nothing")
	}
}

// TestRename: the file is under its old name, or under its new one, and never
// under both.
func TestRename(t *testing.T) {
	found := map[string]int{}
	for seed := range uint64(seeds) {
		fsys := memfs.New(seed)
		f := create(t, fsys, "/1")
		_, err := f.WriteAt([]byte("x"), 0)
		must(t, err)
		must(t, f.Sync())
		must(t, fsys.SyncDir("/"))
		must(t, fsys.Rename("/1", "/2"))
		must(t, fsys.Rename("/2", "/3"))
		list, err := fsys.Crash().List("/")
		must(t, err)
		if len(list) != 1 {
			t.Fatalf("seed %d: %+v", seed, list)
		}
		found[list[0].Name]++
	}
	if len(found) != 3 {
		t.Errorf("only these outcomes: %v", found)
	}
}

// TestMove: a file that is moved between directories is in one of them, and in
// the new one once either was synced.
func TestMove(t *testing.T) {
	for _, sync := range []string{"", "/a", "/b"} {
		found := map[string]int{}
		for seed := range uint64(seeds) {
			fsys := memfs.New(seed)
			must(t, fsys.MkdirAll("/a"))
			must(t, fsys.MkdirAll("/b"))
			create(t, fsys, "/a/1")
			must(t, fsys.SyncDir("/a"))
			must(t, fsys.Rename("/a/1", "/b/2"))
			if sync != "" {
				must(t, fsys.SyncDir(sync))
			}
			after := fsys.Crash()
			_, errA := after.Stat("/a/1")
			_, errB := after.Stat("/b/2")
			if (errA == nil) == (errB == nil) {
				t.Fatalf("seed %d: old name %v, new name %v", seed, errA, errB)
			}
			found[map[bool]string{true: "old", false: "new"}[errA == nil]]++
		}
		if sync != "" && found["old"] > 0 || sync == "" && len(found) != 2 {
			t.Errorf("synced %q: %v", sync, found)
		}
	}
}

// TestFailedSync: what a failed Sync left out does not become durable by the
// next one, and can be read until then.
func TestFailedSync(t *testing.T) {
	lost := 0
	for seed := range uint64(seeds) {
		fsys := memfs.New(seed)
		f := create(t, fsys, "/f")
		must(t, fsys.SyncDir("/"))
		fsys.Fail(memfs.Sync, 1, syscall.EIO)
		_, err := f.WriteAt([]byte("data"), 0)
		must(t, err)
		if err := f.Sync(); !errors.Is(err, syscall.EIO) {
			t.Fatalf("Sync: %v", err)
		}
		must(t, f.Sync())
		if b, _ := fsys.Contents("/f"); string(b) != "data" {
			t.Fatalf("read back %q", b)
		}
		if b, _ := fsys.Crash().Contents("/f"); string(b) != "data" {
			lost++
		}
	}
	if lost == 0 || lost == seeds {
		t.Errorf("%d of %d lost", lost, seeds)
	}
}

// TestLimit: a full volume takes what fits, and more after something went.
func TestLimit(t *testing.T) {
	fsys := memfs.New(1)
	fsys.Limit(1000)
	f := create(t, fsys, "/f")
	n, err := f.WriteAt(make([]byte, 1500), 0)
	if n != 1000 || !vfs.NoSpace(err) {
		t.Errorf("wrote %d, %v", n, err)
	}
	if _, err := f.WriteAt(make([]byte, 500), 500); err != nil {
		t.Errorf("writing again what is there: %v", err)
	}
	g := create(t, fsys, "/g")
	if _, err := g.WriteAt([]byte("x"), 0); !vfs.NoSpace(err) {
		t.Errorf("a full volume took more: %v", err)
	}
	must(t, f.Truncate(500))
	if _, err := g.WriteAt(make([]byte, 500), 0); err != nil {
		t.Errorf("no room after a Truncate: %v", err)
	}
	if fsys.Used() != 1000 {
		t.Errorf("%d bytes are used", fsys.Used())
	}
}

// TestCutAfter: the power goes with the nth call that changes something, whose
// effect may be there.
func TestCutAfter(t *testing.T) {
	found := map[int64]int{}
	for seed := range uint64(seeds) {
		fsys := memfs.New(seed)
		f := create(t, fsys, "/f")
		must(t, fsys.SyncDir("/"))
		fsys.CutAfter(2)
		_, err := f.WriteAt([]byte("x"), 0)
		must(t, err)
		if err := f.Sync(); !errors.Is(err, memfs.ErrOff) {
			t.Fatalf("the power did not go: %v", err)
		}
		if _, err := fsys.Stat("/f"); !errors.Is(err, memfs.ErrOff) {
			t.Fatalf("a call after the cut: %v", err)
		}
		info, err := fsys.Crash().Stat("/f")
		must(t, err)
		found[info.Size]++
	}
	if len(found) != 2 {
		t.Errorf("sizes after the cut: %v", found)
	}
}

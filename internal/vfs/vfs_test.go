package vfs_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"testing"

	"kustospool/internal/vfs"
	"kustospool/internal/vfs/memfs"
)

// TestConformance: the file system of the machine and the one in memory answer alike.
func TestConformance(t *testing.T) {
	t.Run("os", func(t *testing.T) { conform(t, vfs.OS, t.TempDir()) })
	t.Run("memfs", func(t *testing.T) { conform(t, memfs.New(1), "/spool") })
}

func conform(t *testing.T, fsys vfs.FS, root string) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	dir := filepath.Join(root, "a", "b")
	must(fsys.MkdirAll(dir))
	must(fsys.MkdirAll(dir))
	path, other := filepath.Join(dir, "f"), filepath.Join(dir, "g")

	if _, err := fsys.Open(path, vfs.ReadWrite); !vfs.Missing(err) {
		t.Errorf("opening a missing file: %v", err)
	}
	if _, err := fsys.Stat(path); !vfs.Missing(err) {
		t.Errorf("looking at a missing file: %v", err)
	}
	if err := fsys.Remove(path); !vfs.Missing(err) {
		t.Errorf("removing a missing file: %v", err)
	}
	if err := fsys.Rename(path, other); !vfs.Missing(err) {
		t.Errorf("renaming a missing file: %v", err)
	}
	if _, err := fsys.List(filepath.Join(root, "nowhere")); !vfs.Missing(err) {
		t.Errorf("listing a missing directory: %v", err)
	}
	if _, err := fsys.Open(filepath.Join(root, "nowhere", "f"), vfs.Create); !vfs.Missing(err) {
		t.Errorf("creating in a missing directory: %v", err)
	}
	if _, err := fsys.Open(dir, vfs.ReadOnly); !errors.Is(err, vfs.ErrNotRegular) {
		t.Errorf("opening a directory: %v", err)
	}

	f, err := fsys.Open(path, vfs.Create)
	must(err)
	if _, err := fsys.Open(path, vfs.Create); !errors.Is(err, fs.ErrExist) {
		t.Errorf("creating what exists: %v", err)
	}
	if n, err := f.WriteAt([]byte("world"), 6); n != 5 || err != nil {
		t.Errorf("WriteAt: %d, %v", n, err)
	}
	if v, ok := f.(vfs.VectorWriter); !ok {
		t.Error("no VectorWriter")
	} else if n, err := v.WriteVAt([][]byte{[]byte("he"), nil, []byte("llo")}, 0); n != 5 || err != nil {
		t.Errorf("WriteVAt: %d, %v", n, err)
	}
	if a, ok := f.(vfs.Adviser); ok {
		a.Sequential()
		a.WillNeed(0, 4)
	}
	must(f.Sync())
	must(fsys.SyncDir(dir))
	info, err := f.Stat()
	must(err)
	if info.Size != 11 || !info.Regular || info.Links == 0 || info.Name != "f" {
		t.Errorf("Stat: %+v", info)
	}
	if b, err := vfs.ReadFile(fsys, path, 11); err != nil || string(b) != "hello\x00world" {
		t.Errorf("ReadFile: %q, %v", b, err)
	}
	if _, err := vfs.ReadFile(fsys, path, 10); err == nil {
		t.Error("a file larger than the limit was read")
	}
	buf := make([]byte, 8)
	if n, err := f.ReadAt(buf, 6); n != 5 || err != io.EOF {
		t.Errorf("reading across the end: %d, %v", n, err)
	}
	must(f.Truncate(4))
	must(f.Truncate(6))
	if b, err := vfs.ReadFile(fsys, path, 100); err != nil || !bytes.Equal(b, []byte("hell\x00\x00")) {
		t.Errorf("after Truncate: %q, %v", b, err)
	}
	ro, err := fsys.Open(path, vfs.ReadOnly)
	must(err)
	if _, err := ro.WriteAt([]byte("x"), 0); err == nil {
		t.Error("a file opened for reading was written")
	}
	must(fsys.Rename(path, other))
	if b, err := vfs.ReadFile(fsys, other, 100); err != nil || len(b) != 6 {
		t.Errorf("under its new name: %q, %v", b, err)
	}
	list, err := fsys.List(dir)
	must(err)
	if len(list) != 1 || list[0].Name != "g" || list[0].Size != 6 || !list[0].Regular {
		t.Errorf("List: %+v", list)
	}
	list, err = fsys.List(root)
	must(err)
	if len(list) != 1 || list[0].Name != "a" || !list[0].Dir {
		t.Errorf("List of directories: %+v", list)
	}
	must(fsys.Remove(other))
	if info, err := f.Stat(); err != nil || info.Links > 0 {
		t.Errorf("an unlinked file: %+v, %v", info, err)
	}
	if _, err := f.WriteAt([]byte("still"), 0); err != nil {
		t.Errorf("writing an unlinked file: %v", err)
	}
	must(ro.Close())
	must(f.Close())
	if _, err := f.WriteAt([]byte("x"), 0); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("writing a closed file: %v", err)
	}

	l, err := fsys.Lock(path)
	must(err)
	if _, err := fsys.Lock(path); !errors.Is(err, vfs.ErrLocked) {
		t.Errorf("locking twice: %v", err)
	}
	if _, err := l.WriteAt([]byte("me"), 0); err != nil {
		t.Errorf("writing into the lock: %v", err)
	}
	must(l.Close())
	l, err = fsys.Lock(path)
	must(err)
	must(l.Close())
}

// TestVectors: more buffers than one call of the kernel takes, empty ones among them.
func TestVectors(t *testing.T) {
	f, err := vfs.OS.Open(filepath.Join(t.TempDir(), "f"), vfs.Create)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var bufs [][]byte
	var want []byte
	for i := range 3000 {
		b := bytes.Repeat([]byte{byte(i)}, i%7)
		bufs = append(bufs, b)
		want = append(want, b...)
	}
	if n, err := f.(vfs.VectorWriter).WriteVAt(bufs, 10); n != len(want) || err != nil {
		t.Fatalf("WriteVAt: %d of %d, %v", n, len(want), err)
	}
	got := make([]byte, len(want))
	if _, err := f.ReadAt(got, 10); err != nil || !bytes.Equal(got, want) {
		t.Errorf("what was read is not what was written: %v", err)
	}
}

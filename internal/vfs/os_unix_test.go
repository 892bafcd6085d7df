//go:build unix

package vfs_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"kustospool/internal/vfs"
)

// TestNotRegular: what is no regular file is refused, at once, and stays.
// The test hangs where a FIFO blocks.
func TestNotRegular(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(in("file"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(in("file"), in("link")); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(in("fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", in("socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, path := range []string{in("link"), in("fifo"), in("socket"), "/dev/null", dir} {
		for _, mode := range []vfs.Mode{vfs.ReadOnly, vfs.ReadWrite} {
			if _, err := vfs.OS.Open(path, mode); !errors.Is(err, vfs.ErrNotRegular) {
				t.Errorf("opening %s: %v", path, err)
			}
		}
		if info, err := vfs.OS.Stat(path); err != nil || info.Regular {
			t.Errorf("looking at %s: %+v, %v", path, info, err)
		}
	}
	for _, path := range []string{in("link"), in("fifo")} {
		if _, err := vfs.OS.Lock(path); !errors.Is(err, vfs.ErrNotRegular) {
			t.Errorf("locking %s: %v", path, err)
		}
	}
	if err := vfs.OS.Remove(dir); !errors.Is(err, vfs.ErrNotRegular) {
		t.Errorf("removing a directory: %v", err)
	}
	// The control: the same calls on a file.
	f, err := vfs.OS.Open(in("file"), vfs.ReadWrite)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

func TestNoSpace(t *testing.T) {
	for err, want := range map[error]bool{
		&os.PathError{Op: "write", Path: "f", Err: syscall.ENOSPC}: true,
		syscall.EDQUOT: true,
		syscall.EFBIG:  true,
		syscall.EIO:    false,
		nil:            false,
	} {
		if got := vfs.NoSpace(err); got != want {
			t.Errorf("NoSpace(%v) is %v", err, got)
		}
	}
}

package vfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync/atomic"
	"syscall"

	"kustospool/internal/datasync"
)

// OS is the file system of the machine.
var OS FS = system{written: new(atomic.Int64)}

// NewOS is OS, and adds to written the bytes that are written to its files.
func NewOS(written *atomic.Int64) FS { return system{written: written} }

// system holds nothing but its count. What differs from system to system is in
// os_unix.go and os_windows.go.
type system struct{ written *atomic.Int64 }

// Open looks at what the name leads to before it opens it, because opening a
// device can do something by itself, and afterwards at what it has opened,
// because the name may lead elsewhere by then.
func (s system) Open(name string, mode Mode) (File, error) {
	if mode != Create {
		info, err := os.Lstat(name)
		if err != nil {
			return nil, err
		}
		if !info.Mode().IsRegular() {
			return nil, notRegular(name)
		}
	}
	f, err := open(name, mode)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = notRegular(name)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &osFile{f, s.written}, nil
}

func notRegular(name string) error {
	return &fs.PathError{Op: "open", Path: name, Err: ErrNotRegular}
}

func (system) Rename(from, to string) error { return os.Rename(from, to) }

// Remove unlinks a file. It leaves directories alone, which os.Remove would not.
func (system) Remove(name string) error {
	info, err := os.Lstat(name)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return &fs.PathError{Op: "remove", Path: name, Err: ErrNotRegular}
	}
	return os.Remove(name)
}

func (system) Stat(name string) (Info, error) {
	info, err := os.Lstat(name)
	if err != nil {
		return Info{}, err
	}
	return infoOf(info), nil
}

// List leaves out what disappears while it looks.
func (system) List(dir string) ([]Info, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	out := make([]Info, 0, len(entries))
	for _, e := range entries {
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, infoOf(info))
	}
	return out, nil
}

func (system) MkdirAll(dir string) error { return os.MkdirAll(dir, 0o700) }

func (system) SyncDir(dir string) error { return syncDir(dir) }

func (s system) Lock(name string) (File, error) {
	f, err := openLock(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = notRegular(name)
	}
	if err == nil {
		err = Sole(&osFile{f, s.written}, name)
	}
	if err == nil {
		err = lock(f)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &osFile{f, s.written}, nil
}

func infoOf(i fs.FileInfo) Info {
	info := Info{Name: i.Name(), Size: i.Size(), Regular: i.Mode().IsRegular(), Dir: i.IsDir(), Changed: i.ModTime(), Links: -1, Owner: -1, Allocated: -1}
	fill(&info, i)
	return info
}

// osFile is an open file of the machine.
type osFile struct {
	f       *os.File
	written *atomic.Int64
}

func (o *osFile) ReadAt(p []byte, off int64) (int, error) { return o.f.ReadAt(p, off) }
func (o *osFile) Close() error                            { return o.f.Close() }
func (o *osFile) Truncate(size int64) error               { return o.f.Truncate(size) }

func (o *osFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := o.f.WriteAt(p, off)
	o.written.Add(int64(n))
	return n, err
}

// Sync uses fdatasync where there is one, which takes the size along.
func (o *osFile) Sync() error { return datasync.File(o.f) }

func (o *osFile) Stat() (Info, error) {
	i, err := o.f.Stat()
	if err != nil {
		return Info{}, err
	}
	info := infoOf(i)
	fillOpen(&info, o.f)
	return info, nil
}

// NoSpace reports whether an error says that the volume, or a quota on it, has
// no room for what was to be written.
func NoSpace(err error) bool {
	var errno syscall.Errno
	return errors.As(err, &errno) && (errno == syscall.ENOSPC || slices.Contains(noSpaceErrnos, errno))
}

// ReadFile reads a file of at most limit bytes. A larger one is an error, so
// that a file that something else wrote costs no memory.
func ReadFile(fsys FS, name string, limit int64) ([]byte, error) {
	f, err := fsys.Open(name, ReadOnly)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := ReadAll(f, limit)
	if err != nil {
		err = &fs.PathError{Op: "read", Path: name, Err: err}
	}
	return b, err
}

// ReadAll is ReadFile of a file that is open.
func ReadAll(f File, limit int64) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size > limit {
		return nil, fmt.Errorf("%d bytes, more than the %d that it may have", info.Size, limit)
	}
	b := make([]byte, info.Size)
	if _, err := f.ReadAt(b, 0); err != nil && info.Size > 0 {
		return nil, err
	}
	return b, nil
}

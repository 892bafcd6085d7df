package wal

import (
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"

	"kustospool/internal/vfs"
	"kustospool/internal/vfs/memfs"
)

// slowFS is a file system whose files' syncs call a test first. What the call
// returns is what the sync does; nil lets it go on.
type slowFS struct {
	vfs.FS
	sync  func(name string) error
	wrote atomic.Int64 // writes of files
}

type slowFile struct {
	vfs.File
	fs   *slowFS
	name string
}

func (f *slowFS) Open(name string, mode vfs.Mode) (vfs.File, error) {
	file, err := f.FS.Open(name, mode)
	if err != nil {
		return nil, err
	}
	return &slowFile{File: file, fs: f, name: name}, nil
}

func (f *slowFile) WriteAt(p []byte, off int64) (int, error) {
	f.fs.wrote.Add(1)
	return f.File.WriteAt(p, off)
}

func (f *slowFile) Sync() error {
	if f.fs.sync != nil {
		if err := f.fs.sync(f.name); err != nil {
			return err
		}
	}
	return f.File.Sync()
}

// TestCloseDuringCommit: while a caller commits by itself, and another waits
// for the next commit, Close must not have the committer begin that one: both
// would be written to the same place.
func TestCloseDuringCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := memfs.New(1)
		fsys := &slowFS{FS: disk}
		l, _ := open(t, options(fsys), Known{})
		if err := l.AddLane(Lane{No: 1, Key: "lane"}); err != nil {
			t.Fatal(err)
		}
		hold := make(chan struct{})
		fsys.sync = func(string) error { <-hold; return nil }
		before := fsys.wrote.Load()
		answers := make(chan error, 2)
		for i := range 2 {
			go func() {
				_, err := l.AppendOne(t.Context(), Record{Lane: 1, Data: fmt.Appendf(nil, "record %d", i+1)})
				answers <- err
			}()
			synctest.Wait()
		}
		closed := make(chan error, 1)
		go func() {
			_, err := l.Close()
			closed <- err
		}()
		synctest.Wait()
		if n := fsys.wrote.Load() - before; n != 1 {
			t.Errorf("%d commits were written at the same time", n)
		}
		close(hold)
		for range 2 {
			if err := <-answers; err != nil {
				t.Error(err)
			}
		}
		if err := <-closed; err != nil {
			t.Error(err)
		}
		l, r := open(t, options(disk.Crash()), Known{})
		if len(r.Damage) > 0 {
			t.Errorf("%+v", r.Damage)
		}
		check(t, contents(t, l, 1), "record 1", "record 2")
		closeLog(t, l)
	})
}

// TestFailureDuringClose: a commit that fails while Close waits for it fails
// the log, and Close says so and marks no end.
func TestFailureDuringClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := memfs.New(1)
		fsys := &slowFS{FS: disk}
		o := options(fsys)
		var told error
		o.Failed = func(err error) { told = err }
		l, _ := open(t, o, Known{})
		if err := l.AddLane(Lane{No: 1, Key: "lane"}); err != nil {
			t.Fatal(err)
		}
		appendOne(t, l, 1, "record 1")
		hold := make(chan struct{})
		fsys.sync = func(string) error { <-hold; return syscall.EIO }
		answer, closed := make(chan error, 1), make(chan error, 1)
		go func() {
			_, err := l.AppendOne(t.Context(), Record{Lane: 1, Data: []byte("record 2")})
			answer <- err
		}()
		synctest.Wait()
		go func() {
			_, err := l.Close()
			closed <- err
		}()
		synctest.Wait()
		close(hold)
		if err := <-answer; !errors.Is(err, ErrUnknown) {
			t.Errorf("the commit: %v", err)
		}
		if err := <-closed; !errors.Is(err, ErrFailed) {
			t.Errorf("Close: %v", err)
		}
		if !errors.Is(told, ErrFailed) {
			t.Errorf("Failed was called with %v", told)
		}
	})
}

// TestKeyOfARefusedCommit: from the moment a commit is refused its keys are
// those of no record, also for who comes before its callers have their answer.
func TestKeyOfARefusedCommit(t *testing.T) {
	disk := memfs.New(1)
	o := options(disk)
	o.Gate = &gate{keys: map[KeyHash]uint64{}}
	l, _ := open(t, o, Known{})
	if err := l.AddLane(Lane{No: 1, Key: "lane"}); err != nil {
		t.Fatal(err)
	}
	rec := []Record{{Lane: 1, Data: []byte("record 1"), HasKey: true, Key: KeyHash{1}}}
	out := make([]Appended, 1)
	join := func() *group {
		t.Helper()
		size, records, err := measure(rec, nil)
		if err != nil {
			t.Fatal(err)
		}
		g, err := l.admit(t.Context(), rec, nil, size, records, out)
		if err != nil {
			t.Fatal(err)
		}
		l.take(g, rec, nil, out)
		return g
	}
	l.mu.Lock()
	first := join()
	l.busy, l.lone = true, true
	l.takeOpen()
	l.mu.Unlock()
	disk.Fail(memfs.Write, 1, syscall.ENOSPC)
	disk.Fail(memfs.Write, 2, syscall.ENOSPC)
	l.commit(first)
	if !errors.Is(first.err, ErrNoSpace) {
		t.Fatal(first.err)
	}
	l.mu.Lock()
	join()
	if out[0].Duplicate {
		t.Errorf("the record is called a duplicate of %d, which was refused", out[0].Seq)
	}
	l.done(first)
	l.lone = false
	l.release()
	l.mu.Unlock()
	closeLog(t, l)
}

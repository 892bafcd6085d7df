package wal

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"

	"kustospool/internal/vfs"
	"kustospool/internal/vfs/memfs"
)

// slowFS is a file system that calls a test before some of what it does. An
// error that sync returns is that of the sync; nil lets it go on.
type slowFS struct {
	vfs.FS
	sync     func(name string) error
	truncate func()
	renamed  func(to string)            // comes after it
	stat     error                      // of files, when it is set
	read     func(off, end int64) error // the same of reads
	wrote    atomic.Int64               // writes of files
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

func (f *slowFS) Rename(from, to string) error {
	err := f.FS.Rename(from, to)
	if f.renamed != nil {
		f.renamed(to)
	}
	return err
}

func (f *slowFile) WriteAt(p []byte, off int64) (int, error) {
	f.fs.wrote.Add(1)
	return f.File.WriteAt(p, off)
}

func (f *slowFile) ReadAt(p []byte, off int64) (int, error) {
	if f.fs.read != nil {
		if err := f.fs.read(off, off+int64(len(p))); err != nil {
			return 0, err
		}
	}
	return f.File.ReadAt(p, off)
}

func (f *slowFile) Stat() (vfs.Info, error) {
	if f.fs.stat != nil {
		return vfs.Info{}, f.fs.stat
	}
	return f.File.Stat()
}

func (f *slowFile) Truncate(size int64) error {
	if f.fs.truncate != nil {
		f.fs.truncate()
	}
	return f.File.Truncate(size)
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

// TestUnknownAfterTheSync: a commit that is durable, of which nobody can tell
// whether its file has a name, is not said to be stored nowhere.
func TestUnknownAfterTheSync(t *testing.T) {
	fsys := &slowFS{FS: memfs.New(1)}
	l, _ := open(t, options(fsys), Known{})
	if err := l.AddLane(Lane{No: 1, Key: "lane"}); err != nil {
		t.Fatal(err)
	}
	fsys.stat = syscall.EIO
	if _, err := l.AppendOne(t.Context(), Record{Lane: 1, Data: []byte("record 1")}); !errors.Is(err, ErrUnknown) || !errors.Is(err, ErrFailed) {
		t.Error(err)
	}
	if _, err := l.Close(); !errors.Is(err, ErrFailed) {
		t.Error(err)
	}
}

// TestClosedAfterRefusal: a segment that was closed, opened and not written
// to has its index again when it is closed again, though a refused commit has
// cut it off.
func TestClosedAfterRefusal(t *testing.T) {
	disk := memfs.New(1)
	o := options(disk)
	o.inline = true
	l, _ := open(t, o, Known{})
	if err := l.AddLane(Lane{No: 1, Key: "lane"}); err != nil {
		t.Fatal(err)
	}
	appendOne(t, l, 1, "record 1")
	closeLog(t, l)
	l, _ = open(t, o, Known{})
	for n := range 2 {
		disk.Fail(memfs.Write, n+1, syscall.ENOSPC)
	}
	if _, err := l.AppendOne(t.Context(), Record{Lane: 1, Data: []byte("record 2")}); !errors.Is(err, ErrNoSpace) {
		t.Fatal(err)
	}
	closeLog(t, l)
	l, r := open(t, o, Known{})
	if r.Active.Index == 0 {
		t.Error("closed without an index")
	}
	check(t, contents(t, l, 1), "record 1")
	closeLog(t, l)
	if err := l.Scan(r.Active.No, 1, 1, 1, func(*Found) bool { return true }); !errors.Is(err, ErrClosed) {
		t.Errorf("read after Close: %v", err)
	}
}

// TestUnreadablePart: what could not be read when the log was opened is there
// when it can be read another time, be it the end or in the middle.
func TestUnreadablePart(t *testing.T) {
	for _, to := range []int64{3 * headBytes, math.MaxInt64} {
		disk := memfs.New(1)
		l, _ := open(t, options(disk), Known{})
		if err := l.AddLane(Lane{No: 1, Key: "lane"}); err != nil {
			t.Fatal(err)
		}
		want := []string{strings.Repeat("a", 3000), strings.Repeat("b", 9000), "c"}
		for _, rec := range want {
			appendOne(t, l, 1, rec)
		}
		disk = disk.Kill()
		_, _ = l.Close()
		fsys := &slowFS{FS: disk, read: func(off, end int64) error {
			if off < to && end > 2*headBytes {
				return syscall.EIO
			}
			return nil
		}}
		l, r := open(t, options(fsys), Known{})
		if r.TailMissing != (to == math.MaxInt64) || len(r.Damage) == 0 {
			t.Errorf("damage %+v, doubt %v", r.Damage, r.TailMissing)
		}
		_, _ = l.Close()
		l, _ = open(t, options(disk), Known{})
		check(t, contents(t, l, 1), want...)
		closeLog(t, l)
	}
}

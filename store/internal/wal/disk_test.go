package wal

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"kustospool/internal/vfs/memfs"
)

// sparseLog is a log whose segment 1 is rotated and worth to be compacted to
// lane 1; records says what that lane has.
func sparseLog(t *testing.T, o Options) (l *Log, records []string) {
	t.Helper()
	l, _ = open(t, o, Known{})
	for no := range uint32(2) {
		if err := l.AddLane(Lane{No: no + 1, Key: fmt.Sprint(no)}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 20 {
		appendOne(t, l, 2, fmt.Sprint(i, strings.Repeat("z", 2000)))
		records = append(records, fmt.Sprint(i))
		appendOne(t, l, 1, records[i])
	}
	if err := l.Rotate(); err != nil {
		t.Fatal(err)
	}
	appendOne(t, l, 2, "in the next segment")
	return l, records
}

func laneOne(f Frame) bool { return f.Lane == 1 }

func wantDiskBytes(t *testing.T, l *Log, fsys *memfs.FS) {
	t.Helper()
	if got, want := l.DiskBytes(), fsys.Used(); got != want {
		t.Errorf("the log says %d bytes, the files have %d", got, want)
	}
}

// TestCompactBesideCommits: what the files grow by during a compaction is counted.
func TestCompactBesideCommits(t *testing.T) {
	disk := memfs.New(1)
	fsys := &slowFS{FS: disk}
	o := options(fsys)
	o.inline = true
	l, want := sparseLog(t, o)
	fsys.sync = func(name string) error {
		if strings.HasSuffix(name, extNew) {
			want = append(want, strings.Repeat("w", 2*MinSegmentBytes))
			appendOne(t, l, 1, want[len(want)-1])
		}
		return nil
	}
	if _, err := l.Compact(1, laneOne); err != nil {
		t.Fatal(err)
	}
	if len(want) != 21 {
		t.Fatalf("%d records: nothing was appended meanwhile", len(want))
	}
	wantDiskBytes(t, l, disk)
	check(t, contents(t, l, 1), want...)
	closeLog(t, l)
}

// TestReadBesideCompact: who opens a segment between the exchange of its files
// and the moment in which the log knows of it reads what is there.
func TestReadBesideCompact(t *testing.T) {
	disk := memfs.New(1)
	fsys := &slowFS{FS: disk}
	o := options(fsys)
	o.inline = true
	l, want := sparseLog(t, o)
	var wg sync.WaitGroup
	var got map[uint64]string
	fsys.renamed = func(to string) {
		if strings.HasSuffix(to, extLog) {
			wg.Go(func() { got = contents(t, l, 1) })
			yield(1000)
		}
	}
	if _, err := l.Compact(1, laneOne); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	check(t, got, want...)
	closeLog(t, l)
}

// TestLeftoverOfACompaction: the maintainer gives back what a compaction that was
// cut off has left, and must not take the next one's file for it.
func TestLeftoverOfACompaction(t *testing.T) {
	disk := memfs.New(1)
	l, want := sparseLog(t, options(disk))
	closeLog(t, l)
	disk.Put("/spool/segments/"+fileName(1, extNew), make([]byte, 5000))
	fsys := &slowFS{FS: disk}
	o := options(fsys)
	o.inline = true
	l, _ = open(t, o, Known{})
	turned := false
	fsys.sync = func(name string) error {
		if strings.HasSuffix(name, extNew) {
			turned = true
			for l.Maintain() {
			}
		}
		return nil
	}
	if _, err := l.Compact(1, laneOne); err != nil || !turned {
		t.Fatal(err, turned)
	}
	wantDiskBytes(t, l, disk)
	check(t, contents(t, l, 1), want...)
	closeLog(t, l)
}

// TestFreeUnusedBesideTheMaintainer: a file that is shortened step by step is not
// given back twice.
func TestFreeUnusedBesideTheMaintainer(t *testing.T) {
	disk := memfs.New(1)
	if err := disk.MkdirAll("/spool/segments"); err != nil {
		t.Fatal(err)
	}
	disk.Put("/spool/segments/"+fileName(1, extDrop), make([]byte, dropStep+4096))
	fsys := &slowFS{FS: disk}
	o := options(fsys)
	o.inline = true
	l, _ := open(t, o, Known{})
	var wg sync.WaitGroup
	fsys.truncate = func() {
		wg.Go(func() { l.FreeUnused() })
		for range 1000 { // so that it could be quicker
			runtime.Gosched()
		}
	}
	for l.Maintain() {
	}
	wg.Wait()
	wantDiskBytes(t, l, disk)
	closeLog(t, l)
}

// TestRefusedSegments: segments that cannot be made leave nothing behind in
// the sum of the files.
func TestRefusedSegments(t *testing.T) {
	for _, op := range []memfs.Op{memfs.Create, memfs.Write, memfs.Sync, memfs.Rename, memfs.SyncDir} {
		disk := memfs.New(1)
		o := options(disk)
		o.inline = true
		l, _ := open(t, o, Known{})
		if err := l.AddLane(Lane{No: 1, Key: "lane"}); err != nil {
			t.Fatal(err)
		}
		appendOne(t, l, 1, "record 1")
		for range 5 {
			disk.Fail(op, 1, syscall.ENOSPC)
			if err := l.Rotate(); err == nil {
				t.Errorf("op %d: rotated", op)
			}
			for l.Maintain() {
			}
			wantDiskBytes(t, l, disk)
		}
		appendOne(t, l, 1, "record 2")
		check(t, contents(t, l, 1), "record 1", "record 2")
		closeLog(t, l)
	}
}

// TestNumbersUsedUp: a number that no name can have is not given to a segment,
// which would be a stranger after the next start.
func TestNumbersUsedUp(t *testing.T) {
	if _, _, err := Open(options(memfs.New(1)), Known{HighestNo: maxSegmentNo}); err == nil {
		t.Error("opened with a segment that cannot be found again")
	}
	if _, ext, ok := parseName(fileName(maxSegmentNo, extLog)); !ok || ext != extLog {
		t.Error("the last number has no name")
	}
	if _, _, ok := parseName(fileName(math.MaxInt64, extLog)); ok {
		t.Error("a number above the last one has a name")
	}
}

// TestIndexThatFails: what a failed index has made a file grow by is counted,
// also when it is written while the log is opened.
func TestIndexThatFails(t *testing.T) {
	for seed := range uint64(20) {
		disk := memfs.New(seed)
		l, _ := open(t, options(disk), Known{})
		if err := l.AddLane(Lane{No: 1, Key: "lane"}); err != nil {
			t.Fatal(err)
		}
		// So that nothing has room behind it but the zeros of the file.
		appendOne(t, l, 1, strings.Repeat("r", MinSegmentBytes-headBytes-200))
		disk = disk.Kill()
		_, _ = l.Close()
		disk.Fail(memfs.Write, 2, syscall.EIO) // the first writes the last commit again
		l, r := open(t, options(disk), Known{})
		if len(r.Rotated) != 1 || r.Rotated[0].Index != 0 {
			t.Fatalf("rotated %+v; want one without an index", r.Rotated)
		}
		wantDiskBytes(t, l, disk)
		closeLog(t, l)
	}
}

// TestStrangersAreNotCounted: who moves them counts them where they go.
func TestStrangersAreNotCounted(t *testing.T) {
	disk := memfs.New(1)
	if err := disk.MkdirAll("/spool/segments"); err != nil {
		t.Fatal(err)
	}
	disk.Put("/spool/segments/notes.txt", make([]byte, 3000))
	disk.Put("/spool/segments/"+fileName(7, extLog), make([]byte, 9000))
	l, r := open(t, options(disk), Known{})
	if len(r.ForeignFiles) != 2 {
		t.Errorf("strangers %+v", r.ForeignFiles)
	}
	for _, s := range r.ForeignFiles {
		disk.Delete("/spool/segments/" + s.Name)
	}
	wantDiskBytes(t, l, disk)
	closeLog(t, l)
}

// TestCompactWithoutAnIndex: a segment whose index is gone, and of which a part
// cannot be read, is not written again without what was in there.
func TestCompactWithoutAnIndex(t *testing.T) {
	for block := range int64(8) {
		disk := memfs.New(1)
		fsys := &slowFS{FS: disk}
		o := options(fsys)
		o.inline = true
		l, want := sparseLog(t, o)
		info, _ := l.Segment(1)
		name := "/spool/segments/" + fileName(1, extLog)
		data, err := disk.Contents(name)
		if err != nil || info.Index == 0 {
			t.Fatal(err, info)
		}
		data[info.Index] ^= 1
		disk.Put(name, data)
		bad := headBytes + block*blockBytes
		fsys.read = func(off, end int64) error {
			if off < bad+blockBytes && end > bad {
				return syscall.EIO
			}
			return nil
		}
		if _, err := l.Compact(1, laneOne); !errors.Is(err, ErrDamaged) {
			t.Errorf("block %d: compacted: %v", block, err)
		}
		fsys.read = nil
		l.files.cache.drop(1)
		check(t, contents(t, l, 1), want...)
		closeLog(t, l)
	}
}

package wal

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"kustospool/internal/crashpoint"
	"kustospool/internal/vfs/memfs"
)

// TestExchange: a segment that is opened for reading between the moment in which
// a compacted file takes its name and the one in which the log notes it is read
// as it is: the reader waits, or finds what belongs together.
func TestExchange(t *testing.T) {
	l, _ := open(t, options(memfs.New(1)), Known{})
	defer closeLog(t, l)
	for _, no := range []uint32{1, 2} {
		if err := l.AddLane(Lane{No: no, Key: fmt.Sprint("lane", no), Separator: 1}); err != nil {
			t.Fatal(err)
		}
	}
	var want []string
	for i := range 20 {
		appendOne(t, l, 1, strings.Repeat("x", 1000))
		if i%4 == 0 {
			want = append(want, fmt.Sprint("stays", i))
			appendOne(t, l, 2, want[len(want)-1])
		}
	}
	if err := l.Rotate(); err != nil {
		t.Fatal(err)
	}
	no := l.segments()[0]
	reached := false
	crashpoint.Arm("wal.exchanged", 1, func() {
		reached = true
		if l.files.exchange.TryRLock() { // nothing holds a reader off
			l.files.exchange.RUnlock()
			check(t, contents(t, l, 2), want...)
		}
	})
	defer crashpoint.Arm("", 0, nil)
	if _, err := l.Compact(no, func(f Frame) bool { return f.Lane == 2 }); err != nil {
		t.Fatal(err)
	}
	if !reached {
		t.Error("nothing was exchanged")
	}
	check(t, contents(t, l, 2), want...)
}

// TestEndOfNumbers: where no number is left nothing is acknowledged, since no
// reader would take it.
func TestEndOfNumbers(t *testing.T) {
	for _, tc := range []struct {
		name  string
		known Known
		lane  Lane
		open  bool // already Open says so
	}{
		{name: "the control", known: Known{HighestNo: 1 << 40, Active: LogEnd{Commit: 1 << 61}}, lane: Lane{No: 1, Next: 1 << 61, Bytes: 1 << 61}},
		{name: "commits", known: Known{Active: LogEnd{Commit: maxCommitNo}}, lane: Lane{No: 1}},
		{name: "segments", known: Known{HighestNo: maxSegmentNo}, lane: Lane{No: 1}, open: true},
		{name: "segments, beyond", known: Known{HighestNo: 1<<64 - 1}, lane: Lane{No: 1}, open: true},
		{name: "records", lane: Lane{No: 1, Next: MaxSeq}},
		{name: "records, beyond", lane: Lane{No: 1, Next: 1<<64 - 1}},
		{name: "bytes", lane: Lane{No: 1, Bytes: maxLaneBytes}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fsys := memfs.New(1)
			l, _, err := Open(options(fsys), tc.known)
			if (err != nil) != tc.open || tc.open && !errors.Is(err, ErrExhausted) {
				t.Fatal(err)
			}
			if tc.open {
				return
			}
			if err := l.AddLane(tc.lane); err != nil {
				t.Fatal(err)
			}
			_, err = l.AppendOne(context.Background(), Record{Lane: 1, Data: []byte("x")})
			if tc.name == "the control" {
				if err != nil {
					t.Fatal(err)
				}
				closeLog(t, l)
				l, r := open(t, options(fsys), tc.known)
				if got := contents(t, l, 1); len(got) != 1 || got[1<<61] != "x" {
					t.Errorf("got %v", got)
				}
				if len(r.ForeignFiles) > 0 || len(r.Damage) > 0 {
					t.Errorf("%+v", r)
				}
				closeLog(t, l)
				return
			}
			if !errors.Is(err, ErrExhausted) {
				t.Errorf("append: %v", err)
			}
			_, _ = l.Close()
		})
	}
}

// TestTooManyAtOnce: a call that no reader would take as one commit is refused, and
// one of as many records that is in bounds is taken.
func TestTooManyAtOnce(t *testing.T) {
	l, _ := open(t, options(memfs.New(1)), Known{})
	defer closeLog(t, l)
	for _, no := range []uint32{1, 2} {
		if err := l.AddLane(Lane{No: no, Key: fmt.Sprint("lane", no)}); err != nil {
			t.Fatal(err)
		}
	}
	call := func(n int, lane func(i int) uint32, key bool) error {
		recs := make([]Record, n)
		for i := range recs {
			recs[i] = Record{Lane: lane(i), Data: []byte{'x'}, HasKey: key, Key: KeyHash{byte(i), byte(i >> 8), byte(i >> 16)}}
		}
		return l.Append(context.Background(), recs, nil, make([]Appended, n))
	}
	one := func(int) uint32 { return 1 }
	if err := call(1<<20, func(i int) uint32 { return uint32(i%2 + 1) }, false); !errors.Is(err, ErrInvalid) {
		t.Errorf("a frame for each record: %v", err)
	}
	if err := call(1<<20, one, true); !errors.Is(err, ErrInvalid) {
		t.Errorf("a key for each record: %v", err)
	}
	if err := call(1<<20, one, false); err != nil {
		t.Errorf("a million records: %v", err)
	}
}

// TestSearchIsBounded: what a search reads of a segment that is made to look like
// commits is bounded by the segment's size, however many holes it has.
func TestSearchIsBounded(t *testing.T) {
	fsys := memfs.New(1)
	l, _ := open(t, options(fsys), Known{})
	if err := l.AddLane(Lane{No: 1, Key: "lane"}); err != nil {
		t.Fatal(err)
	}
	appendOne(t, l, 1, "x")
	mark := closeLog(t, l)
	name := "/spool/segments/" + fileName(mark.No, extLog)
	file, err := fsys.Contents(name)
	if err != nil {
		t.Fatal(err)
	}
	file = file[:mark.End]
	for range 2000 {
		p := make([]byte, commitHeaderLen)
		h := commitHeader{generation: mark.Generation, segment: mark.No, number: mark.Commit + 2, length: 1 << 20, extras: 1<<20 - commitHeaderLen}
		h.put(p)
		file = append(file, p...)
	}
	file = append(file, make([]byte, 1<<20)...)
	fsys.Put(name, file)
	before := fsys.Calls(memfs.Read)
	l, _ = open(t, options(fsys), Known{})
	// Each read is of a window at most, which is a megabyte.
	if n := fsys.Calls(memfs.Read) - before; n > 40*searchBudget {
		t.Errorf("%d reads of a file of %d bytes", n, len(file))
	}
	check(t, contents(t, l, 1), "x")
	closeLog(t, l)
}

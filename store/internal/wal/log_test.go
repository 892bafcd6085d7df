package wal

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"

	"kustospool/internal/vfs"
	"kustospool/internal/vfs/memfs"
)

var spool = [8]byte{1, 2, 3, 4, 5, 6, 7, 8}

// options are those of a small log in memory.
func options(fsys vfs.FS) Options {
	return Options{FS: fsys, Dir: "/spool/segments", Spool: spool, SegmentBytes: MinSegmentBytes}
}

func open(t testing.TB, o Options, known Known) (*Log, *Recovered) {
	t.Helper()
	l, r, err := Open(o, known)
	if err != nil {
		t.Fatal(err)
	}
	return l, r
}

func closeLog(t testing.TB, l *Log) LogEnd {
	t.Helper()
	m, err := l.Close()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func appendOne(t testing.TB, l *Log, lane uint32, data string) uint64 {
	t.Helper()
	a, err := l.AppendOne(context.Background(), Record{Lane: lane, Data: []byte(data)})
	if err != nil {
		t.Fatal(err)
	}
	return a.Seq
}

// segments are the numbers of all segments.
func (l *Log) segments() []uint64 {
	l.files.mu.Lock()
	defer l.files.mu.Unlock()
	return sortedKeys(l.files.segs)
}

// contents reads all records of a lane; what is damaged comes as "damaged".
func contents(t testing.TB, l *Log, lane uint32) map[uint64]string {
	t.Helper()
	out := map[uint64]string{}
	for _, no := range l.segments() {
		info, _ := l.Segment(no)
		span, ok := info.Lanes[lane]
		if !ok {
			continue
		}
		err := l.Scan(no, lane, span.First, span.Last, func(f *Found) bool {
			if f.Err != nil {
				for seq := f.First; seq <= f.Last; seq++ {
					out[seq] = "damaged"
				}
				return true
			}
			if err := f.Each(func(seq uint64, data []byte) bool {
				out[seq] = string(data)
				return true
			}); err != nil {
				t.Error(err)
			}
			return true
		})
		if err != nil {
			t.Fatalf("segment %d: %v", no, err)
		}
	}
	return out
}

func check(t testing.TB, got map[uint64]string, want ...string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d records, want %d", len(got), len(want))
	}
	for i, w := range want {
		if got[uint64(i+1)] != w {
			t.Fatalf("record %d is %.40q, want %.40q", i+1, got[uint64(i+1)], w)
		}
	}
}

func TestReopen(t *testing.T) {
	for _, end := range []string{"close", "kill", "crash"} {
		t.Run(end, func(t *testing.T) {
			fsys := memfs.New(1)
			var want []string
			var known Known
			for round := range 6 {
				l, r := open(t, options(fsys), known)
				if len(r.Damage) > 0 || len(r.ForeignFiles) > 0 || r.TailMissing {
					t.Fatalf("round %d: %+v", round, r)
				}
				if err := l.AddLane(Lane{No: 7, Key: "table", Separator: 1}); err != nil {
					t.Fatal(err)
				}
				check(t, contents(t, l, 7), want...)
				for i := range 40 {
					rec := fmt.Sprintf("%d/%d %s", round, i, strings.Repeat("x", 1000))
					if seq := appendOne(t, l, 7, rec); seq != uint64(len(want)+1) {
						t.Fatalf("sequence %d, want %d", seq, len(want)+1)
					}
					want = append(want, rec)
				}
				check(t, contents(t, l, 7), want...)
				old := fsys
				switch end {
				case "crash":
					fsys = fsys.Crash()
				case "kill":
					fsys = fsys.Kill()
				}
				_, err := l.Close()
				if end == "close" && err != nil {
					t.Fatal(err)
				}
				_ = old
			}
		})
	}
}

func TestManyCallers(t *testing.T) {
	fsys := memfs.New(1)
	var mu sync.Mutex
	seen := map[uint32]uint64{}
	o := options(fsys)
	o.Committed = func(c *Commit) {
		mu.Lock()
		defer mu.Unlock()
		for _, f := range c.Frames {
			if f.First != seen[f.Lane]+1 {
				t.Errorf("lane %d: frame at %d after %d", f.Lane, f.First, seen[f.Lane])
			}
			seen[f.Lane] = f.Last
		}
	}
	l, _ := open(t, o, Known{})
	const callers, each, lanes = 24, 50, 5
	for no := range uint32(lanes) {
		if err := l.AddLane(Lane{No: no + 1, Key: fmt.Sprint(no)}); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	got := make([]map[string]bool, callers)
	for c := range callers {
		got[c] = map[string]bool{}
		wg.Go(func() {
			for i := range each {
				recs := make([]Record, 1+i%3)
				for j := range recs {
					recs[j] = Record{Lane: uint32((c+j)%lanes) + 1, Data: fmt.Appendf(nil, "%d/%d/%d", c, i, j)}
				}
				out := make([]Appended, len(recs))
				if err := l.Append(t.Context(), recs, nil, out); err != nil {
					t.Error(err)
					return
				}
				for j := range recs {
					got[c][fmt.Sprintf("%d:%d=%s", recs[j].Lane, out[j].Seq, recs[j].Data)] = true
				}
			}
		})
	}
	wg.Wait()
	closeLog(t, l)
	l, _ = open(t, options(fsys.Crash()), Known{})
	all := map[string]bool{}
	for no := range uint32(lanes) {
		for seq, data := range contents(t, l, no+1) {
			all[fmt.Sprintf("%d:%d=%s", no+1, seq, data)] = true
		}
	}
	n := 0
	for c := range callers {
		for k := range got[c] {
			n++
			if !all[k] {
				t.Errorf("%s is not there", k)
			}
		}
	}
	if n != len(all) {
		t.Errorf("%d records, want %d", len(all), n)
	}
	closeLog(t, l)
}

// gate lets a test decide.
type gate struct {
	room error
	keys map[KeyHash]uint64
}

func (g *gate) Room(int64) error { return g.room }
func (g *gate) Key(_ uint32, k KeyHash) (uint64, bool, error) {
	seq, ok := g.keys[k]
	return seq, ok, nil
}
func (g *gate) Alive() error { return nil }

func TestKeysAndPositions(t *testing.T) {
	fsys := memfs.New(1)
	o := options(fsys)
	g := &gate{keys: map[KeyHash]uint64{}}
	o.Gate = g
	o.Committed = func(c *Commit) {
		for _, k := range c.Keys {
			g.keys[k.Hash] = k.Seq
		}
	}
	l, _ := open(t, o, Known{})
	if err := l.AddLane(Lane{No: 1, Key: "a"}); err != nil {
		t.Fatal(err)
	}
	key := func(b byte) KeyHash { return KeyHash{b} }
	recs := []Record{{Lane: 1, Data: []byte("x"), HasKey: true, Key: key(1)}, {Lane: 1, Data: []byte("y"), HasKey: true, Key: key(1)}, {Lane: 1, Data: []byte("z"), HasKey: true, Key: key(2)}}
	out := make([]Appended, 3)
	if err := l.Append(t.Context(), recs, []Position{{Name: "file", Value: []byte("17")}}, out); err != nil {
		t.Fatal(err)
	}
	if out[0] != (Appended{Seq: 1}) || out[1] != (Appended{Seq: 1, Duplicate: true}) || out[2] != (Appended{Seq: 2}) {
		t.Fatalf("answers %+v", out)
	}
	if err := l.Append(t.Context(), recs[:1], nil, out[:1]); err != nil || out[0] != (Appended{Seq: 1, Duplicate: true}) {
		t.Fatalf("%+v, %v", out[0], err)
	}
	if err := l.Append(t.Context(), nil, []Position{{Name: "file"}}, nil); err != nil {
		t.Fatal(err)
	}
	ref := &Ref{Object: [16]byte{9}, Size: 4711, Records: 10, Bytes: 1000}
	if err := l.Append(t.Context(), []Record{{Lane: 1, Ref: ref}, {Lane: 1, Data: []byte("after")}}, nil, out[:2]); err != nil {
		t.Fatal(err)
	}
	if out[0].Seq != 3 || out[1].Seq != 13 {
		t.Fatalf("answers %+v", out[:2])
	}
	closeLog(t, l)
	l, r := open(t, options(fsys), Known{})
	if len(r.Keys) != 2 || r.Keys[0].Seq != 1 || r.Keys[1].Hash != key(2) || r.Keys[0].At == 0 {
		t.Errorf("keys %+v", r.Keys)
	}
	if len(r.Positions) != 2 || string(r.Positions[0].Value) != "17" || r.Positions[1].Value != nil {
		t.Errorf("positions %+v", r.Positions)
	}
	if len(r.Refs) != 1 || r.Refs[0].Ref != *ref || r.Refs[0].First != 3 || r.Refs[0].Last != 12 {
		t.Errorf("refs %+v", r.Refs)
	}
	if ln := r.Lanes[0]; ln.Key != "a" || ln.Next != 14 || ln.Bytes != 1000+7 {
		t.Errorf("lane %+v", ln)
	}
	var got *Ref
	if err := l.Scan(r.Active.No, 1, 5, 5, func(f *Found) bool { got = f.Ref; return true }); err != nil || got == nil || *got != *ref {
		t.Errorf("found %+v, %v", got, err)
	}
	closeLog(t, l)
}

// TestNoSpace sees that a refused call leaves no trace, whoever came behind it.
func TestNoSpace(t *testing.T) {
	fsys := memfs.New(1)
	o := options(fsys)
	o.inline = true // the maintainer must not get the failures
	l, _ := open(t, o, Known{})
	if err := l.AddLane(Lane{No: 1, Key: "a"}); err != nil {
		t.Fatal(err)
	}
	var want []string
	for i := range 50 {
		rec := fmt.Sprint(i, strings.Repeat("y", 3000))
		if i%5 == 3 {
			for n := range 3 {
				fsys.Fail(memfs.Write, n+1, syscall.ENOSPC)
			}
			if _, err := l.AppendOne(t.Context(), Record{Lane: 1, Data: []byte(rec)}); !errors.Is(err, ErrNoSpace) {
				t.Fatalf("append: %v", err)
			}
			for n := range 3 {
				fsys.Fail(memfs.Write, n+1, nil)
			}
			continue
		}
		if seq := appendOne(t, l, 1, rec); seq != uint64(len(want)+1) {
			t.Fatalf("sequence %d", seq)
		}
		want = append(want, rec)
	}
	check(t, contents(t, l, 1), want...)
	_, _ = l.Close()
	l, _ = open(t, options(fsys.Crash()), Known{})
	check(t, contents(t, l, 1), want...)
	closeLog(t, l)
}

func TestFailedSync(t *testing.T) {
	fsys := memfs.New(3)
	var failed error
	o := options(fsys)
	o.Failed = func(err error) { failed = err }
	l, _ := open(t, o, Known{})
	if err := l.AddLane(Lane{No: 1, Key: "a"}); err != nil {
		t.Fatal(err)
	}
	appendOne(t, l, 1, "one")
	fsys.Fail(memfs.Sync, 1, syscall.EIO)
	if _, err := l.AppendOne(t.Context(), Record{Lane: 1, Data: []byte("two")}); !errors.Is(err, ErrUnknown) || !errors.Is(err, ErrFailed) {
		t.Fatalf("append: %v", err)
	}
	if failed == nil {
		t.Error("nobody was told")
	}
	if _, err := l.AppendOne(t.Context(), Record{Lane: 1, Data: []byte("three")}); !errors.Is(err, ErrFailed) {
		t.Fatalf("append: %v", err)
	}
	if _, err := l.Close(); !errors.Is(err, ErrFailed) {
		t.Fatalf("close: %v", err)
	}
	// What the next process of this boot finds it must be able to keep.
	l, _ = open(t, options(fsys), Known{})
	got := contents(t, l, 1)
	again, _ := open(t, options(fsys.Crash()), Known{})
	check(t, contents(t, again, 1), values(got)...)
	_, _ = l.Close()
	closeLog(t, again)
}

func values(m map[uint64]string) (out []string) {
	for i := range m {
		_ = i
		out = append(out, m[uint64(len(out)+1)])
	}
	return out
}

func TestRemovedUnderneath(t *testing.T) {
	for _, dir := range []bool{false, true} {
		fsys := memfs.New(1)
		l, r := open(t, options(fsys), Known{})
		if err := l.AddLane(Lane{No: 1, Key: "a"}); err != nil {
			t.Fatal(err)
		}
		appendOne(t, l, 1, "x")
		if dir {
			fsys.RemoveDir("/spool/segments")
		} else {
			fsys.Delete("/spool/segments/" + fileName(r.Active.No, extLog))
		}
		if _, err := l.AppendOne(t.Context(), Record{Lane: 1, Data: []byte("y")}); !errors.Is(err, ErrFailed) {
			t.Fatalf("append: %v", err)
		}
		_, _ = l.Close()
	}
}

func TestRotateAndRecycle(t *testing.T) {
	fsys := memfs.New(1)
	o := options(fsys)
	var mu sync.Mutex
	var rows []SegmentInfo
	o.Rotated = func(i SegmentInfo) { mu.Lock(); rows = append(rows, i); mu.Unlock() }
	l, _ := open(t, o, Known{})
	if err := l.AddLane(Lane{No: 1, Key: "a"}); err != nil {
		t.Fatal(err)
	}
	seq := uint64(0)
	for range 40 {
		for range 30 {
			seq = appendOne(t, l, 1, strings.Repeat("z", 900))
		}
		if err := l.Rotate(); err != nil {
			t.Fatal(err)
		}
		mu.Lock()
		all := rows
		rows = nil
		mu.Unlock()
		for _, i := range all {
			if i.Index == 0 || i.Lanes[1].Last == 0 {
				t.Fatalf("rotated %+v", i)
			}
			if err := l.Recycle(i.No); err != nil {
				t.Fatal(err)
			}
		}
	}
	if used := fsys.Used(); used > 5*MinSegmentBytes {
		t.Errorf("%d bytes are used", used)
	}
	if l.DiskBytes() != fsys.Used() {
		t.Errorf("%d bytes, the log says %d", fsys.Used(), l.DiskBytes())
	}
	closeLog(t, l)
	l, r := open(t, o, Known{Lanes: []Lane{{No: 1, Key: "a", Next: seq + 1}}})
	if len(r.Rotated) > 0 || len(r.Damage) > 0 {
		t.Errorf("recovered %+v", r)
	}
	if got := appendOne(t, l, 1, "next"); got != seq+1 {
		t.Errorf("sequence %d after %d", got, seq)
	}
	if l.DiskBytes() != fsys.Used() {
		t.Errorf("%d bytes, the log says %d", fsys.Used(), l.DiskBytes())
	}
	closeLog(t, l)
}

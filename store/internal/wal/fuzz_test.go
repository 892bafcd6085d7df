package wal

import (
	"bytes"
	"context"
	"testing"

	"kustospool/internal/vfs"
	"kustospool/internal/vfs/memfs"
)

// sample is the file of a small segment with everything in it.
func sample(t testing.TB) []byte {
	fsys := memfs.New(1)
	o := options(fsys)
	o.inline, o.generation = true, func() uint64 { return 42 }
	l, _ := open(t, o, Known{})
	if err := l.AddLane(Lane{No: 1, Key: "a"}); err != nil {
		t.Fatal(err)
	}
	recs := []Record{{Lane: 1, Data: []byte("one"), HasKey: true, Key: KeyHash{1}}, {Lane: 1, Ref: &Ref{Object: [16]byte{1}, Size: 9, Records: 3, Bytes: 30}}}
	if err := l.Append(context.Background(), recs, []Position{{Name: "p", Value: []byte("v")}}, make([]Appended, 2)); err != nil {
		t.Fatal(err)
	}
	closeLog(t, l)
	p, err := fsys.Contents("/spool/segments/" + fileName(1, extLog))
	if err != nil {
		t.Fatal(err)
	}
	return p[:headBytes+2048]
}

// FuzzSegment opens a log whose segment is anything at all.
func FuzzSegment(f *testing.F) {
	f.Add(sample(f))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, p []byte) {
		fsys := memfs.New(1)
		if err := fsys.MkdirAll("/spool/segments"); err != nil {
			t.Fatal(err)
		}
		fsys.Put("/spool/segments/"+fileName(1, extLog), p)
		o := options(fsys)
		o.inline = true
		l, r, err := Open(o, Known{})
		if err != nil {
			t.Fatal(err)
		}
		for _, ln := range r.Lanes {
			for _, no := range l.segments() {
				if err := l.Scan(no, ln.No, 1, ln.Next, func(f *Found) bool {
					_ = f.Each(func(uint64, []byte) bool { return true })
					return true
				}); err != nil {
					t.Fatal(err)
				}
			}
		}
		_, _ = l.Close()
	})
}

func FuzzFrame(f *testing.F) {
	p := sample(f)
	f.Add(p[headBytes+commitHeaderLen:headBytes+commitHeaderLen+200], uint32(7))
	f.Fuzz(func(t *testing.T, p []byte, seed uint32) {
		h, body, _, err := parseFrame(spool, seed, p)
		if err == nil && body != nil {
			fr := h.frame()
			_ = fr.eachRecord(body, func(uint64, []byte) bool { return true })
		}
	})
}

func FuzzCommit(f *testing.F) {
	p := sample(f)
	f.Add(p[headBytes:headBytes+commitHeaderLen], appendPosition(appendLane(nil, 1, 1, "key"), &Position{Name: "a", Value: []byte("b")}))
	f.Fuzz(func(t *testing.T, p, extra []byte) {
		if c, err := parseCommit(p, 1<<20); err == nil && (c.length > 1<<20 || c.extras > c.length) {
			t.Errorf("commit %+v", c)
		}
		var e extras
		_ = e.parse(extra, 1, 1)
	})
}

func FuzzIndex(f *testing.F) {
	p := sample(f)
	if s, ok := parseSeal(p[sealAt:], 42, int64(len(p))); ok {
		f.Add(p[s.off : s.off+s.len])
	} else {
		f.Fatal("the sample has no seal")
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		// Without the sum, so that the fuzzer gets behind it.
		x, info, err := decodeIndex(p, 1, 42, 1<<20, true)
		if err != nil {
			return
		}
		again, _, err := decodeIndex(x.encode(info, x.compacted), 1, 42, 1<<20, false)
		if err != nil || again.frames != x.frames {
			t.Errorf("%v: %d frames, again %d", err, x.frames, again.frames)
		}
	})
}

func FuzzHead(f *testing.F) {
	f.Add(sample(f)[:headBytes])
	f.Fuzz(func(t *testing.T, p []byte) {
		if h, err := parseHead(p, spool); err == nil {
			page := make([]byte, headBytes)
			h.put(page, spool)
			if !bytes.Equal(page[:32], p[:32]) {
				t.Errorf("head %+v", h)
			}
		}
		if len(p) > sealAt {
			_, _ = parseSeal(p[sealAt:], 42, int64(len(p)))
		}
	})
}

// TestAllocations: a lone record costs no allocation once the log is warm, but
// for a byte on Linux, where statx wants a pointer to its path.
func TestAllocations(t *testing.T) {
	l, _, err := Open(Options{FS: vfs.OS, Dir: t.TempDir(), Spool: spool, NoSync: true}, Known{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.AddLane(Lane{No: 1, Key: "a"}); err != nil {
		t.Fatal(err)
	}
	rec := Record{Lane: 1, Data: bytes.Repeat([]byte("x"), 1000)}
	do := func() {
		if _, err := l.AppendOne(context.Background(), rec); err != nil {
			t.Fatal(err)
		}
	}
	for range 500 {
		do()
	}
	if n := testing.AllocsPerRun(2000, do); n > 1 {
		t.Errorf("%v allocations a record", n)
	}
}

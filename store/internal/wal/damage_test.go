package wal

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"kustospool/internal/vfs/memfs"
)

// damageFixture is a log of two lanes with a rotated segment and an active one.
func damageFixture(t *testing.T, seed uint64, clean bool) (*memfs.FS, map[uint32][]string) {
	fsys := memfs.New(seed)
	o := options(fsys)
	o.Compress = seed%2 == 0
	l, _ := open(t, o, Known{})
	want := map[uint32][]string{}
	for no := uint32(1); no <= 2; no++ {
		if err := l.AddLane(Lane{No: no, Key: fmt.Sprint("lane", no)}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 60 {
		no := 1 + uint32(i%2)
		rec := fmt.Sprint(no, "/", i, " ", strings.Repeat(string(rune('a'+i%26)), 300+i))
		appendOne(t, l, no, rec)
		want[no] = append(want[no], rec)
		if i == 30 {
			if err := l.Rotate(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if clean {
		closeLog(t, l)
		return fsys, want
	}
	after := fsys.Crash()
	_, _ = l.Close()
	return after, want
}

// survivors opens a damaged log and says how many records are right and how
// many are said to be damaged. A wrong one fails the test.
func survivors(t *testing.T, fsys *memfs.FS, want map[uint32][]string, what string) (right, damaged int, r *Recovered) {
	t.Helper()
	o := options(fsys)
	o.inline = true
	l, r, err := Open(o, Known{})
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	for no, recs := range want {
		for seq, got := range contents(t, l, no) {
			switch {
			case got == "damaged":
				damaged++
			case seq > uint64(len(recs)) || got != recs[seq-1]:
				t.Fatalf("%s: lane %d, record %d is %.40q", what, no, seq, got)
			default:
				right++
			}
		}
	}
	_, _ = l.Close()
	return right, damaged, r
}

// TestDamageCostsFrames flips a bit anywhere: at most the frames of one commit
// are lost, and never one of another.
func TestDamageCostsFrames(t *testing.T) {
	for _, clean := range []bool{true, false} {
		for seed := range uint64(300) {
			fsys, want := damageFixture(t, 1+seed%2, clean)
			rng := rand.New(rand.NewPCG(seed, 5))
			name := "/spool/segments/" + fileName(1+uint64(rng.IntN(2)), extLog)
			p, err := fsys.Contents(name)
			if err != nil {
				t.Fatal(err)
			}
			bit := rng.IntN(min(len(p), 26<<10) * 8)
			p[bit/8] ^= 1 << (bit % 8)
			fsys.Put(name, p)
			what := fmt.Sprintf("clean %v, seed %d, byte %d of %s", clean, seed, bit/8, name)
			right, damaged, r := survivors(t, fsys, want, what)
			if right < 59 {
				t.Fatalf("%s: %d right, %d damaged; %+v", what, right, damaged, r)
			}
		}
	}
}

// TestHeavyDamage zeroes, cuts, swaps and fills parts of files: Open never fails,
// nothing wrong is read, and what is intact is found.
func TestHeavyDamage(t *testing.T) {
	for seed := range uint64(200) {
		fsys, want := damageFixture(t, 1+seed%2, seed%3 == 0)
		rng := rand.New(rand.NewPCG(seed, 6))
		name := "/spool/segments/" + fileName(1+uint64(rng.IntN(2)), extLog)
		p, _ := fsys.Contents(name)
		from := rng.IntN(min(len(p), 30<<10))
		n := min(1+rng.IntN(8<<10), len(p)-from)
		switch rng.IntN(5) {
		case 0:
			clear(p[from : from+n])
		case 1:
			p = p[:from]
		case 2:
			copy(p[from:], p[:n])
		case 3:
			for i := range n {
				p[from+i] = byte(rng.Uint32())
			}
		case 4:
			p = append(p, p...)
		}
		fsys.Put(name, p)
		survivors(t, fsys, want, fmt.Sprintf("seed %d, %d bytes at %d of %s", seed, n, from, name))
	}
}

// TestDamageNotices sees that the damage tests notice what they are there for.
func TestDamageNotices(t *testing.T) {
	flip := func(b bugs) (worst int, wrong bool) {
		worst = 60
		for seed := range uint64(60) {
			fsys, want := damageFixture(t, 1, false)
			name := "/spool/segments/" + fileName(2, extLog)
			p, _ := fsys.Contents(name)
			p[headBytes+int(seed)*100] ^= 4
			fsys.Put(name, p)
			o := options(fsys)
			o.inline, o.bugs = true, b
			l, _, err := Open(o, Known{})
			if err != nil {
				t.Fatal(err)
			}
			right := 0
			for no, recs := range want {
				for _, s := range l.segments() {
					_ = l.Scan(s, no, 1, 1<<40, func(f *Found) bool {
						_ = f.Each(func(seq uint64, data []byte) bool {
							if seq > uint64(len(recs)) || string(data) != recs[seq-1] {
								wrong = true
							} else {
								right++
							}
							return true
						})
						return true
					})
				}
			}
			worst = min(worst, right)
			_, _ = l.Close()
		}
		return worst, wrong
	}
	if worst, wrong := flip(bugs{}); worst < 59 || wrong {
		t.Errorf("without a bug: %d of 60 records, wrong ones %v", worst, wrong)
	}
	if worst, _ := flip(bugs{noSearch: true}); worst >= 59 {
		t.Error("damage that is taken for the end of the log was not noticed")
	}
	if _, wrong := flip(bugs{ignoreFrameSum: true}); !wrong {
		t.Error("frames without sums were not noticed")
	}
}

// TestMovedFrames moves a frame in the segment that is gone on with after a
// clean close: its index, which was read back, leads astray, and what is intact is
// found by its marks.
func TestMovedFrames(t *testing.T) {
	fsys, want := damageFixture(t, 1, true)
	o := options(fsys)
	o.inline = true
	l, r, err := Open(o, Known{})
	if err != nil {
		t.Fatal(err)
	}
	active := r.Active.No
	var off []int64
	var size []int64
	if err := l.Scan(active, 1, 1, 1<<40, func(f *Found) bool {
		off, size = append(off, f.Off), append(size, f.Len)
		return true
	}); err != nil || len(off) < 4 {
		t.Fatal(off, err)
	}
	closeLog(t, l)
	name := "/spool/segments/" + fileName(active, extLog)
	p, err := fsys.Contents(name)
	if err != nil {
		t.Fatal(err)
	}
	// As much of the longer one as there is room for goes in the place of the shorter.
	a, b := append([]byte(nil), p[off[1]:off[1]+size[1]]...), append([]byte(nil), p[off[2]:off[2]+size[2]]...)
	if len(a) > len(b) {
		t.Fatal("the first frame should be the shorter one")
	}
	gap := off[2] - off[1]
	_ = gap
	copy(p[off[2]:], a)
	copy(p[off[1]:], b[:min(len(b), int(gap))])
	fsys.Put(name, p)
	l, r, err = Open(o, Known{})
	if err != nil {
		t.Fatal(err)
	}
	if r.Active.No != active {
		t.Fatalf("segment %d is written, was %d", r.Active.No, active)
	}
	appendOne(t, l, 1, "later")
	got := contents(t, l, 1)
	if last := got[uint64(len(want[1])+1)]; last != "later" {
		t.Errorf("the record after the damage is %.30q", last)
	}
	for i, w := range want[1] {
		if got[uint64(i+1)] != w {
			t.Errorf("record %d is %.30q, was %.30q", i+1, got[uint64(i+1)], w)
		}
	}
	closeLog(t, l)
}

// TestCompactedWithoutHead: of a compacted segment all frames may be in one
// commit. When its head is damaged and so is the commit, the frames are found
// by what the ledger knows of the file.
func TestCompactedWithoutHead(t *testing.T) {
	fsys, want := damageFixture(t, 1, true)
	o := options(fsys)
	o.inline = true
	l, r := open(t, o, Known{})
	info, err := l.Compact(1, func(f Frame) bool { return f.Lane == 2 && f.First > 4 })
	if err != nil || info.Generation == r.Rotated[0].Generation {
		t.Fatal(info, err)
	}
	mark := closeLog(t, l)
	name := "/spool/segments/" + fileName(1, extLog)
	p, err := fsys.Contents(name)
	if err != nil {
		t.Fatal(err)
	}
	clear(p[:512])
	p[headBytes+commitHeaderLen+frameHeaderLen+3] ^= 1 // the first frame
	p[headBytes+50] ^= 1                               // and the commit
	fsys.Put(name, p)
	l, r = open(t, o, Known{Segments: []SegmentInfo{info}, Active: mark})
	got := contents(t, l, 2)
	for i, w := range want[2] {
		if seq := uint64(i + 1); seq > 5 && got[seq] != w {
			t.Errorf("record %d is %.30q, was %.30q; %+v", seq, got[seq], w, r)
		}
	}
	if got[5] != "damaged" {
		t.Errorf("the damaged record is %.30q", got[5])
	}
	closeLog(t, l)
}

// TestEmptyForListed puts a file without a commit where one with a row was: the
// segment is missing, and said to be.
func TestEmptyForListed(t *testing.T) {
	fsys, _ := damageFixture(t, 1, true)
	o := options(fsys)
	l, r := open(t, o, Known{})
	rows := r.Rotated
	mark := closeLog(t, l)
	name := "/spool/segments/" + fileName(1, extLog)
	p := make([]byte, 2*headBytes)
	h := head{no: 1, generation: 99} // as it was before it was compacted, and before its first commit
	h.put(p, spool)
	fsys.Put(name, p)
	l, r = open(t, o, Known{Segments: rows, Active: mark})
	if len(r.Missing) != 1 || r.Missing[0] != 1 {
		t.Errorf("missing %v of %+v", r.Missing, rows)
	}
	closeLog(t, l)
}

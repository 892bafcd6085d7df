package wal

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"kustospool/internal/vfs/memfs"
)

// swapFixture is a log with a rotated segment and an active one, with commits
// of one large frame and of many small ones, whole blocks of them.
type swapFixture struct {
	files map[string][]byte
	mark  LogEnd // where it ends, if it was closed
	rows  []SegmentInfo
	want  map[uint32][]string
}

func newSwapFixture(t *testing.T, clean bool) *swapFixture {
	fsys := memfs.New(1)
	o := options(fsys)
	o.inline = true
	l, _ := open(t, o, Known{})
	x := &swapFixture{files: map[string][]byte{}, want: map[uint32][]string{}}
	for no := uint32(1); no <= 12; no++ {
		if err := l.AddLane(Lane{No: no, Key: fmt.Sprint("lane", no)}); err != nil {
			t.Fatal(err)
		}
	}
	ctx := context.Background()
	for i := range 44 {
		var recs []Record
		add := func(no uint32, n int) {
			data := fmt.Sprint(no, "/", i, " ", strings.Repeat(string(rune('a'+i%26)), n))
			recs = append(recs, Record{Lane: no, Data: []byte(data)})
			x.want[no] = append(x.want[no], data)
		}
		switch {
		case i%7 == 3:
			for no := uint32(3); no <= 12; no++ {
				add(no, 60*int(no))
			}
		case i%7 == 5:
			add(1, 6000)
		default:
			add(1+uint32(i%2), 100*(i%19))
		}
		recs[0].HasKey, recs[0].Key = true, KeyHash{byte(i)}
		if err := l.Append(ctx, recs, nil, make([]Appended, len(recs))); err != nil {
			t.Fatal(err)
		}
		if i == 21 {
			info := l.Active()
			if err := l.Rotate(); err != nil {
				t.Fatal(err)
			}
			info, _ = l.Segment(info.No)
			x.rows = append(x.rows, info)
		}
	}
	if clean {
		x.mark = closeLog(t, l)
	} else {
		after := fsys.Kill()
		_, _ = l.Close()
		fsys = after
	}
	for no := uint64(1); no <= 2; no++ {
		p, err := fsys.Contents("/spool/segments/" + fileName(no, extLog))
		if err != nil {
			t.Fatal(err)
		}
		x.files[fileName(no, extLog)] = p
	}
	return x
}

// intact are the records and the keys that are still where they were. After a
// kill nobody can tell that the last commits were acknowledged, from the last one
// on of which something is left in its place.
func (x *swapFixture) intact(name string, now []byte, killed bool) (recs map[at]bool, keys map[byte]bool) {
	recs, keys = map[at]bool{}, map[byte]bool{}
	data := x.files[name]
	for off := headBytes; ; {
		c, err := parseCommit(data[off:], int64(len(data)-off))
		if err != nil {
			return recs, keys
		}
		at1, end := off+commitHeaderLen, off+c.length
		proven, whole := bytes.Equal(data[off:at1], now[off:at1]), true
		var here []at
		for range c.frames {
			h, err := parseHeader(spool, data[at1:])
			if err != nil {
				panic(err)
			}
			body := at1 + frameHeaderLen
			head := bytes.Equal(data[at1:body], now[at1:body])
			proven = proven && head
			if at1 = body + h.body; head && bytes.Equal(data[body:at1], now[body:at1]) {
				for seq := h.first; seq <= h.last(); seq++ {
					here = append(here, at{h.lane, seq})
				}
			} else {
				whole = false
			}
		}
		proven = proven && bytes.Equal(data[at1:end], now[at1:end])
		if killed && !(proven && whole) && !x.provenBehind(data, now, end) {
			return recs, keys
		}
		for _, r := range here {
			recs[r] = true
		}
		if e := (extras{}); proven && e.parse(data[at1:end], c.number, 0) == nil {
			for _, k := range e.keys {
				keys[k.Hash[0]] = true
			}
		}
		off = end
	}
}

// provenBehind reports whether a whole commit is left behind a place.
func (x *swapFixture) provenBehind(data, now []byte, off int) bool {
	for {
		c, err := parseCommit(data[off:], int64(len(data)-off))
		if err != nil {
			return false
		}
		if bytes.Equal(data[off:off+c.length], now[off:off+c.length]) {
			return true
		}
		off += c.length
	}
}

// at is a lane and a number.
type at struct {
	lane uint32
	seq  uint64
}

func newMem(x *swapFixture, name string, a, b, size int) *memfs.FS {
	fsys := memfs.New(1)
	for n, p := range x.files {
		p = bytes.Clone(p)
		if n == name {
			for i := range size {
				p[a+i], p[b+i] = p[b+i], p[a+i]
			}
		}
		fsys.Put("/spool/segments/"+n, p)
	}
	return fsys
}

// swapped opens the log with two blocks of a segment in each other's place, and
// says what is wrong then.
func (x *swapFixture) swapped(t *testing.T, name string, a, b, size int, known Known, torn bool, bug bugs) error {
	what := fmt.Sprintf("%s, blocks of %d at %d and %d, known %v, torn %v", name, size, a, b, len(known.Segments) > 0, torn)
	fsys := newMem(x, name, a, b, size)
	now, _ := fsys.Contents("/spool/segments/" + name)
	o := options(fsys)
	o.inline, o.bugs = true, bug
	l, r := open(t, o, known)
	defer func() { _, _ = l.Close() }()
	recs, keys := x.intact(name, now, torn)
	for n := range x.files {
		if n == name {
			continue
		}
		more, k := x.intact(n, x.files[n], false)
		maps.Copy(recs, more)
		maps.Copy(keys, k)
	}
	for lane, want := range x.want {
		got := contents(t, l, lane)
		for seq := range uint64(len(want)) {
			data := got[seq+1]
			switch {
			case data == want[seq]:
				for _, d := range r.Damage {
					for _, lost := range d.Lost {
						if lost.Lane == lane && lost.First <= seq+1 && seq+1 <= lost.Last {
							return fmt.Errorf("%s: record %d of lane %d is delivered, and said to be lost at %d", what, seq+1, lane, d.Off)
						}
					}
				}
			case data != "" && data != "damaged":
				return fmt.Errorf("%s: record %d of lane %d is %.30q", what, seq+1, lane, data)
			case recs[at{lane, seq + 1}]:
				return fmt.Errorf("%s: record %d of lane %d, which is where it was, is not delivered", what, seq+1, lane)
			}
		}
	}
	if len(known.Segments) > 0 {
		return nil // the keys of the one with a row are in the ledger
	}
	for _, k := range r.Keys {
		delete(keys, k.Hash[0])
	}
	if len(keys) > 0 {
		return fmt.Errorf("%s: keys %v are not known", what, slices.Sorted(maps.Keys(keys)))
	}
	return nil
}

// TestSwappedBlocks swaps each two blocks of a segment: every frame that is
// whole and in its place is delivered, and the keys of such commits are known,
// whatever is before and behind them.
func TestSwappedBlocks(t *testing.T) {
	missed := 0
	for _, clean := range []bool{true, false} {
		x := newSwapFixture(t, clean)
		for name, data := range x.files {
			end := len(bytes.TrimRight(data, "\x00"))
			active := name == fileName(2, extLog)
			knowns := []Known{{}, {Active: x.mark, Segments: x.rows}}
			if !clean {
				knowns[1].Active = LogEnd{No: 2, End: headBytes}
			}
			rng := rand.New(rand.NewPCG(9, 9))
			for _, known := range knowns {
				torn := active && known.Active.Commit == 0 && !clean
				swap := func(a, b, size int) {
					if err := x.swapped(t, name, a, b, size, known, torn, bugs{}); err != nil {
						t.Fatal(err)
					}
					if x.swapped(t, name, a, b, size, known, torn, bugs{noSearch: true}) != nil {
						missed++
					}
				}
				for a := headBytes; a < end; a += 4096 {
					for b := a + 4096; b+4096 <= min(end+8192, len(data)); b += 4096 {
						swap(a, b, 4096)
					}
				}
				for range 100 {
					a, b := rng.IntN((end-headBytes)/512), rng.IntN((end-headBytes)/512)
					swap(headBytes+a*512, headBytes+b*512, 512)
				}
			}
		}
	}
	if missed == 0 {
		t.Error("without a search nothing was missed")
	}
}

package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"testing"

	bolt "go.etcd.io/bbolt"
	"pgregory.net/rapid"
)

func fuzzSheaf() []byte {
	return appendSheaf(nil, fuzzSpool, []looseFrame{{3, 7, []byte("seven")}, {3, 9, []byte("nine")}, {8, 1, []byte("one")}})
}

// FuzzSheaf: whatever a directory says, no frame is read beyond the value.
func FuzzSheaf(f *testing.F) {
	f.Add(fuzzSheaf(), uint32(3))
	f.Add([]byte(sheafMagic), uint32(0))
	f.Fuzz(func(t *testing.T, p []byte, lane uint32) {
		// What stands before the directory is made right, so that the
		// directory is reached.
		p = bytes.Clone(p)
		if len(p) >= sheafHeaderLen {
			copy(p, sheafMagic)
			p[4] = sheafVersion
			copy(p[8:], fuzzSpool[:])
			if n := int64(binary.BigEndian.Uint32(p[16:])); n <= int64(len(p)-sheafHeaderLen)/sheafRowLen {
				binary.BigEndian.PutUint32(p[20:], sheafSum(p[:sheafHeaderLen+sheafRowLen*n]))
			}
		}
		s, err := parseSheaf(fuzzSpool[:], p)
		if err != nil {
			return
		}
		rest := p[s.begin():]
		for i := range s.count {
			value := s.slot(i).value()
			if !bytes.HasPrefix(rest, value) {
				t.Fatalf("frame %d of %d is not where the one before it ends", i, s.count)
			}
			rest = rest[len(value):]
		}
		if len(rest) != 0 {
			t.Fatalf("%d bytes are in no frame", len(rest))
		}
		if i := s.search(lane); i < 0 || i > s.count {
			t.Fatalf("lane %d at %d of %d", lane, i, s.count)
		}
	})
}

// TestSheafBitFlips: what leads to a frame is proven, to the bit.
func TestSheafBitFlips(t *testing.T) {
	p := fuzzSheaf()
	s, err := parseSheaf(fuzzSpool[:], p)
	if err != nil {
		t.Fatal(err)
	}
	for i := range s.begin() {
		for bit := range 8 {
			p[i] ^= 1 << bit
			if _, err := parseSheaf(fuzzSpool[:], p); err == nil {
				t.Errorf("bit %d of byte %d changed, and nobody noticed", bit, i)
			}
			p[i] ^= 1 << bit
		}
	}
}

// TestFramesOfLane: a lane's frames come in order from both of the places
// where they can be, from the right one on, whatever lanes surround them.
func TestFramesOfLane(t *testing.T) {
	db, err := bolt.Open(filepath.Join(t.TempDir(), "s.db"), 0o600, &bolt.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rapid.Check(t, func(t *rapid.T) {
		tx, err := db.Begin(true)
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback()
		meta, err := tx.CreateBucket(bktMeta)
		if err != nil || meta.Put(keyIdentity, fuzzSpool[:]) != nil {
			t.Fatal(err)
		}
		c := &committer{s: &Store{id: fuzzSpool}}
		next := map[uint32]uint64{}
		want := map[uint32][]uint64{}
		lanes := rapid.IntRange(1, 40).Draw(t, "lanes")
		for range rapid.IntRange(0, 300).Draw(t, "commits") {
			// About half of them are too few for a sheaf.
			for range rapid.IntRange(1, 2*sheafFrom).Draw(t, "frames") {
				lane := uint32(1 + rapid.IntRange(0, lanes-1).Draw(t, "lane"))
				first := next[lane] + 1
				next[lane] = first + 2
				want[lane] = append(want[lane], first)
				c.loose = append(c.loose, looseFrame{lane, first, fmt.Appendf(nil, "%d/%d", lane, first)})
			}
			if err := c.putLoose(tx); err != nil {
				t.Fatal(err)
			}
			c.loose = c.loose[:0]
		}
		all := openSheaves(tx).all()
		for lane, firsts := range want {
			if low, high, ok := ends(tx, lane, all[lane]); low != firsts[0] || high != firsts[len(firsts)-1] || !ok {
				t.Fatalf("lane %d reaches from %d to %d, %v; want %d to %d", lane, low, high, ok, firsts[0], firsts[len(firsts)-1])
			}
			from := rapid.Uint64Range(1, next[lane]).Draw(t, "from")
			to := rapid.Uint64Range(from, next[lane]).Draw(t, "to")
			for name, tied := range map[string]frameSource{"searched": openSheaves(tx).from(lane, from), "listed": listed(all[lane])} {
				at := from - (from-1)%3
				walkFrames(tx, lane, tied, from, to, func(p place) bool {
					if p.First != at || p.Last < min(at+2, to) || p.Last > at+2 || string(p.value()) != fmt.Sprintf("%d/%d", lane, at) {
						t.Fatalf("%s, lane %d, %d..%d: place %d..%d holds %q, want %d", name, lane, from, to, p.First, p.Last, p.value(), at)
					}
					at += 3
					return true
				})
				if at <= to {
					t.Fatalf("%s, lane %d, %d..%d: the walk ended before %d", name, lane, from, to, at)
				}
			}
		}
	})
}

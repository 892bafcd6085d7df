package store

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"

	bolt "go.etcd.io/bbolt"

	"kustospool/ingest"
)

// A sheaf is small frames of one group commit tied together to one value.
// With a bucket for each lane, a commit of many lanes would write a page or
// more for each of them, here and there in the file; a sheaf is one write.
// Its value, all numbers big endian:
//
//	 0  magic "kspS"
//	 4  version 1, 3 bytes zero
//	 8  spool identity, 8 bytes
//	16  frame count, 4 bytes
//	20  CRC32C of bytes 0..19 and of the directory, 4 bytes
//	24  directory: for each frame its lane, 4 bytes, its offset in the value,
//	    4 bytes, and its first record, 8 bytes; by lane, then by first record
//	    the frames as they would stand alone, in the order of the directory
//
// The frames keep their marks and checksums, so damage to one costs itself,
// and salvage finds them without their directory.
const (
	sheafMagic     = "kspS"
	sheafVersion   = 1
	sheafHeaderLen = 24
	sheafRowLen    = 16

	// sheafFrom is how many small frames a group has before they are tied
	// together; a few are better off with their lanes, where they are found
	// without a search. sheafBelow is what is small, and sheafBytes bounds
	// one sheaf, and so the buffer it is made in.
	sheafFrom  = 8
	sheafBelow = 32 << 10
	sheafBytes = 1 << 20
)

// bktSheaves has the sheaves of a segment by a running number, each alone in a nested
// bucket like a large frame. It is made with the first one.
var bktSheaves = []byte("sheaves")

// looseFrame is a frame that is complete and not in the transaction yet.
type looseFrame struct {
	lane  uint32
	first uint64
	value []byte
}

// putLoose writes the small frames of a group, together if they are many.
func (c *committer) putLoose(tx *bolt.Tx) error {
	if len(c.loose) < sheafFrom {
		for _, f := range c.loose {
			if err := putFrame(tx, f.lane, f.first, f.value); err != nil {
				return err
			}
		}
		return nil
	}
	slices.SortFunc(c.loose, func(a, b looseFrame) int {
		return cmp.Or(cmp.Compare(a.lane, b.lane), cmp.Compare(a.first, b.first))
	})
	b, err := tx.CreateBucketIfNotExists(bktSheaves)
	if err != nil {
		return err
	}
	b.FillPercent = 0.95
	for rest := c.loose; len(rest) > 0; {
		n, size := 0, sheafHeaderLen
		for n < len(rest) && (n == 0 || size+sheafRowLen+len(rest[n].value) <= sheafBytes) {
			size += sheafRowLen + len(rest[n].value)
			n++
		}
		value := appendSheaf(c.buffer(size), c.s.id, rest[:n])
		c.lent = append(c.lent, value)
		no, err := b.NextSequence()
		if err != nil {
			return err
		}
		nested, err := b.CreateBucket(u64(no))
		if err != nil {
			return err
		}
		if err := nested.Put(keyFrame, value); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

// appendSheaf writes a sheaf over buf. The frames are in order.
func appendSheaf(buf []byte, spool ingest.SpoolID, frames []looseFrame) []byte {
	p := append(buf[:0], sheafMagic...)
	p = append(p, sheafVersion, 0, 0, 0)
	p = append(p, spool[:]...)
	p = binary.BigEndian.AppendUint32(p, uint32(len(frames)))
	p = binary.BigEndian.AppendUint32(p, 0)
	at := sheafHeaderLen + sheafRowLen*len(frames)
	for _, f := range frames {
		p = binary.BigEndian.AppendUint32(p, f.lane)
		p = binary.BigEndian.AppendUint32(p, uint32(at))
		p = binary.BigEndian.AppendUint64(p, f.first)
		at += len(f.value)
	}
	binary.BigEndian.PutUint32(p[20:], sheafSum(p))
	for _, f := range frames {
		p = append(p, f.value...)
	}
	return p
}

// sheafSum is the checksum of p, which ends with the directory.
func sheafSum(p []byte) uint32 {
	return crc32.Update(crc32.Update(0, crcTable, p[:20]), crcTable, p[sheafHeaderLen:])
}

// sheaf is a sheaf's value with a directory that was proven.
type sheaf struct {
	value []byte
	count int
}

// parseSheaf proves the directory, and that it leads to places inside of p.
func parseSheaf(spool, p []byte) (*sheaf, error) {
	if len(p) < sheafHeaderLen || string(p[:4]) != sheafMagic || p[4] != sheafVersion || string(p[8:16]) != string(spool) {
		return nil, errors.New("not a sheaf of this spool")
	}
	n := int64(binary.BigEndian.Uint32(p[16:]))
	if n == 0 || n > int64(len(p)-sheafHeaderLen)/sheafRowLen {
		return nil, fmt.Errorf("a sheaf of %d bytes cannot have %d frames", len(p), n)
	}
	s := &sheaf{value: p, count: int(n)}
	if binary.BigEndian.Uint32(p[20:]) != sheafSum(p[:s.begin()]) {
		return nil, errors.New("sheaf checksum mismatch")
	}
	for i, at := 0, s.begin(); i < s.count; i++ {
		next := s.offset(i)
		if next < at || next > len(p) || i == 0 && next != at {
			return nil, fmt.Errorf("frame %d of a sheaf is out of it", i)
		}
		at = next
	}
	return s, nil
}

func (s *sheaf) begin() int         { return sheafHeaderLen + sheafRowLen*s.count }
func (s *sheaf) row(i int) []byte   { return s.value[sheafHeaderLen+sheafRowLen*i:] }
func (s *sheaf) lane(i int) uint32  { return binary.BigEndian.Uint32(s.row(i)) }
func (s *sheaf) first(i int) uint64 { return binary.BigEndian.Uint64(s.row(i)[8:]) }

// offset is where frame i begins; the end of the value for the one after the
// last. One that does not fit an int is beyond any value.
func (s *sheaf) offset(i int) int {
	if i == s.count {
		return len(s.value)
	}
	return int(min(binary.BigEndian.Uint32(s.row(i)[4:]), 1<<31-1))
}

// search is the place of the lane's first frame, or where it would be.
func (s *sheaf) search(lane uint32) int {
	lo, hi := 0, s.count
	for lo < hi {
		if mid := (lo + hi) / 2; s.lane(mid) < lane {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

func (s *sheaf) slot(i int) slot {
	return slot{first: s.first(i), value: func() []byte { return s.value[s.offset(i):s.offset(i+1)] }}
}

// sheaves reads the sheaves of a segment. Its methods must be called under
// guard: they panic when a sheaf is damaged, because the way to other lanes'
// frames is broken then, as it is with a damaged page.
type sheaves struct {
	tx     *bolt.Tx
	spool  []byte
	bucket *bolt.Bucket // nil: there are none
}

func openSheaves(tx *bolt.Tx) *sheaves {
	return &sheaves{tx: tx, spool: tx.Bucket(bktMeta).Get(keyIdentity), bucket: tx.Bucket(bktSheaves)}
}

func (r *sheaves) open(key []byte) *sheaf {
	s, err := parseSheaf(r.spool, nestedFrame(r.tx, r.bucket.Bucket(key)))
	if err != nil {
		panic(err)
	}
	return s
}

// all indexes the frames of every lane, for those who look at all lanes.
func (r *sheaves) all() map[uint32][]slot {
	out := map[uint32][]slot{}
	if r.bucket == nil {
		return out
	}
	c := r.bucket.Cursor()
	for k, _ := c.First(); k != nil; k, _ = c.Next() {
		s := r.open(k)
		for i := range s.count {
			out[s.lane(i)] = append(out[s.lane(i)], s.slot(i))
		}
	}
	return out
}

// from gives the lane's frames, beginning at the latest at the last one that
// starts at or before seq.
func (r *sheaves) from(lane uint32, seq uint64) frameSource {
	if r.bucket == nil {
		return func() (slot, bool) { return slot{}, false }
	}
	c := r.bucket.Cursor()
	k, _ := c.Seek(r.start(lane, seq))
	var s *sheaf
	i := 0
	return func() (slot, bool) {
		for {
			if s != nil && i < s.count && s.lane(i) == lane {
				i++
				return s.slot(i - 1), true
			}
			if k == nil {
				return slot{}, false
			}
			s = r.open(k)
			i = s.search(lane)
			k, _ = c.Next()
		}
	}
}

// listed gives the frames of a list.
func listed(all []slot) frameSource {
	return func() (next slot, ok bool) {
		if len(all) == 0 {
			return slot{}, false
		}
		next, all = all[0], all[1:]
		return next, true
	}
}

const (
	sheafNear  = 32 // so many sheaves are walked rather than searched
	sheafProbe = 16 // so many are looked at for a frame of the lane
)

// start is the key of a sheaf from which on the lane's frames are to be
// walked to come upon the one that holds from. It bisects for as long as it
// meets the lane: one that is in few sheaves has few to be walked for nothing.
func (r *sheaves) start(lane uint32, from uint64) []byte {
	c := r.bucket.Cursor()
	first, _ := c.First()
	last, _ := c.Last()
	if len(first) != 8 || len(last) != 8 {
		return nil
	}
	lo, hi := binary.BigEndian.Uint64(first), binary.BigEndian.Uint64(last)
	for hi-lo > sheafNear {
		mid := lo + (hi-lo)/2
		at, holds, ok := r.probe(c, lane, mid)
		switch {
		case !ok || holds <= from && at > hi:
			return u64(lo)
		case holds <= from:
			lo = at
		default:
			hi = mid
		}
	}
	return u64(lo)
}

// probe finds a frame of the lane in one of the sheaves from a number on.
func (r *sheaves) probe(c *bolt.Cursor, lane uint32, no uint64) (at, first uint64, ok bool) {
	k, _ := c.Seek(u64(no))
	for n := 0; n < sheafProbe && len(k) == 8; n++ {
		s := r.open(k)
		if i := s.search(lane); i < s.count && s.lane(i) == lane {
			return binary.BigEndian.Uint64(k), s.first(i), true
		}
		k, _ = c.Next()
	}
	return 0, 0, false
}

package wal

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"maps"
	"slices"
)

// The index of a segment that is no longer written, behind its last commit. All
// fixed numbers big endian:
//
//	 0  magic "kspI"
//	 4  version 1, flags (1: the segment has keys, 2: positions, 4: compacted), 2 bytes zero
//	 8  generation, number of the segment, end of the last commit, numbers of the
//	    first and the last commit, 8 bytes each
//	48  checksum of the last commit, 4 bytes
//	52  number of lanes, number of objects referred to, length of the index, 4 bytes each
//	64  for each lane in uvarints: number, separator, length and bytes of its key,
//	    first and last record less the first, payload bytes up to its end, number of frames;
//	    and for each frame how far its first record and its offset are from those
//	    of the one before
//	    for each object: its id, 16 bytes, and in uvarints the size of its file,
//	    records, payload bytes, lane, first record
//	    CRC32C of all before it, 4 bytes
const (
	indexMagic     = "kspI"
	indexVersion   = 1
	indexHeaderLen = 64

	indexKeys      = 1
	indexPositions = 2
	indexCompacted = 4

	// maxIndexed bounds the frames of a segment, but for one commit, and with
	// them the memory that its index takes: 8 bytes each.
	maxIndexed    = 1 << 18
	maxIndexBytes = 32 << 20 // of one on disk: a larger one is made anew by reading the segment
)

// place is a frame in an index: how far its first record is from the lane's
// first one in the segment, and where it is.
type place struct{ rel, off uint32 }

// laneIndex is what a segment has of one lane.
type laneIndex struct {
	no        uint32
	defined   bool // key and separator are known
	key       string
	separator int64
	Span
	bytes  int64 // payload bytes of the lane up to the end of the last frame
	places []place
}

// index says where the frames of a segment are.
type index struct {
	lanes  map[uint32]*laneIndex
	frames int
	refs   []RefAt
	full   bool // a lane has more records than a place can tell

	compacted bool // as the stored form says
}

func newIndex() *index { return &index{lanes: map[uint32]*laneIndex{}} }

func (x *index) lane(no uint32) *laneIndex {
	l := x.lanes[no]
	if l == nil {
		l = &laneIndex{no: no}
		x.lanes[no] = l
	}
	return l
}

// add enters a frame that comes after all others of its lane.
func (x *index) add(f *Frame, off int64) bool {
	l := x.lane(f.Lane)
	if len(l.places) == 0 {
		l.First = f.First
	}
	rel := f.First - l.First
	if rel > 1<<32-1 || off > 1<<32-1 || len(l.places) > 0 && f.First <= l.Last {
		return false
	}
	if f.Last-l.First > 1<<31 {
		x.full = true
	}
	l.places = append(l.places, place{uint32(rel), uint32(off)})
	l.Last, l.bytes = f.Last, f.Before+f.Bytes
	x.frames++
	return true
}

// at is the place of the frame with the first record first, nil for none.
func (l *laneIndex) at(first uint64) *place {
	if i := l.from(first); i < len(l.places) && l.First+uint64(l.places[i].rel) == first {
		return &l.places[i]
	}
	return nil
}

// extent is the range that the frame at a place is for, as far as its
// neighbours tell.
func (l *laneIndex) extent(i int) Span {
	s := Span{l.First + uint64(l.places[i].rel), l.Last}
	if i+1 < len(l.places) {
		s.Last = l.First + uint64(l.places[i+1].rel) - 1
	}
	return s
}

// from is the place of the frame that has a record, or of the first one
// behind it.
func (l *laneIndex) from(seq uint64) int {
	if seq <= l.First {
		return 0
	}
	i, found := slices.BinarySearchFunc(l.places, seq-l.First, func(p place, rel uint64) int {
		switch {
		case uint64(p.rel) < rel:
			return -1
		case uint64(p.rel) > rel:
			return 1
		}
		return 0
	})
	if !found && i > 0 {
		i--
	}
	return i
}

// merge adds the frames that another index of the segment knows besides: what
// is left of them is to be had where that one says.
func (x *index) merge(other *index) {
	if other == nil {
		return
	}
	for no, o := range other.lanes {
		l := x.lane(no)
		if len(l.places) == 0 {
			l.Span = o.Span
		}
		span := Span{min(l.First, o.First), max(l.Last, o.Last)}
		if span.Last-span.First > 1<<32-1 {
			continue // of impossible numbers
		}
		known := make(map[uint64]int64, len(l.places))
		for _, p := range l.places {
			known[l.First+uint64(p.rel)] = int64(p.off)
		}
		for _, p := range o.places {
			if first := o.First + uint64(p.rel); known[first] == 0 {
				known[first] = int64(p.off)
			}
		}
		x.frames += len(known) - len(l.places)
		l.Span, l.places = span, l.places[:0]
		for _, first := range slices.Sorted(maps.Keys(known)) {
			l.places = append(l.places, place{uint32(first - l.First), uint32(known[first])})
		}
	}
}

// spans copies which records of which lanes there are.
func (x *index) spans() map[uint32]Span {
	out := make(map[uint32]Span, len(x.lanes))
	for no, l := range x.lanes {
		if len(l.places) > 0 {
			out[no] = l.Span
		}
	}
	return out
}

// grow estimates how many bytes the index takes on disk.
func (x *index) grow() int64 {
	n := int64(indexHeaderLen + 4 + x.frames*6 + len(x.refs)*64)
	return n + int64(len(x.lanes))*96
}

// encode makes the stored form.
func (x *index) encode(info *SegmentInfo, compacted bool) []byte {
	p := make([]byte, indexHeaderLen, x.grow())
	copy(p, indexMagic)
	p[4] = indexVersion
	for _, f := range []struct {
		on  bool
		bit byte
	}{{info.Keys, indexKeys}, {info.Positions, indexPositions}, {compacted, indexCompacted}} {
		if f.on {
			p[5] |= f.bit
		}
	}
	binary.BigEndian.PutUint64(p[8:], info.Generation)
	binary.BigEndian.PutUint64(p[16:], info.No)
	binary.BigEndian.PutUint64(p[24:], uint64(info.End))
	binary.BigEndian.PutUint64(p[32:], info.FirstCommit)
	binary.BigEndian.PutUint64(p[40:], info.LastCommit)
	binary.BigEndian.PutUint32(p[48:], info.Chain)
	lanes := 0
	for _, no := range slices.Sorted(maps.Keys(x.lanes)) {
		l := x.lanes[no]
		if len(l.places) == 0 {
			continue
		}
		lanes++
		for _, v := range []uint64{uint64(no), uint64(l.separator), uint64(len(l.key))} {
			p = binary.AppendUvarint(p, v)
		}
		p = append(p, l.key...)
		for _, v := range []uint64{l.First, l.Last - l.First, uint64(l.bytes), uint64(len(l.places))} {
			p = binary.AppendUvarint(p, v)
		}
		var before place
		for _, at := range l.places {
			p = binary.AppendUvarint(p, uint64(at.rel-before.rel))
			p = binary.AppendUvarint(p, uint64(at.off-before.off))
			before = at
		}
	}
	for i := range x.refs {
		r := &x.refs[i]
		p = append(p, r.Object[:]...)
		for _, v := range []uint64{uint64(r.Size), uint64(r.Records), uint64(r.Bytes), uint64(r.Lane), r.First} {
			p = binary.AppendUvarint(p, v)
		}
	}
	binary.BigEndian.PutUint32(p[52:], uint32(lanes))
	binary.BigEndian.PutUint32(p[56:], uint32(len(x.refs)))
	binary.BigEndian.PutUint32(p[60:], uint32(len(p)+4))
	return binary.BigEndian.AppendUint32(p, crc32.Checksum(p, crcTable))
}

var errIndex = errors.New("no index that proves itself")

// decodeIndex reads the stored form and proves it. size is the file's.
func decodeIndex(p []byte, no, generation uint64, size int64, skipChecksum bool) (*index, *SegmentInfo, error) {
	if len(p) < indexHeaderLen+4 || string(p[:4]) != indexMagic || p[4] != indexVersion ||
		uint64(binary.BigEndian.Uint32(p[60:])) != uint64(len(p)) {
		return nil, nil, errIndex
	}
	body := p[:len(p)-4]
	if binary.BigEndian.Uint32(p[len(p)-4:]) != crc32.Checksum(body, crcTable) && !skipChecksum {
		return nil, nil, errIndex
	}
	info := &SegmentInfo{
		Generation: binary.BigEndian.Uint64(p[8:]), No: binary.BigEndian.Uint64(p[16:]), End: int64(binary.BigEndian.Uint64(p[24:])),
		FirstCommit: binary.BigEndian.Uint64(p[32:]), LastCommit: binary.BigEndian.Uint64(p[40:]), Chain: binary.BigEndian.Uint32(p[48:]),
		Size: size, Keys: p[5]&indexKeys != 0, Positions: p[5]&indexPositions != 0,
	}
	if info.Generation != generation || info.No != no || info.End < headBytes || info.End > size || info.FirstCommit > info.LastCommit || info.LastCommit > maxCommitNo {
		return nil, nil, errIndex
	}
	x := newIndex()
	x.compacted = p[5]&indexCompacted != 0
	r := reader{p: body[indexHeaderLen:]}
	for range binary.BigEndian.Uint32(p[52:]) {
		l := &laneIndex{defined: true, no: uint32(r.number(1<<32 - 1)), separator: int64(r.number(1 << 30))}
		l.key = string(r.take(r.number(MaxKeyBytes)))
		l.First = r.number(1<<64 - 1)
		l.Last = l.First + r.number(1<<33)
		l.bytes = int64(r.number(1<<63 - 1))
		n := r.number(uint64(len(r.p) / 2))
		if r.bad || n == 0 || x.frames+int(n) > maxIndexed+maxCommitFrames || l.no == 0 || l.First == 0 || l.Last < l.First || l.Last > MaxSeq || x.lanes[l.no] != nil {
			return nil, nil, errIndex
		}
		l.places = make([]place, 0, n)
		var at place
		for i := range n {
			rel, off := r.number(1<<32-1), r.number(1<<32-1)
			if r.bad || uint64(at.rel)+rel > l.Last-l.First || int64(at.off)+int64(off) >= info.End || off == 0 || i > 0 && rel == 0 || i == 0 && rel != 0 {
				return nil, nil, errIndex
			}
			at = place{at.rel + uint32(rel), at.off + uint32(off)}
			l.places = append(l.places, at)
		}
		x.lanes[l.no] = l
		x.frames += len(l.places)
	}
	for range binary.BigEndian.Uint32(p[56:]) {
		var o RefAt
		copy(o.Object[:], r.take(16))
		o.Size, o.Records, o.Bytes = int64(r.number(1<<63-1)), uint32(r.number(maxRefRecords)), int64(r.number(1<<63-1))
		o.Lane, o.First = uint32(r.number(1<<32-1)), r.number(1<<63)
		if r.bad || o.Records == 0 || o.Lane == 0 || o.First == 0 || o.First > MaxSeq-uint64(o.Records) {
			return nil, nil, errIndex
		}
		o.Segment, o.Last = no, o.First+uint64(o.Records)-1
		x.refs = append(x.refs, o)
	}
	if r.bad || len(r.p) > 0 {
		return nil, nil, errIndex
	}
	info.Lanes = x.spans()
	return x, info, nil
}

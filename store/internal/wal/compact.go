package wal

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"

	"kustospool/internal/crashpoint"
	"kustospool/internal/vfs"
)

// compactCommit is the size at which a compaction begins another commit.
const compactCommit = 1 << 20

// Compact writes a rotated segment anew with only the frames that are wanted,
// and returns what is known of the new file, which takes the old one's place
// and number. The keys of those frames go with them; the others and the positions
// are left out: they must be in the ledger, or elsewhere in the log. It
// changes nothing and returns the old one's info when that would not free a
// quarter of the file. The first and the last record of each frame are what
// wanted may rely on.
//
// Errors: ErrNoSegment, one that matches ErrDamaged when a frame that is wanted
// does not prove itself, or the segment has lost its index and more, ErrNoSpace, and failures of the file system; with each
// the old file is still in place, or the new one is and holds all that was wanted.
func (l *Log) Compact(no uint64, wanted func(Frame) bool) (SegmentInfo, error) {
	k := &l.files
	k.moving.Lock()
	defer k.moving.Unlock()
	k.mu.Lock()
	s := k.segs[no]
	if s == nil || s.index != nil {
		k.mu.Unlock()
		return SegmentInfo{}, fmt.Errorf("%w %d", ErrNoSegment, no)
	}
	old := s.info
	k.mu.Unlock()
	r, err := l.reader(no)
	if err != nil {
		return old, err
	}
	defer k.cache.put(r)
	x, _, err := r.loadIndex(l.opts, old.End)
	if err != nil {
		return old, err
	}
	if r.hasHoles() {
		// What the index does not know would go with the old file, though it may be
		// wanted and be readable another time.
		return old, fmt.Errorf("%w: segment %d has no index and cannot be read in whole", ErrDamaged, no)
	}
	frames, size, err := l.wantedFrames(r, x, wanted, old.End)
	if err != nil || headBytes+size > old.Size/4*3 {
		return old, err
	}
	keys, err := r.keys(l.opts, old.End)
	if err != nil {
		return old, err
	}
	info, err := l.writeCompacted(r, x, frames, keys, old)
	if vfs.NoSpace(err) {
		err = fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	if err != nil {
		_ = k.fs.Remove(k.path(no, extNew))
		return old, fmt.Errorf("compacting segment %d: %w", no, err)
	}
	crashpoint.Reach("wal.compacted")
	k.exchange.Lock()
	k.cache.drop(no)
	if err := k.fs.Rename(k.path(no, extNew), k.path(no, extLog)); err != nil {
		k.exchange.Unlock()
		_ = k.fs.Remove(k.path(no, extNew))
		return old, err
	}
	crashpoint.Reach("wal.exchanged")
	k.mu.Lock()
	s.info, s.compacted = info, true
	k.disk.Add(info.Size - old.Size)
	k.mu.Unlock()
	k.exchange.Unlock()
	if err := k.syncDir(); err != nil {
		// Which of the two is there after a cut nobody knows, and a tombstone would
		// be for one of them.
		return info, l.fail(err)
	}
	return info, nil
}

// wantedFrame is a frame that a compaction keeps.
type wantedFrame struct {
	lane *laneIndex
	off  int64
	len  int
}

// wantedFrames finds the frames to be taken over, in the order of the file, and how many
// bytes they take.
func (l *Log) wantedFrames(r *segmentReader, x *index, wanted func(Frame) bool, end int64) (out []wantedFrame, size int64, err error) {
	for _, li := range x.lanes {
		for _, p := range li.places {
			out = append(out, wantedFrame{lane: li, off: int64(p.off)})
		}
	}
	slices.SortFunc(out, func(a, b wantedFrame) int { return cmp.Compare(a.off, b.off) })
	w := newWindow(r.file, end)
	kept := out[:0]
	for _, f := range out {
		h, err := parseHeader(l.opts.Spool, w.at(f.off, frameHeaderLen))
		if err != nil {
			return nil, 0, fmt.Errorf("%w: segment %d: %w", ErrDamaged, r.no, err)
		}
		if wanted(h.frame()) {
			f.len = frameHeaderLen + h.body
			kept = append(kept, f)
			size += int64(f.len)
		}
	}
	return kept, size, nil
}

// writeCompacted writes and syncs the new file beside the old one.
func (l *Log) writeCompacted(r *segmentReader, x *index, wanted []wantedFrame, keys map[uint32][]KeyAt, old SegmentInfo) (_ SegmentInfo, err error) {
	k := &l.files
	if err := k.dropCompaction(old.No); err != nil {
		return old, err
	}
	f, err := k.fs.Open(k.path(old.No, extNew), vfs.Create)
	if err != nil {
		return old, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	c := &compaction{l: l, f: f, index: newIndex(), end: headBytes, from: seedOf(r.generation), old: keys}
	c.h = head{no: old.No, generation: k.generation(), compacted: true, first: old.FirstCommit, last: old.LastCommit, chain: old.Chain}
	var page [headBytes]byte
	c.h.put(page[:], l.opts.Spool)
	if _, err := f.WriteAt(page[:], 0); err != nil {
		return old, err
	}
	for _, w := range wanted {
		if err := c.add(r, w); err != nil {
			return old, err
		}
	}
	if err := c.flush(); err != nil {
		return old, err
	}
	for i := range x.refs {
		if y := c.index.lanes[x.refs[i].Lane]; y != nil && c.refs[RefAt{Lane: x.refs[i].Lane, First: x.refs[i].First}] {
			c.index.refs = append(c.index.refs, x.refs[i])
		}
	}
	s := &segment{index: c.index, compacted: true, info: SegmentInfo{
		No: old.No, Generation: c.h.generation, Size: c.end, End: c.end,
		FirstCommit: old.FirstCommit, LastCommit: old.LastCommit, Chain: old.Chain, Keys: c.keyed,
	}}
	if err := k.writeIndex(f, s); err != nil {
		return old, err
	}
	s.info.Lanes = c.index.spans()
	return s.info, nil
}

// compaction is a segment that is written anew.
type compaction struct {
	l      *Log
	f      vfs.File
	h      head
	index  *index
	refs   map[RefAt]bool
	from   uint32 // seed of the old file's checksums
	old    map[uint32][]KeyAt
	keyed  bool // there are keys in the new one
	end    int64
	number uint64
	chain  uint32
	at     int64

	buf    []byte // the commit's header and frames
	heads  []int  // where the frames begin in it
	frames []Frame
	keys   []KeyAt
	extras []byte
}

// add takes a frame over, proven by its old checksum, with a new one.
func (c *compaction) add(r *segmentReader, w wantedFrame) error {
	if len(c.buf) > 0 && len(c.buf)+w.len > compactCommit {
		if err := c.flush(); err != nil {
			return err
		}
	}
	if len(c.buf) == 0 {
		c.buf = append(c.buf, make([]byte, commitHeaderLen)...)
	}
	start := len(c.buf)
	c.buf = append(c.buf, make([]byte, w.len)...)
	p := c.buf[start:]
	if err := readFull(r.file, p, w.off); err != nil {
		return err
	}
	h, _, ref, err := parseFrame(c.l.opts.Spool, c.from, p)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	h.put(p, c.l.opts.Spool, crc32.Update(seedOf(c.h.generation), crcTable, p[frameHeaderLen:]))
	c.heads, c.frames, c.at = append(c.heads, start), append(c.frames, h.frame()), h.at
	if ref != nil {
		if c.refs == nil {
			c.refs = map[RefAt]bool{}
		}
		c.refs[RefAt{Lane: h.lane, First: h.first}] = true
	}
	if x := c.index.lane(h.lane); !x.defined {
		x.defined, x.key, x.separator = true, w.lane.key, w.lane.separator
		c.extras = appendLane(c.extras, h.lane, x.separator, x.key)
	}
	keys := c.old[h.lane]
	i, _ := slices.BinarySearchFunc(keys, h.first, func(k KeyAt, seq uint64) int { return cmp.Compare(k.Seq, seq) })
	for ; i < len(keys) && keys[i].Seq <= h.last(); i++ {
		c.keys, c.keyed = append(c.keys, keys[i]), true
	}
	return nil
}

// flush writes the commit that was collected.
func (c *compaction) flush() error {
	if len(c.heads) == 0 {
		return nil
	}
	c.number++
	c.extras = appendKeys(c.extras, c.keys)
	h := commitHeader{
		generation: c.h.generation, segment: c.h.no, number: c.number, at: c.at, length: len(c.buf) + len(c.extras),
		extras: len(c.extras), frames: len(c.heads), chain: c.chain,
	}
	sum := h.put(c.buf)
	for i, at := range c.heads {
		sum = crc32.Update(sum, crcTable, c.buf[at:at+frameHeaderLen])
		c.index.add(&c.frames[i], c.end+int64(at))
	}
	c.chain = crc32.Update(sum, crcTable, c.extras)
	binary.BigEndian.PutUint32(c.buf[56:], c.chain)
	c.buf = append(c.buf, c.extras...)
	_, err := c.f.WriteAt(c.buf, c.end)
	c.end += int64(len(c.buf))
	c.buf, c.heads, c.frames, c.keys, c.extras = c.buf[:0], c.heads[:0], c.frames[:0], c.keys[:0], c.extras[:0]
	return err
}

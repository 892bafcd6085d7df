package wal

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"

	"kustospool/internal/vfs"
)

// survey is what reading a segment from front to back tells.
type survey struct {
	info       SegmentInfo
	name       string
	compacted  bool
	index      *index
	extras     extras
	refs       []RefAt
	damage     []Damage
	lastOff    int64 // where the last commit begins
	sealed     bool  // the index on disk leads to all of it
	headless   bool  // the head is damaged
	unread     bool  // something could not be read
	tailUnread bool  // and it is behind the end
	tailHole   bool  // the end was damaged
}

// segmentScanner reads one segment.
type segmentScanner struct {
	*window
	s      *survey
	spool  [8]byte
	seed   uint32
	bugs   bugs
	frames []scannedFrame
	buf    []byte
	lost   int // the damage that a gap in a lane belongs to, counted from 1; 0: none
	loose  bool
	before uint64 // as in walkStart
	reach  uint64 // as in walkStart
	budget int64  // what searches may still read of what does not prove itself

	moved      []movedFrame   // found behind later ones of their lane
	badAt      map[int64]bool // places in the index that do not prove themselves
	disordered bool           // a commit was found behind a later one
}

type scannedFrame struct {
	h   frameHeader
	off int64
	bad bool
	ref *Ref
}

// scanStart is what is known before a scan.
type scanStart struct {
	no     uint64
	name   string
	size   int64
	expect uint64 // number of the first commit, 0 when unknown
	until  int64  // where the last commit ends, 0 when unknown
	// proven is the number of a commit that was acknowledged, and with it all
	// before: a later segment, or the ledger, says so. 0: unknown.
	proven uint64
	// before is the number of the first commit in a later segment: one with that
	// number at the end here, of which nobody else knows, was cut off, and made again
	// there. 0: unknown.
	before uint64
	// reach is the number of the segment's last commit at least. 0: unknown.
	reach uint64
	// least is where the log ended at least, before a compaction if there was one.
	// 0: unknown.
	least int64
	// generation is the one that the segment should have. 0: unknown.
	generation uint64
	bugs       bugs
}

// scanSegment reads a segment whose head was read, or tried to be.
func scanSegment(f vfs.File, spool [8]byte, h head, headErr error, st scanStart) (*survey, error) {
	w := &segmentScanner{window: newWindow(f, min(st.size, maxFileBytes)), spool: spool, bugs: st.bugs, reach: st.reach}
	w.budget = searchBudget * w.size
	if !h.compacted {
		w.before = st.before
	}
	w.s = &survey{name: st.name, index: newIndex(), compacted: h.compacted, headless: headErr != nil}
	w.s.info = SegmentInfo{No: st.no, Generation: h.generation, Size: st.size, End: headBytes}
	if headErr != nil {
		generation, ok := w.generation(st.no)
		if !ok {
			generation = st.generation
		}
		if generation == 0 {
			return nil, headErr
		}
		w.s.info.Generation = generation
		w.s.damage = append(w.s.damage, Damage{Segment: st.no, Name: st.name, Len: headBytes, Err: fmt.Errorf("%w: %v", ErrDamaged, headErr)})
	}
	if h.no != st.no && headErr == nil {
		return nil, fmt.Errorf("the head says segment %d", h.no)
	}
	w.seed = seedOf(w.s.info.Generation)
	if h.compacted {
		st.expect, w.loose = 1, true
	}
	w.run(st)
	w.takeMoved()
	w.s.tailUnread = w.s.tailUnread || w.budget <= 0
	i := &w.s.info
	i.Lanes = w.s.index.spans()
	i.Keys, i.Positions = len(w.s.extras.keys) > 0, len(w.s.extras.positions) > 0
	if h.compacted {
		i.FirstCommit, i.LastCommit, i.Chain = h.first, h.last, h.chain
	}
	w.s.index.refs = w.s.refs
	w.loseUnreadable()
	return w.s, nil
}

// generation finds the generation of a segment without a head, by a commit
// that proves itself to be of the segment.
func (w *segmentScanner) generation(no uint64) (uint64, bool) {
	prefix := make([]byte, commitPrefixLen)
	putCommitPrefix(prefix, 0, no)
	for at := int64(headBytes); ; at++ {
		at = w.find(func(p []byte) int { return bytes.Index(p, prefix[:8]) }, 8, at, w.size)
		if at < 0 || w.budget <= 0 {
			return 0, false
		}
		c, err := parseCommit(w.at(at, commitHeaderLen), w.size-at)
		if err != nil || c.segment != no {
			continue
		}
		w.budget -= int64(c.length)
		w.s.info.Generation, w.seed = c.generation, seedOf(c.generation)
		if w.prove(at, &c) == nil {
			return c.generation, true
		}
	}
}

func (w *segmentScanner) run(st scanStart) {
	s, expect, until := w.s, st.expect, st.until
	i := &s.info
	off := int64(headBytes)
	var chain uint32
	chained := false
	for until == 0 || off < until {
		if s.index.frames > maxIndexed+maxCommitFrames {
			return // the log begins another segment long before
		}
		c, err := w.commitAt(off, expect)
		from := off // what is searched begins here
		switch {
		case err != nil:
		case chained && c.chain != chain && !w.bugs.ignoreChain:
			err = errors.New("the chain of commits is broken")
		case w.madeAgain(&c) && w.last(off, &c):
			err, from = errors.New("commit that was cut off"), off+1
		case until == 0 && c.number > st.proven && w.torn(off, &c):
			err, from, expect = errors.New("the last commit has a damaged frame"), off+1, c.number
		}
		if err != nil {
			next, found, behind := off, false, false
			if !w.bugs.noSearch {
				next, c, found, behind = w.later(from, expect)
			}
			end := next
			if !found {
				switch {
				case until > 0:
					end = until
				case behind, off < st.least && !s.compacted, st.reach > i.LastCommit && !s.compacted && (i.LastCommit > 0 || w.begun()):
					end = w.size
				default:
					return
				}
				s.tailHole = true
			}
			w.hole(off, end, err)
			i.End = end
			if !found {
				return
			}
			off = next
		}
		w.publish(off, &c)
		s.lastOff = off
		off += int64(c.length)
		expect, chain, chained = c.number+1, c.sum, true
		i.End = off
		w.searchBad()
	}
}

// madeAgain reports whether a commit may have been cut off, and made again in a
// later segment: one group is in flight at a time, so only the last one here can
// be that, and nobody else knows of it.
func (w *segmentScanner) madeAgain(c *commitHeader) bool {
	return w.before > 0 && c.number == w.before && c.number > w.reach
}

// begun reports whether a commit was ever written to the segment. A number
// that was given to a segment may have remained without any.
func (w *segmentScanner) begun() bool {
	prefix := make([]byte, commitPrefixLen)
	putCommitPrefix(prefix, w.s.info.Generation, w.s.info.No)
	if w.find(func(p []byte) int { return bytes.Index(p, prefix) }, len(prefix), headBytes, w.size) >= 0 {
		return true
	}
	const at = headBytes + commitHeaderLen // when the prefix itself is damaged
	h, err := parseHeader(w.spool, w.at(at, frameHeaderLen))
	if err != nil {
		return false
	}
	bad, _ := w.body(w.seed, at, &h)
	return !bad
}

// torn reports whether the commit that was proven last is one that the end of
// the power cut off: a frame of it does not prove itself, and no later commit
// says that it was acknowledged.
func (w *segmentScanner) torn(off int64, c *commitHeader) bool {
	bad := w.bugs.cutTooFar
	for j := range w.frames {
		bad = bad || w.frames[j].bad
	}
	if !bad || w.bugs.acceptTorn {
		return false
	}
	return w.last(off, c)
}

// last reports whether no commit proves itself behind the one that was proven last.
func (w *segmentScanner) last(off int64, c *commitHeader) bool {
	frames, extra := append([]scannedFrame(nil), w.frames...), append([]byte(nil), w.buf...)
	_, _, found, _ := w.later(off+int64(c.length), c.number)
	w.frames, w.buf = append(w.frames[:0], frames...), append(w.buf[:0], extra...)
	return !found
}

// commitAt proves the commit at a place, with its number where that is known.
func (w *segmentScanner) commitAt(off int64, expect uint64) (commitHeader, error) {
	c, err := parseCommit(w.at(off, commitHeaderLen), w.size-off)
	if err != nil {
		return c, err
	}
	if (c.generation != w.s.info.Generation || c.segment != w.s.info.No) && !w.bugs.ignoreGeneration {
		return c, errors.New("commit of another use of the file")
	}
	if expect != 0 && c.number != expect && !w.bugs.ignoreNumber {
		return c, fmt.Errorf("commit %d where %d should be", c.number, expect)
	}
	return c, w.prove(off, &c)
}

// prove reads a commit, leaves its frames in w.frames and its extras in w.buf,
// and compares the sums. A frame that does not prove itself is marked as bad.
func (w *segmentScanner) prove(off int64, c *commitHeader) error {
	w.frames = w.frames[:0]
	seed := seedOf(c.generation)
	sum := crc32.Update(seed, crcTable, w.at(off, commitHeaderLen)[:56])
	at, end := off+commitHeaderLen, off+int64(c.length)-int64(c.extras)
	for range c.frames {
		p := w.at(at, frameHeaderLen)
		h, err := parseHeader(w.spool, p)
		if err != nil {
			return err
		}
		sum = crc32.Update(sum, crcTable, p)
		if at+frameHeaderLen+int64(h.body) > end {
			return errors.New("frame past the end of its commit")
		}
		f := scannedFrame{h: h, off: at}
		f.bad, f.ref = w.body(seed, at, &h)
		w.frames = append(w.frames, f)
		at += frameHeaderLen + int64(h.body)
	}
	if at != end {
		return errors.New("commit holds more than its frames")
	}
	w.buf = w.buf[:0]
	for n := int64(c.extras); n > 0; {
		p := w.at(at, int(min(n, windowBytes/4)))
		w.buf = append(w.buf, p...)
		at, n = at+int64(len(p)), n-int64(len(p))
	}
	if sum = crc32.Update(sum, crcTable, w.buf); sum != c.sum && !w.bugs.ignoreSum {
		return errors.New("commit checksum mismatch")
	}
	return nil
}

// body proves a frame whose header was read.
func (w *segmentScanner) body(seed uint32, at int64, h *frameHeader) (bad bool, ref *Ref) {
	var head [60]byte
	copy(head[:], w.at(at, 60))
	sum := w.sum(seed, at+frameHeaderLen, int64(h.body))
	bad = crc32.Update(sum, crcTable, head[:]) != h.sum && !w.bugs.ignoreFrameSum
	if h.codec == codecObject && !bad {
		ref = parseRef(h, w.at(at+frameHeaderLen, refLen))
	}
	return bad, ref
}

// publish takes over the commit that was proven last.
func (w *segmentScanner) publish(off int64, c *commitHeader) {
	s := w.s
	for j := range w.frames {
		w.frame(&w.frames[j])
	}
	if err := s.extras.parse(w.buf, c.number, c.at); err != nil {
		s.damage = append(s.damage, Damage{Segment: s.info.No, Name: s.name, Off: off, Len: int64(c.length), Err: fmt.Errorf("%w: %v", ErrDamaged, err)})
	}
	for _, l := range s.extras.lanes {
		if x := s.index.lane(l.No); !x.defined {
			x.defined, x.key, x.separator = true, l.Key, l.Separator
		}
	}
	s.extras.lanes = s.extras.lanes[:0]
	i := &s.info
	if i.FirstCommit == 0 || c.number < i.FirstCommit {
		i.FirstCommit = c.number
	}
	if c.number >= i.LastCommit {
		i.LastCommit, i.Chain = c.number, c.sum
	} else {
		w.disordered = true
	}
}

// frame enters a frame. A gap before it belongs to the hole before it.
func (w *segmentScanner) frame(f *scannedFrame) {
	s := w.s
	fr := f.h.frame()
	if x := s.index.lanes[fr.Lane]; x != nil && len(x.places) > 0 {
		if fr.First <= x.Last {
			w.moved = append(w.moved, movedFrame{fr, f.off, f.h.body, f.bad, f.ref})
			return
		}
		if gap := (Span{x.Last + 1, fr.First - 1}); gap.First <= gap.Last && w.lost > 0 && !w.loose {
			d := &s.damage[w.lost-1]
			d.Lost = append(d.Lost, Lost{fr.Lane, gap})
		}
	}
	if !s.index.add(&fr, f.off) {
		return
	}
	if f.bad {
		if w.badAt == nil {
			w.badAt = map[int64]bool{}
		}
		w.badAt[f.off] = true
		w.loseFrame(&fr, f.off, f.h.body)
	}
	w.refer(&fr, f.ref)
}

// loseFrame notes a frame that does not prove itself.
func (w *segmentScanner) loseFrame(fr *Frame, off int64, body int) {
	s := w.s
	s.damage = append(s.damage, Damage{
		Segment: s.info.No, Name: s.name, Off: off, Len: frameHeaderLen + int64(body),
		Lost: []Lost{{fr.Lane, Span{fr.First, fr.Last}}}, Err: fmt.Errorf("%w: frame checksum mismatch", ErrDamaged),
	})
}

func (w *segmentScanner) refer(fr *Frame, ref *Ref) {
	if ref != nil {
		w.s.refs = append(w.s.refs, RefAt{Ref: *ref, Segment: w.s.info.No, Lane: fr.Lane, First: fr.First, Last: fr.Last})
	}
}

// loseUnreadable tells what could not be read and does not show otherwise.
func (w *segmentScanner) loseUnreadable() {
	seen := map[int64]bool{}
	for _, u := range w.unreadable {
		if seen[u.off] {
			continue
		}
		seen[u.off], w.s.unread = true, true
		if u.off+u.len > w.s.info.End {
			w.s.tailUnread = true
		}
		w.s.damage = append(w.s.damage, Damage{Segment: w.s.info.No, Name: w.s.name, Off: u.off, Len: u.len, Err: fmt.Errorf("%w: %v", ErrDamaged, u.err)})
	}
}

package wal

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
)

// searchBudget bounds what the searches of one scan read, in sizes of the file: a
// file made to look like commits everywhere must not take for ever.
const searchBudget = 8

// later looks for a commit from off on that proves itself and has a higher
// number than the one that should be at off; 0: any. One group is in flight at
// a time: such a commit was begun after that one had been acknowledged. Where
// there is none, behind tells that another commit proves itself: the log is
// written from front to back, so damage has moved it, and the log goes on
// behind off.
func (w *segmentScanner) later(off int64, expect uint64) (_ int64, _ commitHeader, found, behind bool) {
	prefix := make([]byte, commitPrefixLen)
	putCommitPrefix(prefix, w.s.info.Generation, w.s.info.No)
	for at := off; w.budget > 0; at++ {
		at = w.find(func(p []byte) int { return bytes.Index(p, prefix) }, len(prefix), at, w.size)
		if at < 0 {
			break
		}
		c, err := parseCommit(w.at(at, commitHeaderLen), w.size-at)
		earlier := expect != 0 && c.number <= expect
		if err != nil || earlier && (behind || at == off) || w.madeAgain(&c) {
			continue
		}
		w.budget -= int64(c.length)
		if w.prove(at, &c) != nil {
			continue
		}
		if !earlier {
			// What is between is salvaged first, with the same buffers.
			return at, c, true, false
		}
		behind = true
	}
	return off, commitHeader{}, false, behind
}

// hole notes damage and takes what proves itself from it.
func (w *segmentScanner) hole(from, to int64, err error) {
	frames, extra := append([]scannedFrame(nil), w.frames...), append([]byte(nil), w.buf...)
	w.s.damage = append(w.s.damage, Damage{Segment: w.s.info.No, Name: w.s.name, Off: from, Len: to - from, Err: fmt.Errorf("%w: %v", ErrDamaged, err)})
	w.lost = len(w.s.damage)
	w.salvage(from, to)
	w.frames, w.buf = append(w.frames[:0], frames...), append(w.buf[:0], extra...)
}

// searchBad salvages what is in the damaged bodies of the commit that was
// published last. Where its header was moved they are not its own, and the
// frames there may be whole.
func (w *segmentScanner) searchBad() {
	var bodies []extent
	for i := range w.frames {
		if f := &w.frames[i]; f.bad {
			bodies = append(bodies, extent{off: f.off + frameHeaderLen, len: int64(f.h.body)})
		}
	}
	for _, b := range bodies {
		w.salvage(b.off, b.off+b.len)
	}
}

// salvage enters the commits and frames that begin between from and to, are
// found by their magic bytes and prove themselves.
func (w *segmentScanner) salvage(from, to int64) {
	magic := []byte(commitMagic[:3]) // of both
	for at := from; w.budget > 0; at++ {
		at = w.find(func(p []byte) int { return bytes.Index(p, magic) }, len(magic), at, min(to+int64(len(magic))-1, w.size))
		if at < 0 {
			return
		}
		if n := w.salvageCommit(at); n > 0 {
			at += n - 1
		} else if n := w.salvageFrame(at); n > 0 {
			at += n - 1
		}
	}
}

// salvageCommit takes the commit at a place, if there is one that proves
// itself, and says how far to go on from there.
func (w *segmentScanner) salvageCommit(at int64) int64 {
	i := &w.s.info
	c, err := parseCommit(w.at(at, commitHeaderLen), w.size-at)
	if err != nil || c.generation != i.Generation || c.segment != i.No {
		return 0
	}
	w.budget -= int64(c.length)
	switch {
	case w.prove(at, &c) != nil:
		return 0
	case w.madeAgain(&c):
		return int64(c.length)
	}
	w.publish(at, &c)
	if slices.ContainsFunc(w.frames, func(f scannedFrame) bool { return f.bad }) {
		return commitHeaderLen // others may be where its bodies should be
	}
	return int64(c.length)
}

// salvageFrame is salvageCommit of a frame alone.
func (w *segmentScanner) salvageFrame(at int64) int64 {
	h, err := parseHeader(w.spool, w.at(at, frameHeaderLen))
	n := int64(frameHeaderLen + h.body)
	if err != nil || at+n > w.size {
		return 0
	}
	w.budget -= n
	bad, ref := w.body(w.seed, at, &h)
	if bad {
		return 0
	}
	w.frame(&scannedFrame{h: h, off: at, ref: ref})
	return n
}

// movedFrame is a frame that was found behind a later one of its lane.
type movedFrame struct {
	Frame
	off  int64
	body int
	bad  bool
	ref  *Ref
}

// takeMoved enters the frames that were found behind later ones of their lanes,
// those that prove themselves first, and brings the extras into the order of commits.
func (w *segmentScanner) takeMoved() {
	s := w.s
	if w.disordered {
		slices.SortStableFunc(s.extras.positions, func(a, b Position) int { return cmp.Compare(a.in, b.in) })
		slices.SortStableFunc(s.extras.keys, func(a, b KeyAt) int { return cmp.Compare(a.At, b.At) })
	}
	if len(w.moved) == 0 {
		return
	}
	slices.SortStableFunc(w.moved, func(a, b movedFrame) int {
		return cmp.Or(cmp.Compare(a.Lane, b.Lane), cmp.Compare(a.First, b.First), cmp.Compare(btoi(a.bad), btoi(b.bad)))
	})
	others := newIndex()
	found := w.moved[:0]
	for _, f := range w.moved {
		p := s.index.lanes[f.Lane].at(f.First)
		switch {
		case p != nil && !f.bad && w.badAt[int64(p.off)] && f.off <= 1<<32-1:
			p.off = uint32(f.off)
		case p != nil || !others.add(&f.Frame, f.off):
			continue // a second copy
		case f.bad:
			w.loseFrame(&f.Frame, f.off, f.body)
		}
		w.refer(&f.Frame, f.ref)
		if !f.bad {
			found = append(found, f)
		}
	}
	s.index.merge(others)
	for i := range s.damage {
		s.damage[i].Lost = without(s.damage[i].Lost, found)
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// without takes out of what was said to be lost the records of frames that were
// found, which are in order.
func without(lost []Lost, found []movedFrame) (out []Lost) {
	for _, l := range lost {
		i, _ := slices.BinarySearchFunc(found, l, func(f movedFrame, l Lost) int {
			return cmp.Or(cmp.Compare(f.Lane, l.Lane), cmp.Compare(f.Last, l.First))
		})
		for ; i < len(found) && found[i].Lane == l.Lane && found[i].First <= l.Last; i++ {
			if f := &found[i]; f.First > l.First {
				out = append(out, Lost{l.Lane, Span{l.First, f.First - 1}})
			}
			l.First = found[i].Last + 1
		}
		if l.First <= l.Last {
			out = append(out, l)
		}
	}
	return out
}

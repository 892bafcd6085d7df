package store

import (
	"errors"
	"fmt"
	"iter"
	"os"

	bolt "go.etcd.io/bbolt"
)

// foundFrame is a frame, or the place of one that is damaged or missing.
type foundFrame struct {
	span           // whole frames; may reach beyond what was asked for
	segment uint64 // 0 where no segment claims the records
	h       frameHeader
	body    []byte // valid during the callback, shares bbolt's mapping
	raw     []byte // the frame as it stands, damaged or not; nil where there is none
	err     *CorruptionError
}

var errMissing = errors.New("no frame holds these records")

// scanRun walks the frames of a lane that hold from..last, in order, until fn
// returns false, for as much as one segment holds. Whatever is damaged or
// missing is told with its extent. It returns the number behind the last one
// that fn saw. fn runs inside a read transaction and must be quick.
func (s *Store) scanRun(l *lane, from, last uint64, fn func(*foundFrame) bool) (next uint64, more bool, err error) {
	s.mu.RLock()
	h, ok := l.heldAt(from)
	after, follows := l.nextHeld(from)
	s.mu.RUnlock()
	if !ok {
		end := last
		if follows {
			end = min(end, after.First-1)
		}
		more = fn(missing(l.no, 0, span{from, end}, errMissing))
		return end + 1, more && end < last, nil
	}
	next, more = from, true
	end := min(last, h.Last)
	var scratch *[]byte
	defer func() { putBlock(scratch) }()
	read := func(tx *bolt.Tx) error {
		tied := openSheaves(tx).from(l.no, next)
		walkFrames(tx, l.no, tied, next, h.Last, func(p place) bool {
			if p.First > end {
				return false
			}
			for _, f := range s.inspect(l, h.seg, p, &scratch) {
				if f.Last < next {
					continue
				}
				if f.First > end {
					return false
				}
				// Only after fn is done with it: a page may go bad under fn.
				more = fn(f)
				next = f.Last + 1
				if !more {
					return false
				}
			}
			return next <= end
		})
		return nil
	}
	err = s.handles.view(h.seg, read)
	if errors.Is(err, errDamaged) || errors.Is(err, errRepair) {
		again, rerr := s.repair(h.seg, err)
		if rerr != nil {
			return next, false, rerr
		}
		if again {
			err = s.handles.view(h.seg, read)
		}
	}
	if err != nil {
		if errors.Is(err, errDamaged) || errors.Is(err, errGone) || errors.Is(err, os.ErrNotExist) {
			// The way to the frames is broken: none behind this one can be
			// told from another.
			more = fn(missing(l.no, h.seg.no, span{next, h.Last}, err))
			return h.Last + 1, more && h.Last < last, nil
		}
		return next, false, err
	}
	if more && next <= end {
		more = fn(missing(l.no, h.seg.no, span{next, h.Last}, errMissing))
		next = h.Last + 1
	}
	return next, more && next <= last, nil
}

// eachFrame is scanRun over as many segments as it takes.
func (s *Store) eachFrame(l *lane, from, last uint64, fn func(*foundFrame) bool) error {
	for more := from <= last; more; {
		var err error
		if from, more, err = s.scanRun(l, from, last, fn); err != nil {
			return err
		}
	}
	return nil
}

func missing(lane uint32, seg uint64, r span, err error) *foundFrame {
	return &foundFrame{span: r, segment: seg, err: &CorruptionError{Segment: seg, Lane: lane, First: r.First, Last: r.Last, Err: err}}
}

// inspect reads and proves the frame at a place. A frame that ends before its
// place does leaves a missing stretch behind it.
func (s *Store) inspect(l *lane, seg *segment, p place, scratch **[]byte) []*foundFrame {
	if p.value == nil {
		return []*foundFrame{missing(l.no, seg.no, p.span, errMissing)}
	}
	f := &foundFrame{span: p.span, segment: seg.no}
	// Under a guard of its own: a page of this frame may be broken where the
	// way to its neighbours is not.
	err := guard(func() (err error) {
		if f.raw, err = seg.bytesAt(p.slot, scratch); err != nil {
			return err
		}
		f.h, f.body, err = parseFrame(s.id, f.raw)
		return err
	})
	if err == nil && (f.h.lane != l.no || f.h.first != p.First || f.h.last() > p.Last) {
		err = fmt.Errorf("the frame says lane %d, records %d..%d", f.h.lane, f.h.first, f.h.last())
	}
	if err != nil {
		f.err = &CorruptionError{Segment: seg.no, Lane: l.no, First: p.First, Last: p.Last, Err: err}
		return []*foundFrame{f}
	}
	if f.h.last() == p.Last {
		return []*foundFrame{f}
	}
	f.Last = f.h.last()
	return []*foundFrame{f, missing(l.no, seg.no, span{f.Last + 1, p.Last}, errMissing)}
}

// bytesAt reads a frame's bytes: of a cold segment, where the frame stands alone,
// from the file over scratch, else in the mapping. See cold.go.
func (seg *segment) bytesAt(at slot, scratch **[]byte) (raw []byte, err error) {
	if seg.cold == nil || at.page == nil {
		return at.value(), nil
	}
	root := at.page()
	if root == 0 {
		return at.value(), nil
	}
	if *scratch == nil {
		*scratch = blocks.Get().(*[]byte)
	}
	raw, err = seg.cold.frame(root, **scratch)
	if cap(raw) > cap(**scratch) {
		**scratch = raw
	}
	return raw, err
}

// Unsealed walks the records that are in no batch, lane by lane and in order,
// as the frames they are in. It is meant to be used once, right after Open,
// before anything is appended or sealed. Records that are damaged come as a
// frame as well, with as many bytes as they had if that can still be told:
// their batch then meets a [CorruptionError] when it is read.
func (s *Store) Unsealed() iter.Seq2[Frame, error] {
	return func(yield func(Frame, error) bool) {
		for _, l := range s.lanes.sorted() {
			s.mu.RLock()
			m := l.marks
			s.mu.RUnlock()
			if m.Mark >= m.High {
				continue
			}
			for _, r := range m.pieces(span{m.Mark + 1, m.High}) {
				if !s.unsealedIn(l, r, m.Bytes, yield) {
					return
				}
			}
		}
	}
}

// unsealedAtOnce bounds the frames that one transaction looks at.
const unsealedAtOnce = 512

func (s *Store) unsealedIn(l *lane, r span, total int64, yield func(Frame, error) bool) bool {
	for from := r.First; from <= r.Last; {
		var frames []Frame
		next, _, err := s.scanRun(l, from, r.Last, func(f *foundFrame) bool {
			frames = append(frames, s.partOf(l, f, from, r.Last))
			return len(frames) < unsealedAtOnce
		})
		s.mu.Lock()
		for _, f := range frames {
			if n := len(l.ages); !f.At.IsZero() && (n == 0 || l.ages[n-1].last < f.Last) {
				l.ages.add(f.Last, f.At)
			}
		}
		s.mu.Unlock()
		for _, f := range frames {
			if !yield(f, nil) {
				return false
			}
		}
		if err != nil {
			return yield(Frame{}, err)
		}
		from = next
	}
	return true
}

// partOf is the part of a found frame inside of from..last.
func (s *Store) partOf(l *lane, found *foundFrame, from, last uint64) Frame {
	f := Frame{Lane: l.no, First: max(found.First, from), Last: min(found.Last, last)}
	if found.err != nil {
		return f
	}
	whole := found.h.frame()
	f.At, f.Bytes = whole.At, whole.Bytes
	if f.First != whole.First || f.Last != whole.Last {
		f.Bytes = s.bytesIn(l, found, f.First, f.Last)
	}
	return f
}

// bytesIn is what some records of a sound frame add to a payload, 0 where its
// object does not tell.
func (s *Store) bytesIn(l *lane, found *foundFrame, first, last uint64) int64 {
	o, ok := found.object()
	if !ok {
		return found.h.bytesOf(found.body, first, last, l.separator)
	}
	from, err1 := s.offsetIn(l, &o, first)
	to, err2 := s.offsetIn(l, &o, last+1)
	if err1 != nil || err2 != nil {
		return 0
	}
	return to - from
}

// bytesOf is what some records of a frame add to a payload.
func (h *frameHeader) bytesOf(body []byte, first, last uint64, separator int64) (n int64) {
	_ = h.eachRecord(body, func(seq uint64, data []byte) bool {
		if seq >= first && seq <= last {
			n += int64(len(data)) + separator
		}
		return seq < last
	})
	return n
}

// offsets are the payload bytes of the lane before a record and after it.
func (s *Store) offsets(l *lane, seq uint64) (before, after int64, ok bool) {
	var object foundObject
	_, _, err := s.scanRun(l, seq, seq, func(f *foundFrame) bool {
		if o, is := f.object(); is {
			object, before, ok = o, f.h.before, true
			return false
		}
		if ok = f.err == nil && f.h.codec != codecObject; ok {
			if seq > f.h.first {
				before = f.h.bytesOf(f.body, f.h.first, seq-1, l.separator)
			}
			before += f.h.before
			after = before + f.h.bytesOf(f.body, seq, seq, l.separator)
		}
		return false
	})
	if object.First > 0 && err == nil {
		// Outside of the transaction: this reads another file.
		from, err1 := s.offsetIn(l, &object, seq)
		to, err2 := s.offsetIn(l, &object, seq+1)
		return before + from, before + to, err1 == nil && err2 == nil
	}
	return before, after, ok && err == nil
}

// cutBytes gives the payload size of each of the neighbouring ranges that a
// batch of total bytes is cut into. The size of a range that can be read is
// exact, because its own first and last frame tell it. One that cannot be
// read gets what is left over: nobody will ever read so many bytes of it.
func (s *Store) cutBytes(l *lane, ranges []span, total int64) []int64 {
	sizes := make([]int64, len(ranges))
	unread := -1
	for i, r := range ranges {
		from, _, ok1 := s.offsets(l, r.First)
		_, to, ok2 := s.offsets(l, r.Last)
		if ok1 && ok2 && to >= from {
			sizes[i] = to - from
			total -= sizes[i]
		} else if unread < 0 {
			unread = i
		}
	}
	if unread >= 0 {
		sizes[unread] = max(total, 0)
	}
	return sizes
}

package store

import (
	"errors"
	"fmt"
	"iter"

	"kustospool/store/internal/object"
	"kustospool/store/internal/wal"
)

// found is a frame of the log, or the place of one that is damaged or missing.
// It is valid during the callback that gets it.
type found struct {
	span           // whole frames; may reach beyond what was asked for
	segment uint64 // 0 where no segment claims the records
	frame   *wal.Found
	err     *CorruptionError
}

// bytes is what all of the frame's records add to a payload.
func (f *found) bytes() int64 { return f.frame.Bytes }

// object is the object that a sound frame refers to, if it does.
func (f *found) object(l *lane) (o *objectAt) {
	if f.err != nil || f.frame.Ref == nil {
		return nil
	}
	r := f.frame.Ref
	return &objectAt{first: f.First, last: f.Last, segment: f.segment,
		ref: object.Ref{ID: object.ID(r.Object), Size: r.Size, Records: uint64(r.Records), Bytes: r.Bytes, Separator: l.separator}}
}

var errMissing = errors.New("no frame holds these records")

func missing(lane uint32, seg uint64, r span, err error) *found {
	return &found{span: r, segment: seg, err: &CorruptionError{Segment: seg, Lane: lane, First: r.First, Last: r.Last, Err: err}}
}

// scanRun walks the frames of a lane that hold from..last, in order, until fn
// returns false, for as much as one segment holds. Whatever is damaged or
// missing is told with its extent. It returns the number behind the last one
// that fn saw, and whether fn wants more and there is more.
func (s *Store) scanRun(l *lane, from, last uint64, fn func(*found) bool) (next uint64, more bool, err error) {
	s.mu.RLock()
	h, ok := l.rangeAt(from)
	after, follows := l.rangeAfter(from)
	lost := ok && h.seg.lost
	s.mu.RUnlock()
	switch {
	case !ok:
		end := last
		if follows {
			end = min(end, after.First-1)
		}
		more = fn(missing(l.no, 0, span{First: from, Last: end}, errMissing))
		return end + 1, more && end < last, nil
	case lost:
		more = fn(missing(l.no, h.seg.no, span{First: from, Last: h.Last}, wal.ErrNoSegment))
		return h.Last + 1, more && h.Last < last, nil
	}
	next, more = from, true
	end := min(last, h.Last)
	err = s.wal.Scan(h.seg.no, l.no, from, end, func(w *wal.Found) bool {
		if w.Last < next {
			return true // damage moved it here
		}
		if w.First > next {
			more = fn(missing(l.no, h.seg.no, span{First: next, Last: min(w.First-1, end)}, errMissing))
			if next = w.First; !more || next > end {
				return false
			}
		}
		f := &found{span: span{First: w.First, Last: w.Last}, segment: h.seg.no, frame: w}
		if w.Err != nil {
			f.err = &CorruptionError{Segment: h.seg.no, Lane: l.no, First: w.First, Last: w.Last, Err: w.Err}
		}
		more = fn(f)
		next = max(next, f.Last+1)
		return more && next <= end
	})
	if errors.Is(err, wal.ErrNoSegment) || errors.Is(err, wal.ErrDamaged) {
		// The file is gone, or is not what its name says.
		more = fn(missing(l.no, h.seg.no, span{First: next, Last: h.Last}, err))
		return h.Last + 1, more && h.Last < last, nil
	}
	if err != nil {
		return next, false, s.translate(err)
	}
	if more && next <= end {
		more = fn(missing(l.no, h.seg.no, span{First: next, Last: end}, errMissing))
		next = end + 1
	}
	return next, more && next <= last, nil
}

// eachFrame is scanRun over as many segments as it takes.
func (s *Store) eachFrame(l *lane, from, last uint64, fn func(*found) bool) error {
	for more := from <= last; more; {
		var err error
		if from, more, err = s.scanRun(l, from, last, fn); err != nil {
			return err
		}
	}
	return nil
}

// Unsealed walks the records that are in no batch, lane by lane and in order,
// as the frames they are in. It is meant to be used once, right after Open,
// before anything is appended or sealed. Records that are damaged come as a
// frame as well, with as many bytes as they had if that can still be told:
// their batch then meets a [CorruptionError] when it is read.
func (s *Store) Unsealed() iter.Seq2[Frame, error] {
	return func(yield func(Frame, error) bool) {
		for _, l := range s.lanes.sorted() {
			high, _ := s.end(l.no)
			row, _ := s.ledger.Lane(l.no)
			if row.Watermarks.Sealed >= high {
				continue
			}
			for _, r := range row.Watermarks.Pieces(span{First: row.Watermarks.Sealed + 1, Last: high}) {
				if !s.unsealedIn(l, r, yield) {
					return
				}
			}
		}
	}
}

// unsealedAtOnce bounds the frames that one scan looks at.
const unsealedAtOnce = 512

func (s *Store) unsealedIn(l *lane, r span, yield func(Frame, error) bool) bool {
	for from := r.First; from <= r.Last; {
		var frames []Frame
		next, _, err := s.scanRun(l, from, r.Last, func(f *found) bool {
			frames = append(frames, s.partOf(l, f, from, r.Last))
			return len(frames) < unsealedAtOnce
		})
		s.mu.Lock()
		for _, f := range frames {
			if n := len(l.ages); !f.At.IsZero() && (n == 0 || l.ages[n-1].last < f.Last) {
				l.ages.add(f.Last, f.At)
			}
			l.addOpen(f.Last, f.Bytes)
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
func (s *Store) partOf(l *lane, f *found, from, last uint64) Frame {
	part := Frame{Lane: l.no, First: max(f.First, from), Last: min(f.Last, last)}
	if f.err != nil {
		return part
	}
	whole := frameOf(&f.frame.Frame)
	part.At, part.Bytes = whole.At, whole.Bytes
	if part.First != whole.First || part.Last != whole.Last {
		part.Bytes = s.bytesIn(l, f, part.First, part.Last)
	}
	return part
}

// bytesIn is what some records of a sound frame add to a payload, 0 where its
// object does not tell.
func (s *Store) bytesIn(l *lane, f *found, first, last uint64) int64 {
	if o := f.object(l); o != nil {
		from, err1 := s.objects.Offset(&o.ref, first-o.first)
		to, err2 := s.objects.Offset(&o.ref, last-o.first+1)
		if err1 != nil || err2 != nil {
			return 0
		}
		return to - from
	}
	var n int64
	_ = f.frame.Each(func(seq uint64, data []byte) bool {
		if seq >= first && seq <= last {
			n += int64(len(data)) + l.separator
		}
		return seq < last
	})
	return n
}

// offsets are the payload bytes of the lane before a record and after it.
func (s *Store) offsets(l *lane, seq uint64) (before, after int64, ok bool) {
	_, _, err := s.scanRun(l, seq, seq, func(f *found) bool {
		if f.err != nil {
			return false
		}
		before = f.frame.Before
		if seq > f.First {
			before += s.bytesIn(l, f, f.First, seq-1)
		}
		own := f.bytes()
		if f.First != f.Last {
			own = s.bytesIn(l, f, seq, seq)
		}
		after = before + own
		ok = own > 0 && (seq == f.First || before > f.frame.Before)
		return false
	})
	return before, after, ok && err == nil
}

// cutBytes gives the payload size of each of the neighbouring ranges that a
// batch of total bytes is cut into. The size of a range that can be read is
// exact, because its own first and last frame tell it. One that cannot be
// read gets what is left over: nobody will ever read so many bytes of it.
func (s *Store) cutBytes(lane uint32, ranges []span, total int64) []int64 {
	l := s.lanes.get(lane)
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

// objectAt is an object and the records of a lane that are in it.
type objectAt struct {
	first, last uint64
	segment     uint64
	ref         object.Ref
}

// readObject appends the records from..last of an object to buf, about
// runBytes of them, as they stand in a payload; see [object.Dir.Read].
func (s *Store) readObject(l *lane, o *objectAt, from, last uint64, pos *object.Pos, buf []byte) (out []byte, next uint64, err error) {
	out, n, err := s.objects.Read(&o.ref, from-o.first, min(last, o.last)-o.first, pos, buf, runBytes)
	next = o.first + n
	var damage *object.DamageError
	if errors.As(err, &damage) {
		s.objectDamaged(l, o.ref.ID)
		err = &CorruptionError{Segment: o.segment, Lane: l.no, First: o.first + damage.First, Last: o.first + damage.Last,
			Err: fmt.Errorf("object %s: %w", o.ref.ID.FileName(), damage.Err)}
	}
	return out, next, err
}

// objectDamaged notes that an object's file is worth keeping for inspection.
func (s *Store) objectDamaged(l *lane, id object.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range l.objects {
		if o.id == id {
			o.damaged = true
		}
	}
}

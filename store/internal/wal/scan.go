package wal

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"kustospool/internal/vfs"
)

const (
	// readWindow is how much is read at a time where the frames of a lane are
	// near each other, less than a quarter of it apart.
	readWindow = 256 << 10
	// wantStep is how far ahead the system is told what will be read where they are not.
	wantStep = 1 << 20
	// placesAtOnce is how many places are copied out of an index at a time.
	placesAtOnce = 256
)

var errMissing = errors.New("no frame holds these records")

// Scan calls fn for the frames of a lane in one segment that hold records
// from..last, in order, until it returns false. Each is proven by its checksum.
// A damaged one comes as a Found with Err; so does a range between from and last
// of which the segment's span of the lane has no frame. The first and the last frame may
// reach beyond what was asked for. fn must not keep what it is given.
//
// Errors: ErrNoSegment, ErrClosed, and a failure of the file system.
func (l *Log) Scan(no uint64, lane uint32, from, last uint64, fn func(*Found) bool) error {
	r, err := l.reader(no)
	if err != nil {
		return err
	}
	defer l.files.cache.put(r)
	s := &scan{l: l, r: r, no: no, lane: lane, next: max(from, 1), last: last, fn: fn, seed: seedOf(r.generation)}
	defer s.close()
	return s.run()
}

// reader opens a segment for reading. The caller gives it back to the cache.
func (l *Log) reader(no uint64) (*segmentReader, error) {
	k := &l.files
	k.exchange.RLock()
	defer k.exchange.RUnlock()
	k.mu.Lock()
	s := k.segs[no]
	if s == nil {
		k.mu.Unlock()
		return nil, fmt.Errorf("%w %d", ErrNoSegment, no)
	}
	generation := s.info.Generation
	k.mu.Unlock()
	return k.cache.get(no, generation, func() (_ *segmentReader, err error) {
		f, err := k.fs.Open(k.path(no, extLog), vfs.ReadOnly)
		if err != nil {
			return nil, err
		}
		defer func() {
			if err != nil {
				_ = f.Close()
			}
		}()
		info, err := f.Stat()
		if err != nil {
			return nil, err
		}
		if a, ok := f.(vfs.Adviser); ok {
			a.Sequential()
		}
		return &segmentReader{no: no, generation: generation, size: info.Size, file: f}, nil
	})
}

// scan is one call of Scan.
type scan struct {
	l    *Log
	r    *segmentReader
	no   uint64
	lane uint32
	next uint64 // record that comes next
	last uint64
	fn   func(*Found) bool
	seed uint32

	near   bool // the lane's next frame is near
	win    *[]byte
	winOff int64
	winLen int
	wanted int64 // up to where the system was told
}

// windows are buffers of readWindow bytes.
var windows = sync.Pool{New: func() any { p := make([]byte, readWindow); return &p }}

func (s *scan) close() {
	if s.win != nil {
		if cap(*s.win) <= 4*readWindow {
			windows.Put(s.win)
		}
		s.win = nil
	}
}

// located is a place with the records that it is for.
type located struct {
	Span
	off int64
}

func (s *scan) run() error {
	for s.next <= s.last {
		batch, span, end, err := s.places()
		if err != nil {
			return err
		}
		if len(batch) == 0 {
			if s.next <= span.Last && span.First > 0 {
				s.tellMissing(min(s.last, span.Last))
			}
			return nil
		}
		for i, p := range batch {
			if p.First > s.last {
				return nil
			}
			after := end
			if i+1 < len(batch) {
				after = batch[i+1].off
			}
			s.near = after-p.off < readWindow/4
			more, err := s.frame(p, end)
			if errors.Is(err, errReindex) {
				// Something is not where the index says: look for it by its pattern.
				if looked, lerr := s.reindex(); lerr != nil || looked {
					if lerr != nil {
						return lerr
					}
					break
				}
				more, err = s.damaged(p, err, end), nil
			}
			if err != nil || !more {
				return err
			}
		}
	}
	return nil
}

// places copies a few places from the index, and the lane's span in the
// segment and where the segment ends.
func (s *scan) places() (batch []located, span Span, end int64, err error) {
	copyFrom := func(x *index) {
		li := x.lanes[s.lane]
		if li == nil || len(li.places) == 0 {
			return
		}
		span = li.Span
		for i := li.from(s.next); i < len(li.places) && len(batch) < placesAtOnce; i++ {
			if e := li.extent(i); e.Last >= s.next {
				batch = append(batch, located{e, int64(li.places[i].off)})
			}
		}
	}
	k := &s.l.files
	k.mu.Lock()
	seg := k.segs[s.no]
	if seg == nil {
		k.mu.Unlock()
		return nil, span, 0, fmt.Errorf("%w %d", ErrNoSegment, s.no)
	}
	end = seg.info.End
	known := seg.info.Lanes[s.lane]
	if seg.info.Generation != s.r.generation {
		// It was compacted meanwhile. The old file is still there for who has it open.
		end, known = s.r.size, Span{}
	} else if seg.index != nil {
		copyFrom(seg.index)
		k.mu.Unlock()
		if s.r.relocate(s.lane, batch) {
			end = max(end, s.r.size)
		}
		return batch, span, end, nil
	}
	k.mu.Unlock()
	x, walked, err := s.r.loadIndex(s.l.opts, end)
	if err != nil {
		return nil, span, end, err
	}
	if walked {
		end = max(end, s.r.size) // damage moves frames anywhere
	}
	copyFrom(x)
	if span.First == 0 {
		span = known
	} else if known.First > 0 {
		span = Span{min(span.First, known.First), max(span.Last, known.Last)}
	}
	return batch, span, end, nil
}

var errReindex = errors.New("the frame is not where the index says")

// reindex makes the segment's index anew from what is found by its pattern, once. The
// writer goes on with the index of the segment that it has, so what is found in
// that one is kept beside it.
func (s *scan) reindex() (bool, error) {
	r := s.r
	k := &s.l.files
	k.mu.Lock()
	seg := k.segs[s.no]
	live := false
	var end int64 // unknown, of one that was compacted meanwhile
	if seg != nil && seg.info.Generation == r.generation {
		live, end = seg.index != nil, seg.info.End
	}
	k.mu.Unlock()
	r.load.Lock()
	defer r.load.Unlock()
	if live {
		if r.moved != nil {
			return false, nil
		}
		found, err := r.survey(s.l.opts, end)
		if err != nil {
			found = &survey{index: newIndex()} // nothing is found, and nobody looks again
		}
		r.moved = found.index
		return err == nil, nil
	}
	if r.scanned {
		return false, nil
	}
	old := r.index
	if err := r.rebuild(s.l.opts, end); err != nil {
		r.scanned = true // and the old index stays
		return false, nil
	}
	r.index.merge(old)
	return true, nil
}

// frame reads the frame at a place and tells it.
func (s *scan) frame(p located, end int64) (bool, error) {
	raw, err := s.read(p.off, end)
	if err != nil {
		return false, err
	}
	h, err := parseHeader(s.l.opts.Spool, raw)
	if err == nil && (h.lane != s.lane || h.first != p.First || h.last() > p.Last) {
		err = fmt.Errorf("the frame says lane %d, records %d..%d", h.lane, h.first, h.last())
	}
	if err != nil || len(raw) != frameHeaderLen+h.body {
		return false, fmt.Errorf("%w: %w", errReindex, orShort(err))
	}
	f := Found{Frame: h.frame(), Segment: s.no, Off: p.off, Len: int64(len(raw)), Raw: raw}
	if _, f.body, f.Ref, err = parseFrame(s.l.opts.Spool, s.seed, raw); err != nil {
		if !s.l.opts.bugs.ignoreFrameSum {
			return false, fmt.Errorf("%w: %w", errReindex, err)
		}
		f.body = raw[frameHeaderLen:]
	}
	if s.next < f.First && !s.tellMissing(min(s.last, f.First-1)) {
		return false, nil
	}
	s.next = f.Last + 1
	if !s.fn(&f) {
		return false, nil
	}
	if f.Last < p.Last && s.next <= s.last {
		return s.tellMissing(min(s.last, p.Last)), nil
	}
	return true, nil
}

func orShort(err error) error {
	if err == nil {
		return io.ErrUnexpectedEOF
	}
	return err
}

// tellMissing tells of records that no frame has, up to last.
func (s *scan) tellMissing(last uint64) bool {
	f := Found{Frame: Frame{Lane: s.lane, First: s.next, Last: last}, Segment: s.no, Err: fmt.Errorf("%w: %w", ErrDamaged, errMissing)}
	s.next = last + 1
	return s.fn(&f)
}

// damaged tells of a frame that does not prove itself, with the bytes that are there.
func (s *scan) damaged(p located, why error, end int64) bool {
	if s.next < p.First && !s.tellMissing(min(s.last, p.First-1)) {
		return false
	}
	raw, _ := s.read(p.off, end)
	if h, err := parseHeader(s.l.opts.Spool, raw); err != nil || len(raw) != frameHeaderLen+h.body {
		raw = raw[:min(int64(len(raw)), max(s.until(p.off, end)-p.off, 0))]
	}
	f := Found{
		Frame: Frame{Lane: s.lane, First: p.First, Last: p.Last}, Segment: s.no, Off: p.off, Len: int64(len(raw)), Raw: raw,
		Err: fmt.Errorf("%w: segment %d, lane %d, records %d..%d: %w", ErrDamaged, s.no, s.lane, p.First, p.Last, why),
	}
	s.next = p.Last + 1
	return s.fn(&f)
}

// until is where the next frame that the index knows begins.
func (s *scan) until(off, end int64) int64 {
	at := end
	find := func(x *index) {
		for _, l := range x.lanes {
			for _, p := range l.places {
				if int64(p.off) > off {
					at = min(at, int64(p.off))
					break
				}
			}
		}
	}
	k := &s.l.files
	k.mu.Lock()
	if seg := k.segs[s.no]; seg != nil && seg.index != nil {
		find(seg.index)
		k.mu.Unlock()
		return at
	}
	k.mu.Unlock()
	s.r.load.Lock()
	defer s.r.load.Unlock()
	if s.r.index != nil {
		find(s.r.index)
	}
	return at
}

// Each calls fn for each record of a sound frame until fn returns false. The
// data is valid during the call. It does nothing for a frame with a Ref.
func (f *Found) Each(fn func(seq uint64, data []byte) bool) error {
	if f.Err != nil || f.Ref != nil {
		return nil
	}
	return f.eachRecord(f.body, fn)
}

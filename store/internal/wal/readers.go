package wal

import (
	"cmp"
	"fmt"
	"slices"
	"sync"

	"kustospool/internal/vfs"
)

// readers keeps a few segments open for reading, with their indexes.
type readers struct {
	limit int

	mu     sync.Mutex // guards all below
	open   []*segmentReader
	closed bool
}

// segmentReader is a segment that is open for reading.
type segmentReader struct {
	no, generation uint64
	size           int64
	file           vfs.File
	users          int  // guarded by readers.mu
	gone           bool // not in the list any more: the last user closes it

	load    sync.Mutex // held while the index is read, and guards what is below
	index   *index
	scanned bool // the index was made by reading all of the segment
	holes   bool // and not all of it could be read, or proved itself
	// moved is what was found by its pattern in the segment that is written, whose
	// index has it elsewhere; nil before anybody looked.
	moved *index
}

// maxCachedFrames bounds the memory of the indexes of all readers that nobody uses.
const maxCachedFrames = 1 << 19

// get gives the reader of a segment, opened by open when there is none. The
// caller gives it back with put.
func (r *readers) get(no, generation uint64, open func() (*segmentReader, error)) (*segmentReader, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, ErrClosed
	}
	for i, s := range r.open {
		if s.no == no && s.generation == generation {
			s.users++
			copy(r.open[1:], r.open[:i])
			r.open[0] = s
			return s, nil
		}
	}
	s, err := open()
	if err != nil {
		return nil, err
	}
	s.users = 1
	r.open = append([]*segmentReader{s}, r.open...)
	r.trim()
	return s, nil
}

func (r *readers) put(s *segmentReader) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.users--
	if s.gone && s.users == 0 {
		_ = s.file.Close()
	}
	r.trim()
}

// trim lets go of those that were not used for longest. The caller holds mu.
func (r *readers) trim() {
	kept, frames := 0, 0
	for i := 0; i < len(r.open); i++ {
		s := r.open[i]
		if s.users > 0 {
			kept++
			continue
		}
		for _, x := range []*index{s.index, s.moved} {
			if x != nil {
				frames += x.frames
			}
		}
		if kept++; kept > r.limit || frames > maxCachedFrames {
			r.remove(i)
			i--
		}
	}
}

func (r *readers) remove(i int) {
	s := r.open[i]
	r.open = append(r.open[:i], r.open[i+1:]...)
	s.gone = true
	if s.users == 0 {
		_ = s.file.Close()
	}
}

// drop closes a segment's reader, now or when its last user is done.
func (r *readers) drop(no uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := len(r.open) - 1; i >= 0; i-- {
		if r.open[i].no == no {
			r.remove(i)
		}
	}
}

func (r *readers) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for len(r.open) > 0 {
		r.remove(len(r.open) - 1)
	}
}

// loadIndex reads the index of a rotated segment. One that does not prove
// itself is made anew by walking through the segment.
func (r *segmentReader) loadIndex(o Options, end int64) (_ *index, walked bool, _ error) {
	r.load.Lock()
	defer r.load.Unlock()
	if r.index != nil {
		return r.index, r.scanned, nil
	}
	if info, err := r.file.Stat(); err == nil {
		r.size = info.Size // it was opened while it was written
	}
	x, _, err := readIndex(r.file, o.Spool, r.no, r.size, o.bugs)
	if err != nil {
		err = r.rebuild(o, end)
		return r.index, true, err
	}
	r.index = x
	return x, false, nil
}

// rebuild makes the index by reading the segment. The caller holds load.
func (r *segmentReader) rebuild(o Options, end int64) error {
	s, err := r.survey(o, end)
	if err != nil {
		return err
	}
	r.index, r.scanned, r.holes = s.index, true, len(s.damage) > 0
	return nil
}

// keys are those of the segment by lane, in the order of their records.
func (r *segmentReader) keys(o Options, end int64) (map[uint32][]KeyAt, error) {
	r.load.Lock()
	defer r.load.Unlock()
	s, err := r.survey(o, end)
	if err != nil {
		return nil, err
	}
	out := map[uint32][]KeyAt{}
	for _, k := range s.extras.keys {
		out[k.Lane] = append(out[k.Lane], k)
	}
	for _, keys := range out {
		slices.SortFunc(keys, func(a, b KeyAt) int { return cmp.Compare(a.Seq, b.Seq) })
	}
	return out, nil
}

// survey reads the segment from front to back. The caller holds load.
func (r *segmentReader) survey(o Options, end int64) (*survey, error) {
	p := make([]byte, headBytes)
	h, err := head{}, readFull(r.file, p, 0)
	if err == nil {
		h, err = parseHead(p, o.Spool)
	}
	s, err := scanSegment(r.file, o.Spool, h, err, scanStart{no: r.no, size: r.size, until: end, generation: r.generation, bugs: o.bugs})
	if err != nil {
		return nil, fmt.Errorf("%w: segment %d: %v", ErrDamaged, r.no, err)
	}
	return s, nil
}

func (r *segmentReader) hasHoles() bool {
	r.load.Lock()
	defer r.load.Unlock()
	return r.holes
}

// relocate sets places of a lane to where their frames were found, and reports
// whether the segment was searched for them.
func (r *segmentReader) relocate(lane uint32, places []located) bool {
	r.load.Lock()
	defer r.load.Unlock()
	if r.moved == nil || r.moved.lanes[lane] == nil {
		return r.moved != nil
	}
	l := r.moved.lanes[lane]
	for i := range places {
		p := &places[i]
		if j := l.from(p.First); j < len(l.places) && l.First+uint64(l.places[j].rel) == p.First {
			p.off = int64(l.places[j].off)
		}
	}
	return true
}

// readIndex reads the index that a segment's seal leads to, and proves it.
func readIndex(f vfs.File, spool [8]byte, no uint64, size int64, b bugs) (*index, *SegmentInfo, error) {
	page := make([]byte, headBytes)
	if size < headBytes {
		return nil, nil, errHead
	}
	if err := readFull(f, page, 0); err != nil {
		return nil, nil, err
	}
	h, err := parseHead(page, spool)
	if err != nil {
		return nil, nil, err
	}
	if h.no != no {
		return nil, nil, errHead
	}
	at, ok := parseSeal(page[sealAt:], h.generation, size)
	if !ok {
		return nil, nil, errIndex
	}
	p := make([]byte, at.len)
	if err := readFull(f, p, at.off); err != nil {
		return nil, nil, err
	}
	x, info, err := decodeIndex(p, no, h.generation, size, b.trustIndex)
	if err != nil {
		return nil, nil, err
	}
	if info.End != at.off {
		return nil, nil, errIndex
	}
	info.Index = at.off
	return x, info, nil
}

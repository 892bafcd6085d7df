package wal

import (
	"sync"

	"kustospool/internal/vfs"
)

// readers keeps a few segments open for reading, with their indexes.
type readers struct {
	limit int

	mu   sync.Mutex // guards all below
	open []*segmentReader
}

// segmentReader is a segment that is open for reading.
type segmentReader struct {
	no, generation uint64
	size           int64
	file           vfs.File
	users          int  // guarded by readers.mu
	gone           bool // not in the list any more: the last user closes it

	load  sync.Mutex // held while the index is read, and guards what is below
	index *index
	walk  bool // the index was made by reading all of the segment
}

// maxCachedFrames bounds the memory of the indexes of all readers that nobody uses.
const maxCachedFrames = 1 << 19

// get gives the reader of a segment, opened by open when there is none. The
// caller gives it back with put.
func (r *readers) get(no, generation uint64, open func() (*segmentReader, error)) (*segmentReader, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
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
		if s.index != nil {
			frames += s.index.frames
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
	for len(r.open) > 0 {
		r.remove(len(r.open) - 1)
	}
}

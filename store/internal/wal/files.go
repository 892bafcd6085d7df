package wal

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"

	"kustospool/internal/crashpoint"
	"kustospool/internal/vfs"
	"kustospool/internal/wake"
)

// segment is a segment file of the log. files.mu guards it.
type segment struct {
	info      SegmentInfo
	compacted bool
	// index is kept while the segment is written, and until its index is on
	// disk; nil afterwards.
	index *index
}

// defines reports whether a commit of the segment has defined a lane.
func (s *segment) defines(no uint32) bool {
	l := s.index.lanes[no]
	return l != nil && l.defined
}

// prepared is a segment that can be written, with its head and name durable.
type prepared struct {
	seg  *segment
	file vfs.File
}

// maxFileBytes is more than any segment has: what is behind it in a file was not
// written by the log, and is not read.
const maxFileBytes = MaxSegmentBytes + maxCommitBytes + maxIndexBytes

// unusedFile is a file that holds nothing any more.
type unusedFile struct {
	no   uint64
	ext  string
	size int64
}

// files are the files of the log: which segments there are, what may be
// written again, what goes. It has a goroutine, the maintainer, that does what no
// acknowledgement waits for.
type files struct {
	fs          vfs.FS
	dir         string
	spool       [8]byte
	maxRecycled int
	noSync      bool
	bugs        bugs
	tell        func(SegmentInfo)
	freed       func()
	commits     func() uint64 // how many there were: whether anybody is busy

	generation func() uint64
	inline     bool

	disk atomic.Int64 // sizes of all files

	// making is held while a segment is prepared, and guards next.
	making sync.Mutex
	next   *prepared
	nextSz atomic.Int64

	moving sync.Mutex // held while a segment's file is replaced or taken away
	// exchange is held for writing while a file takes the name of another and
	// until segs says so, and for reading by whoever opens what segs describes.
	// It is taken before mu and the cache's.
	exchange sync.RWMutex

	dropping sync.Mutex // held while an unused file is given back; before mu

	mu       sync.Mutex // guards all below, and all segments
	segs     map[uint64]*segment
	active   *segment
	highest  uint64 // number that was given out
	recycled []unusedFile
	drops    []unusedFile
	waiting  []prepared // rotated ones whose index is to be written
	indexed  chan struct{}
	wanted   bool // prepare the next one
	cache    readers

	poke wake.Signal
	quit chan struct{}
	wait sync.WaitGroup
}

func (k *files) path(no uint64, ext string) string { return filepath.Join(k.dir, fileName(no, ext)) }

func (k *files) syncDir() error {
	if k.noSync || k.bugs.skipDirSync {
		return nil
	}
	return k.fs.SyncDir(k.dir)
}

// resize notes a file's new size. One that is not of the log yet, or no more,
// is not counted.
func (k *files) resize(s *segment, size int64) {
	k.mu.Lock()
	if k.segs[s.info.No] == s {
		k.disk.Add(size - s.info.Size)
	}
	s.info.Size = size
	k.mu.Unlock()
}

// publish enters a commit into the active segment.
func (k *files) publish(s *segment, g *group, h *commitHeader, off, end int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, main := range [2]bool{true, false} {
		for _, b := range g.frames {
			if b.main != main {
				continue
			}
			f := b.h.frame()
			s.index.add(&f, off+b.off)
			x := s.index.lane(f.Lane)
			if !x.defined {
				x.defined, x.key, x.separator = true, b.lane.key, b.lane.separator
			}
			g.commit.Frames = append(g.commit.Frames, f)
		}
	}
	s.index.refs = append(s.index.refs, g.refs...)
	i := &s.info
	if i.FirstCommit == 0 {
		i.FirstCommit = h.number
	}
	i.LastCommit, i.Chain, i.End, i.Index = h.number, h.sum, end, 0
	i.Keys = i.Keys || len(g.keys) > 0
	i.Positions = i.Positions || len(g.pos) > 0
}

// describe copies what is known of a segment. The caller holds mu.
func (s *segment) describe() SegmentInfo {
	i := s.info
	if s.index != nil {
		i.Lanes = s.index.spans()
	}
	return i
}

// nextSize is the size of the file that is written after the active one.
func (k *files) nextSize() int64 { return k.nextSz.Load() }

// wantNext has the maintainer prepare the next segment, unless there is one.
func (k *files) wantNext() {
	if k.nextSz.Load() == 0 {
		k.mu.Lock()
		k.wanted = true
		k.mu.Unlock()
		k.wakeMaintainer()
	}
}

// takeNext gives a segment that can be written, and makes one if it must.
func (k *files) takeNext() (*prepared, error) {
	k.making.Lock()
	defer k.making.Unlock()
	if p := k.next; p != nil {
		k.next = nil
		k.nextSz.Store(0)
		return p, nil
	}
	return k.prepare()
}

// prepare makes a segment out of a recycled file, or a new one. The caller holds making.
func (k *files) prepare() (*prepared, error) {
	k.mu.Lock()
	if k.highest >= maxSegmentNo {
		// A file with a higher one would not be taken for a segment again.
		k.mu.Unlock()
		return nil, fmt.Errorf("%w for a segment", ErrExhausted)
	}
	k.highest++
	no := k.highest
	var from unusedFile
	if n := len(k.recycled); n > 0 {
		from, k.recycled = k.recycled[n-1], k.recycled[:n-1]
	}
	k.mu.Unlock()
	mode := vfs.ReadWrite
	if from.no == 0 {
		from, mode = unusedFile{no: no, ext: extRecycled}, vfs.Create
	}
	p, err := k.makeFrom(from, mode, no)
	if errors.Is(err, vfs.ErrLinked) {
		k.shorten(from, from.size)
		from = unusedFile{no: no, ext: extRecycled}
		p, err = k.makeFrom(from, vfs.Create, no)
	}
	if err == nil {
		k.disk.Add(p.seg.info.Size - from.size)
	} else {
		// Whatever became of the file, nothing in it counts.
		k.mu.Lock()
		k.drops = append(k.drops, from)
		k.mu.Unlock()
		k.wakeMaintainer()
		return nil, err
	}
	return p, nil
}

func (k *files) makeFrom(from unusedFile, mode vfs.Mode, no uint64) (_ *prepared, err error) {
	f, err := k.fs.Open(k.path(from.no, from.ext), mode)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	if err := vfs.Sole(f, k.path(from.no, from.ext)); err != nil {
		return nil, err // its bytes are somebody else's as well
	}
	h := head{no: no, generation: k.generation()}
	if k.bugs.sameGeneration {
		h.generation = 1
	}
	size := max(from.size, headBytes)
	var page [headBytes]byte
	h.put(page[:], k.spool)
	if _, err := f.WriteAt(page[:], 0); err != nil {
		return nil, err
	}
	if !k.noSync && !k.bugs.skipHeadSync {
		if err := f.Sync(); err != nil {
			return nil, err
		}
	}
	crashpoint.Reach("wal.prepared")
	if err := k.fs.Rename(k.path(from.no, from.ext), k.path(no, extLog)); err != nil {
		return nil, err
	}
	if err := k.syncDir(); err != nil {
		return nil, errors.Join(err, k.fs.Rename(k.path(no, extLog), k.path(from.no, from.ext)))
	}
	s := &segment{info: SegmentInfo{No: no, Generation: h.generation, Size: size, End: headBytes}, index: newIndex()}
	return &prepared{seg: s, file: f}, nil
}

// newGeneration is a number that no other use of a file's blocks has.
func newGeneration() uint64 {
	var p [8]byte
	for {
		_, _ = rand.Read(p[:]) // never fails
		if n := binary.BigEndian.Uint64(p[:]); n != 0 {
			return n
		}
	}
}

// activate enters the segment that is written next.
func (k *files) activate(s *segment) {
	k.mu.Lock()
	k.active = s
	k.segs[s.info.No] = s
	k.mu.Unlock()
}

// rotated hands a full segment to the maintainer, which writes its index.
func (k *files) rotated(s *segment, f vfs.File) {
	k.mu.Lock()
	k.waiting = append(k.waiting, prepared{s, f})
	k.mu.Unlock()
	k.wakeMaintainer()
}

// waitIndexed returns when no rotated segment waits for its index.
func (k *files) waitIndexed() error {
	if k.inline {
		k.indexRotated()
	}
	k.mu.Lock()
	if len(k.waiting) == 0 {
		k.mu.Unlock()
		return nil
	}
	if k.indexed == nil {
		k.indexed = make(chan struct{})
	}
	settled := k.indexed
	k.mu.Unlock()
	select {
	case <-settled:
		return nil
	case <-k.quit:
		return ErrClosed
	}
}

func (k *files) wakeMaintainer() { k.poke.Raise() }

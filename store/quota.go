package store

import (
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
)

// disk keeps account of the sizes of all files of the spool. Sizes are what
// the file system reports, not what it has allocated: a sparse tail counts.
type disk struct {
	sum atomic.Int64

	mu    sync.Mutex
	files map[string]int64 // guarded by mu
	room  chan struct{}    // guarded by mu; closed at the next reclaim
	ended bool             // guarded by mu; room stays closed
}

func newDisk() *disk { return &disk{files: map[string]int64{}, room: make(chan struct{})} }

func (d *disk) total() int64 { return d.sum.Load() }

func (d *disk) set(path string, size int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sum.Add(size - d.files[path])
	if size == 0 {
		delete(d.files, path)
		return
	}
	d.files[path] = size
}

func (d *disk) size(path string) int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.files[path]
}

// measure takes a file's size from the file system; a missing one counts 0.
func (d *disk) measure(path string) {
	var size int64
	if info, err := os.Stat(path); err == nil {
		size = info.Size()
	}
	d.set(path, size)
}

// scan takes the account of a whole directory.
func (d *disk) scan(dir string) error {
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.Type().IsRegular() {
			d.measure(path)
		}
		return nil
	})
}

// measureQuarantine takes account of files that were set aside.
func (s *Store) measureQuarantine() {
	if err := s.disk.scan(filepath.Join(s.dir, quarantined)); err != nil {
		s.log.Warn("the quarantine could not be measured", "dir", s.dir, "cause", err)
	}
}

// reclaimed wakes whoever waits for room.
func (d *disk) reclaimed() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.ended {
		close(d.room)
		d.room = make(chan struct{})
	}
}

// end wakes whoever waits for room, now and ever after.
func (d *disk) end() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.ended {
		d.ended = true
		close(d.room)
	}
}

// Room gives a channel that is closed when disk space is next given back, or
// when the store fails or closes. Take it before the append that may get
// ErrFull, or the moment may be missed.
func (s *Store) Room() <-chan struct{} {
	s.disk.mu.Lock()
	defer s.disk.mu.Unlock()
	return s.disk.room
}

// fits reports whether an append that makes files grow by so much stays
// within the quota. The manifest has the reserve to grow into, so that the
// books can be kept in a full spool. Without its ballast the volume is full,
// whatever the quota says.
func (s *Store) fits(growth int64) bool {
	if !s.ballast.held.Load() {
		s.keeper.signal()
		return false
	}
	manifest := s.disk.size(s.manifest.path)
	reserve := s.opts.reserve()
	return s.disk.total()-manifest-s.disk.size(s.ballast.path)+growth <= s.opts.MaxBytes-max(reserve, manifest+reserve/2)
}

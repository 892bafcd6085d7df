package store

import (
	"path/filepath"
	"sync"
	"sync/atomic"

	"kustospool/internal/vfs"
)

// disk keeps account of the sizes of the files of the spool but for those of
// the log, which knows its own. Sizes are what the file system reports, not
// what it has allocated: a sparse tail counts, but in the quarantine.
type disk struct {
	sum atomic.Int64

	mu    sync.Mutex
	files map[string]int64 // guarded by mu
	room  chan struct{}    // guarded by mu; closed at the next reclaim
	ended bool             // guarded by mu; room stays closed
}

func newDisk() *disk { return &disk{files: map[string]int64{}, room: make(chan struct{})} }

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

// measure takes a file's size from the file system; a missing one counts 0.
func (s *Store) measure(path string) {
	var size int64
	if info, err := s.fs.Stat(path); err == nil && info.Regular {
		size = s.counted(path, &info)
	}
	s.disk.set(path, size)
}

// counted is what a file counts. In the quarantine that is what it takes: it may be
// a hole of any size, and nobody writes to it.
func (s *Store) counted(path string, info *vfs.Info) int64 {
	if info.Allocated >= 0 && filepath.Dir(path) == s.path(quarantined) {
		return min(info.Size, info.Allocated)
	}
	return info.Size
}

// measureDir takes the account of a directory.
func (s *Store) measureDir(dir string) error {
	infos, err := s.fs.List(dir)
	for _, info := range infos {
		if info.Regular {
			path := filepath.Join(dir, info.Name)
			s.disk.set(path, s.counted(path, &info))
		}
	}
	return err
}

// diskBytes is the size of all files.
func (s *Store) diskBytes() int64 { return s.disk.sum.Load() + s.wal.DiskBytes() }

// Room gives a channel that is closed when disk space is next given back, or
// when the store fails or closes. Take it before the append that may get
// ErrFull, or the moment may be missed.
func (s *Store) Room() <-chan struct{} {
	s.disk.mu.Lock()
	defer s.disk.mu.Unlock()
	return s.disk.room
}

// fits reports whether an append that makes files grow by so much stays
// within the quota. The ledger has the reserve to grow into, so that the
// books can be kept in a full spool. Without its ballast the volume is full,
// whatever the quota says. It is called with the log's queue locked.
func (s *Store) fits(growth int64) bool {
	if !s.ballast.present.Load() {
		s.maintenance.signal()
		return false
	}
	books := s.disk.size(s.path(ledgerName))
	reserve := s.opts.reserve()
	used := s.diskBytes() - books - s.disk.size(s.ballast.path)
	if used+growth <= s.opts.MaxBytes-max(reserve, books+reserve/2) {
		return true
	}
	s.maintenance.press()
	return false
}

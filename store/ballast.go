package store

import (
	"sync/atomic"

	"kustospool/internal/vfs"
)

// ballast is room on the volume that the spool takes in advance: a file of
// written zeros. A quota cannot know that others fill the volume. When the
// books cannot be written for want of space the ballast is given up for them,
// so that delivery goes on and gives back segments, and so it is where a settled
// segment cannot be ended without a page more; until the maintenance has been able to
// take it again, nothing is appended.
type ballast struct {
	// Immutable.
	path  string
	bytes int64 // of one that is made; one that is found may have any size

	present atomic.Bool
	told    atomic.Bool // that there is no room for it
}

// loadBallast takes the ballast when the spool is opened. A volume that has no
// room for it leaves the spool open for delivery.
func (s *Store) loadBallast() {
	if info, err := s.fs.Stat(s.ballast.path); err == nil && info.Regular && info.Size > 0 {
		s.disk.set(s.ballast.path, info.Size)
		s.ballast.present.Store(true)
		return
	}
	s.takeBallast()
}

// takeBallast writes the file anew, and tells those who wait for room. What the log
// keeps for later has no right to that room.
func (s *Store) takeBallast() {
	err := s.writeBallast()
	if err != nil && s.wal != nil && s.wal.FreeUnused() > 0 {
		err = s.writeBallast()
	}
	if err != nil {
		if s.ballast.told.CompareAndSwap(false, true) { // it is tried for each second, for as long as it takes
			s.log.Warn("no room for the ballast; nothing is accepted until there is", "dir", s.dir, "cause", err)
		}
		return
	}
	if s.ballast.told.Swap(false) {
		s.log.Info("there is room for the ballast again", "dir", s.dir)
	}
	s.ballast.present.Store(true)
	s.disk.reclaimed()
}

// giveUpBallast reports whether there was one to give.
func (s *Store) giveUpBallast() bool {
	if !s.ballast.present.CompareAndSwap(true, false) {
		return false
	}
	if err := s.fs.Remove(s.ballast.path); err != nil && !vfs.Missing(err) {
		s.complain("the ballast cannot be given up", err)
		return false
	}
	s.disk.set(s.ballast.path, 0)
	s.log.Warn("the volume is full; the ballast is given up, so that delivery can make room", "dir", s.dir)
	return true
}

// makeRoom is asked by the ledger when the volume is full: first the files
// that the log keeps for later go, then the ballast.
func (s *Store) makeRoom() bool {
	return s.wal != nil && s.wal.FreeUnused() > 0 || s.giveUpBallast()
}

// writeBallast makes the file, or nothing. Its blocks must be allocated, so
// zeros are really written.
func (s *Store) writeBallast() error {
	return s.writeFile(s.ballast.path, func(f *fileWriter) error {
		zeros := make([]byte, 64<<10)
		var err error
		for left := s.ballast.bytes; left > 0 && err == nil; left -= int64(len(zeros)) {
			_, err = f.Write(zeros[:min(left, int64(len(zeros)))])
		}
		return err
	})
}

func ignoreMissing(err error) error {
	if vfs.Missing(err) {
		return nil
	}
	return err
}

// remove removes a file of the spool.
func (s *Store) remove(path string) error {
	if err := ignoreMissing(s.fs.Remove(path)); err != nil {
		return err
	}
	s.disk.set(path, 0)
	return nil
}

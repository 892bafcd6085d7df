package store

import (
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
)

// ballast is room on the volume that the spool takes in advance: a file of
// written zeros. A quota cannot know that others fill the volume. When the
// books cannot be written for want of space the ballast is given up for them,
// so that delivery goes on and gives back segments; until the keeper has been
// able to take it again, nothing is appended.
type ballast struct {
	// Immutable.
	path  string
	bytes int64
	sync  bool

	held atomic.Bool
}

// loadBallast takes the ballast when the spool is opened. A volume that has no
// room for it leaves the spool open for delivery.
func (s *Store) loadBallast() {
	if info, err := os.Stat(s.ballast.path); err == nil && info.Size() == s.ballast.bytes {
		s.ballast.held.Store(true)
		return
	}
	s.takeBallast()
}

// takeBallast writes the file anew, and tells those who wait for room.
func (s *Store) takeBallast() {
	if err := s.ballast.write(); err != nil {
		s.complain("no room for the ballast; nothing is accepted until there is", err)
		return
	}
	s.disk.measure(s.ballast.path)
	s.ballast.held.Store(true)
	s.disk.reclaimed()
}

// giveUpBallast reports whether there was one to give.
func (s *Store) giveUpBallast() bool {
	if !s.ballast.held.CompareAndSwap(true, false) {
		return false
	}
	if err := os.Remove(s.ballast.path); err != nil {
		s.complain("the ballast cannot be given up", err)
		return false
	}
	s.disk.set(s.ballast.path, 0)
	s.log.Warn("the volume is full; the ballast is given up for the books", "dir", s.dir)
	return true
}

// write makes the file, or nothing. Its blocks must be allocated, so zeros are
// really written; what is in it does not matter, so a crash may leave a part.
func (b *ballast) write() error {
	temp := b.path + tempSuffix
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	zeros := make([]byte, 64<<10)
	for left := b.bytes; left > 0 && err == nil; left -= int64(len(zeros)) {
		_, err = f.Write(zeros[:min(left, int64(len(zeros)))])
	}
	if err == nil && b.sync {
		err = f.Sync() // an ext4 volume allocates as late as here
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(temp, b.path)
	}
	if err != nil {
		return errors.Join(err, ignoreMissing(os.Remove(temp)))
	}
	if b.sync {
		return syncDir(filepath.Dir(b.path))
	}
	return nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

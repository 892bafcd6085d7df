//go:build unix

package store

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

var noSpaceErrnos = []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG}

// tryLock takes the exclusive lock of an open file, or reports that it is
// held. The lock ends with the file or the process.
func tryLock(f *os.File) (bool, error) {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

// adviseSequential says that a mapping is read from front to back.
func adviseSequential(mapping []byte) error { return unix.Madvise(mapping, unix.MADV_SEQUENTIAL) }

// adviseWanted says that a part of a mapping, from a page on, is about to be read.
func adviseWanted(part []byte) error { return unix.Madvise(part, unix.MADV_WILLNEED) }

// syncDir makes names created in, or removed from, a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	// Some file systems know no fsync of a directory and say so.
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		return nil
	}
	return err
}

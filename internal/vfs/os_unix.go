//go:build unix

package vfs

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

var noSpaceErrnos = []syscall.Errno{syscall.EDQUOT, syscall.EFBIG}

// open asks for no blocking, so that a FIFO that took a file's name since it
// was looked at cannot hold the caller; a regular file never blocks.
func open(name string, mode Mode) (*os.File, error) {
	flags := unix.O_CLOEXEC | unix.O_NOFOLLOW | unix.O_NONBLOCK
	switch mode {
	case ReadOnly:
		flags |= unix.O_RDONLY
	case Create:
		flags |= unix.O_RDWR | unix.O_CREAT | unix.O_EXCL
	default:
		flags |= unix.O_RDWR
	}
	return openFlags(name, flags)
}

// Direct are the flags for os.OpenFile that make it open the name itself, and
// not what a link leads to, without waiting for anybody.
const Direct = unix.O_NOFOLLOW | unix.O_NONBLOCK

func openLock(name string) (*os.File, error) {
	return openFlags(name, unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_RDWR|unix.O_CREAT)
}

func openFlags(name string, flags int) (*os.File, error) {
	for {
		fd, err := unix.Open(name, flags, 0o600)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENXIO) || errors.Is(err, unix.EISDIR) {
			return nil, notRegular(name) // a link, a socket or a FIFO without a reader, a directory
		}
		if err != nil {
			return nil, &fs.PathError{Op: "open", Path: name, Err: err}
		}
		// From here on it is a file like any other.
		if err := unix.SetNonblock(fd, false); err != nil {
			unix.Close(fd)
			return nil, &fs.PathError{Op: "open", Path: name, Err: err}
		}
		return os.NewFile(uintptr(fd), name), nil
	}
}

func lock(f *os.File) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return ErrLocked
	}
	return os.NewSyscallError("flock", err)
}

// syncDir takes it for good where the file system knows no fsync of a
// directory and says so.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		return nil
	}
	return err
}

func fill(info *Info, i fs.FileInfo) {
	if st, ok := i.Sys().(*syscall.Stat_t); ok {
		info.Links = int(st.Nlink)
		info.ID = [2]uint64{uint64(st.Dev), uint64(st.Ino)}
		info.Allocated = st.Blocks * 512
		info.Owner, info.Perm = int(st.Uid), i.Mode().Perm()
	}
}

// fillOpen has nothing to add: fstat said it all.
func fillOpen(*Info, *os.File) {}

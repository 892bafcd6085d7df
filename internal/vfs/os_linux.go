package vfs

import (
	"io"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// maxVectors is the kernel's limit for one call (IOV_MAX).
const maxVectors = 1024

// WriteVAt uses pwritev(2), and goes on where it wrote a part.
func (o *osFile) WriteVAt(bufs [][]byte, off int64) (n int, err error) {
	defer runtime.KeepAlive(o.f)
	fd := int(o.f.Fd())
	skip := 0 // bytes of bufs[0] that are written
	for len(bufs) > 0 {
		if len(bufs[0]) == skip {
			bufs, skip = bufs[1:], 0
			continue
		}
		if skip > 0 {
			// The rest of a buffer by itself: the caller's slice stays as it is.
			k, err := o.WriteAt(bufs[0][skip:], off+int64(n))
			n += k
			if err != nil {
				return n, err
			}
			bufs, skip = bufs[1:], 0
			continue
		}
		k, err := unix.Pwritev(fd, bufs[:min(len(bufs), maxVectors)], off+int64(n))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return n, os.NewSyscallError("pwritev", err)
		}
		if k <= 0 {
			return n, io.ErrShortWrite
		}
		n += k
		o.written.Add(int64(k))
		for k > 0 && k >= len(bufs[0]) {
			k -= len(bufs[0])
			bufs = bufs[1:]
		}
		skip = k
	}
	return n, nil
}

// NextData asks where the next written part begins; behind the last one it is
// the file's end.
func (o *osFile) NextData(off int64) int64 {
	fd := int(o.f.Fd())
	next, err := unix.Seek(fd, off, unix.SEEK_DATA)
	if err == unix.ENXIO {
		next, err = unix.Seek(fd, 0, unix.SEEK_END)
	}
	runtime.KeepAlive(o.f)
	if err != nil {
		return off
	}
	return max(next, off)
}

// Sequential doubles the kernel's read-ahead.
func (o *osFile) Sequential() {
	_ = unix.Fadvise(int(o.f.Fd()), 0, 0, unix.FADV_SEQUENTIAL)
	runtime.KeepAlive(o.f)
}

// WillNeed starts reading in the background.
func (o *osFile) WillNeed(off, n int64) {
	_ = unix.Fadvise(int(o.f.Fd()), off, n, unix.FADV_WILLNEED)
	runtime.KeepAlive(o.f)
}

package vfs

import (
	"errors"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Links is how many names lead to the file. It asks for nothing else: where a
// kernel has seen the time of a file asked for, it gives the next write a time
// of its own and journals it, which cost 40 us beside an fdatasync of 90.
func (o *osFile) Links() (int, error) {
	defer runtime.KeepAlive(o.f)
	for {
		var st unix.Statx_t
		err := unix.Statx(int(o.f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_NLINK, &st)
		switch {
		case err == nil && st.Mask&unix.STATX_NLINK != 0:
			return int(st.Nlink), nil
		case errors.Is(err, unix.EINTR):
			continue
		case err == nil, errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM): // an old kernel, or a sandbox
			return o.fstatLinks()
		}
		return 0, os.NewSyscallError("statx", err)
	}
}

//go:build unix && !linux

package vfs

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// Links is how many names lead to the file: what Stat says of it, without the
// rest and without an allocation, for who asks at each commit.
func (o *osFile) Links() (int, error) {
	var st unix.Stat_t
	err := unix.Fstat(int(o.f.Fd()), &st)
	runtime.KeepAlive(o.f)
	return int(st.Nlink), err
}

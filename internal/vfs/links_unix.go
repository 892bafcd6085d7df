//go:build unix

package vfs

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// fstatLinks is how many names lead to the file, without an allocation.
func (o *osFile) fstatLinks() (int, error) {
	var st unix.Stat_t
	err := unix.Fstat(int(o.f.Fd()), &st)
	runtime.KeepAlive(o.f)
	return int(st.Nlink), os.NewSyscallError("fstat", err)
}

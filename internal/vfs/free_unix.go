//go:build unix

package vfs

import (
	"os"

	"golang.org/x/sys/unix"
)

// FreeBytes is how many bytes this process can still write to the volume of a
// path: what is kept for the superuser is not in it.
func FreeBytes(path string) (int64, error) {
	var st unix.Statfs_t
	for {
		err := unix.Statfs(path, &st)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return 0, os.NewSyscallError("statfs", err)
		}
		return int64(st.Bavail) * int64(st.Bsize), nil
	}
}

package limit

import (
	"os"

	"golang.org/x/sys/unix"
)

// syncData makes a file's data durable, and of its metadata what reading it
// back takes: fdatasync(2).
func syncData(f *os.File) error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); err != unix.EINTR {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}

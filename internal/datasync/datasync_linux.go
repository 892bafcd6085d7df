package datasync

import (
	"os"

	"golang.org/x/sys/unix"
)

// File makes a file's data durable: fdatasync(2).
func File(f *os.File) error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); err != unix.EINTR {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}

package store

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/windows"
)

var noSpaceErrnos = []syscall.Errno{syscall.Errno(windows.ERROR_DISK_FULL), syscall.Errno(windows.ERROR_HANDLE_DISK_FULL), syscall.Errno(windows.ERROR_FILE_TOO_LARGE)}

// tryLock takes the exclusive lock of an open file, or reports that it is
// held. A byte far behind the contents is locked, so that others can read who
// the holder is. The lock ends with the file or the process.
func tryLock(f *os.File) (bool, error) {
	err := windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY,
		0, 1, 0, &windows.Overlapped{OffsetHigh: 1 << 30})
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return false, nil
	}
	return err == nil, err
}

// adviseSequential does nothing: nobody has advised otherwise.
func adviseSequential([]byte) error { return nil }

// adviseWanted does nothing: reading is slower, and no less right.
func adviseWanted([]byte) error { return nil }

// syncDir does nothing: Windows has no fsync of a directory, and NTFS
// journals names.
func syncDir(string) error { return nil }

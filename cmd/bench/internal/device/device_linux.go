package device

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Written is how many bytes were written since boot to the block device that
// holds dir.
func Written(dir string) (int64, error) {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return 0, &os.PathError{Op: "stat", Path: dir, Err: err}
	}
	number := fmt.Sprintf("%d:%d", unix.Major(uint64(st.Dev)), unix.Minor(uint64(st.Dev)))
	text, err := os.ReadFile("/sys/dev/block/" + number + "/stat")
	if err != nil {
		return 0, fmt.Errorf("device: no counter for device %s: %w", number, err)
	}
	return parseStat(string(text))
}

// Settle waits until everything that was written to the file system of dir, by
// any program, is on the device.
func Settle(dir string) (err error) {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return os.NewSyscallError("syncfs", unix.Syncfs(int(f.Fd())))
}

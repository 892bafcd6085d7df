package vfs

import (
	"math"
	"os"

	"golang.org/x/sys/windows"
)

// FreeBytes is how many bytes this process can still write to the volume of a
// path, within its user's quota.
func FreeBytes(path string) (int64, error) {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return 0, err
	}
	var free uint64
	if err := windows.GetDiskFreeSpaceEx(name, &free, nil, nil); err != nil {
		return 0, os.NewSyscallError("GetDiskFreeSpaceEx", err)
	}
	return int64(min(free, math.MaxInt64)), nil
}

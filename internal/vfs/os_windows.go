package vfs

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/windows"
)

var noSpaceErrnos = []syscall.Errno{
	syscall.Errno(windows.ERROR_DISK_FULL),
	syscall.Errno(windows.ERROR_HANDLE_DISK_FULL),
	syscall.Errno(windows.ERROR_FILE_TOO_LARGE),
}

// open shares the file for renaming and removing too, which package os does
// not: a segment is renamed while readers have it open.
func open(name string, mode Mode) (*os.File, error) {
	access, how := uint32(windows.GENERIC_READ|windows.GENERIC_WRITE), uint32(windows.OPEN_EXISTING)
	switch mode {
	case ReadOnly:
		access = windows.GENERIC_READ
	case Create:
		how = windows.CREATE_NEW
	}
	return create(name, access, how)
}

// Direct are the flags for os.OpenFile that make it open the name itself; there
// are none.
const Direct = 0

func openLock(name string) (*os.File, error) {
	return create(name, windows.GENERIC_READ|windows.GENERIC_WRITE, windows.OPEN_ALWAYS)
}

func create(name string, access, how uint32) (*os.File, error) {
	path, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	h, err := windows.CreateFile(path, access, windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE|windows.FILE_SHARE_DELETE,
		nil, how, windows.FILE_ATTRIBUTE_NORMAL|windows.FILE_FLAG_OPEN_REPARSE_POINT, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(h), name), nil
}

// lock locks a byte far behind the contents, so that others can read who the
// holder is.
func lock(f *os.File) error {
	err := windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY,
		0, 1, 0, &windows.Overlapped{OffsetHigh: 1 << 30})
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return ErrLocked
	}
	return os.NewSyscallError("LockFileEx", err)
}

// syncDir does nothing: Windows has no fsync of a directory, and NTFS
// journals names.
func syncDir(dir string) error {
	_, err := os.Stat(dir)
	return err
}

// fill has nothing to add: only an open file tells.
func fill(*Info, fs.FileInfo) {}

func fillOpen(info *Info, f *os.File) {
	var d windows.ByHandleFileInformation
	if windows.GetFileInformationByHandle(windows.Handle(f.Fd()), &d) == nil {
		info.Links = int(d.NumberOfLinks)
		info.ID = [2]uint64{uint64(d.VolumeSerialNumber) + 1, uint64(d.FileIndexHigh)<<32 | uint64(d.FileIndexLow)}
	}
}

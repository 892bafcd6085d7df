//go:build unix

package operate

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// owned refuses a directory that is another's or that others may enter.
func owned(dir string, info fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case ok && int(st.Uid) != os.Geteuid():
		return fmt.Errorf("%s belongs to user %d, and this process is user %d", dir, st.Uid, os.Geteuid())
	case info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("%s may be entered by others (mode %04o)", dir, info.Mode().Perm())
	}
	return nil
}

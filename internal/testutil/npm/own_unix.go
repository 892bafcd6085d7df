//go:build unix

package npm

import (
	"fmt"
	"os"
	"syscall"
)

// own refuses a directory that is not the user's alone: a link, another user's,
// or one that others may write to.
func own(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory", dir)
	case !ok || int(st.Uid) != os.Geteuid():
		return fmt.Errorf("%s belongs to another user", dir)
	case info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("%s may be written by others (mode %04o)", dir, info.Mode().Perm())
	}
	return nil
}

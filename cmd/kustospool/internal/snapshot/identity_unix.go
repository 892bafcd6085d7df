//go:build unix

package snapshot

import (
	"fmt"
	"io/fs"
	"syscall"
)

func identity(info fs.FileInfo) string {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return fmt.Sprintf("%d:%d", st.Dev, st.Ino)
	}
	return ""
}

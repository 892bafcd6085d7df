//go:build unix

package npm

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCacheIsOurs: a cache below the temporary directory, whose name anybody can
// make first, is refused unless it is the user's alone. The control is one that is.
func TestCacheIsOurs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"HOME", "XDG_CACHE_HOME"} {
		t.Setenv(name, file)
	}
	for name, tc := range map[string]struct {
		make func(path string) error
		says string
	}{
		"ours":              {func(path string) error { return os.Mkdir(path, 0o700) }, ""},
		"writable by all":   {func(path string) error { return chmodded(path, 0o777) }, "may be written by others"},
		"writable by group": {func(path string) error { return chmodded(path, 0o770) }, "may be written by others"},
		"a link":            {func(path string) error { return os.Symlink(t.TempDir(), path) }, "is not a directory"},
		"another user's": {func(path string) error {
			if os.Geteuid() != 0 {
				return chmodded(path, 0o777) // only root can make one; its mode is refused as well
			}
			return errors.Join(os.Mkdir(path, 0o700), os.Chown(path, 12345, -1))
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			temp := t.TempDir()
			t.Setenv("TMPDIR", temp)
			p := &Package{Name: "test", CacheEnv: "NPM_TEST_CACHE"}
			if err := tc.make(filepath.Join(temp, fmt.Sprintf("kustospool-test-%d", os.Getuid()))); err != nil {
				t.Fatal(err)
			}
			_, _, err := p.cacheDir()
			switch {
			case name == "ours":
				if err != nil {
					t.Error(err)
				}
			case err == nil || !strings.Contains(err.Error(), tc.says):
				t.Errorf("%v", err)
			}
		})
	}
}

func chmodded(path string, mode os.FileMode) error {
	if err := os.Mkdir(path, 0o700); err != nil {
		return err
	}
	return os.Chmod(path, mode)
}

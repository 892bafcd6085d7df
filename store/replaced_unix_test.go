//go:build unix

package store_test

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"kustospool/internal/vfs"
	"kustospool/store"
)

// replacements are what can stand where a file should.
var replacements = map[string]func(path string, was []byte) error{
	"fifo":      func(path string, _ []byte) error { return unix.Mkfifo(path, 0o600) },
	"directory": func(path string, _ []byte) error { return os.Mkdir(path, 0o700) },
	"full dir": func(path string, was []byte) error {
		return errors.Join(os.Mkdir(path, 0o700), os.WriteFile(filepath.Join(path, "f"), was, 0o600))
	},
	"dangling link": func(path string, _ []byte) error { return os.Symlink("/nowhere/at/all", path) },
	"link to itself": func(path string, _ []byte) error {
		return os.Symlink(filepath.Base(path), path)
	},
	"link to a copy": func(path string, was []byte) error {
		copied := filepath.Join(filepath.Dir(filepath.Dir(path)), "copy-of-"+filepath.Base(path))
		return errors.Join(os.WriteFile(copied, was, 0o600), os.Symlink(copied, path))
	},
	"device": func(path string, _ []byte) error {
		if os.Geteuid() == 0 && unix.Mknod(path, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 5))) == nil { // zeros without an end
			return nil
		}
		return os.Symlink("/dev/zero", path)
	},
	"socket": func(path string, _ []byte) error {
		// The name of a socket is short; it is made elsewhere and moved.
		dir, err := os.MkdirTemp("", "")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "s")})
		if err != nil {
			return err
		}
		l.SetUnlinkOnClose(false)
		return errors.Join(l.Close(), os.Rename(filepath.Join(dir, "s"), path))
	},
}

// TestReplacedFiles puts something that is no file in the place of each file of
// a spool: Open neither blocks nor dies, whatever is not in that file is
// delivered once, and no other file is removed. TestNoDamage is the control.
func TestReplacedFiles(t *testing.T) {
	c := makeCorpus(t)
	kinds := slices.Sorted(maps.Keys(replacements))
	n := 0
	for _, name := range slices.Sorted(maps.Keys(c.unclean)) {
		if name == "lock" {
			continue // see TestPlantedNames: nothing can be told of who has it open
		}
		for i, kind := range kinds {
			if n++; testing.Short() && n%6 != 0 {
				continue
			}
			v := variant{name: kind + " for " + name, closed: (n+i)%2 == 0, hurt: []string{name}}
			v.files = maps.Clone(c.unclean)
			if v.closed {
				v.files = maps.Clone(c.clean)
			}
			was, there := v.files[name]
			if !there {
				continue
			}
			delete(v.files, name)
			v.plant = func(dir string) {
				if err := replacements[kind](filepath.Join(dir, filepath.FromSlash(name)), was); err != nil {
					t.Fatal(err)
				}
			}
			t.Run(strings.ReplaceAll(v.name, "/", "-"), func(t *testing.T) {
				t.Parallel()
				for i, p := range c.check(t, &v) {
					if i < 3 {
						t.Errorf("%s (closed %v): %s", v.name, v.closed, p)
					}
				}
			})
		}
	}
}

// TestReplacedDirectories: where a directory of the spool is something else,
// nothing is opened, and nothing changed.
func TestReplacedDirectories(t *testing.T) {
	for _, sub := range []string{"segments", "objects", "dead", "quarantine"} {
		for kind, replace := range replacements {
			if strings.HasSuffix(kind, "dir") || kind == "directory" {
				continue
			}
			dir := t.TempDir()
			s := openStore(t, dir, nil)
			appendOne(t, s, laneOf(t, s, jsonTable("t")), "x")
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, sub)
			if err := os.Rename(path, path+".aside"); err != nil {
				t.Fatal(err)
			}
			if err := replace(path, nil); err != nil {
				t.Fatal(err)
			}
			before := traces(t, dir)
			var u *store.UntrustedError
			if _, err := store.Open(dir, nil); !errors.As(err, &u) || u.Path != path {
				t.Errorf("%s for %s: %v", kind, sub, err)
			}
			if now := traces(t, dir); !maps.Equal(now, before) {
				t.Errorf("%s for %s: the spool was changed", kind, sub)
			}
		}
	}
}

// TestNoWay: a directory that cannot be written, or is gone, is an error that
// says so; one that goes while the spool is open fails the next acknowledgement
// and ends nothing else.
func TestNoWay(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	s, err := store.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	lane := laneOf(t, s, jsonTable("t"))
	appendOne(t, s, lane, "x")
	if err := os.Rename(dir, dir+".moved"); err != nil {
		t.Fatal(err)
	}
	// The files are there, and have their names: what is acknowledged is kept.
	appendOne(t, s, lane, "y")
	if err := os.Rename(dir+".moved", dir); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := s.AppendOne(ctx, lane, []byte("z"), ""); !errors.Is(err, store.ErrFailed) {
		t.Errorf("append to a spool that was removed: %v", err)
	}
	_ = s.Close() // whatever it says, it returns

	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(file, nil); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a file for a spool: %v", err)
	}
	if _, err := store.Open(filepath.Join(file, "below"), nil); err == nil {
		t.Error("a spool below a file")
	}
	if out, err := child(t, "read only", t.TempDir()).CombinedOutput(); err != nil {
		t.Errorf("child: %v\n%s", err, out)
	}
}

func init() { childJobs["read only"] = readOnlySpool }

// readOnlySpool opens a spool whose directories may not be written to, as a
// user whom modes stop.
func readOnlySpool(dir string) {
	if os.Geteuid() == 0 {
		must(os.Chown(dir, 12345, 12345))
		must(os.Chmod(filepath.Dir(dir), 0o755))
		must(errors.Join(syscall.Setgid(12345), syscall.Setuid(12345)))
	}
	dir = filepath.Join(dir, "spool")
	must(os.Mkdir(dir, 0o700))
	s, err := store.Open(dir, nil)
	must(err)
	lane, err := s.Lane(ctx, jsonTable("t"), store.FrameLimit{})
	must(err)
	_, err = s.AppendOne(ctx, lane, []byte("x"), "")
	must(err)
	must(s.Close())
	for _, sub := range []string{"segments", ""} {
		path := filepath.Join(dir, sub)
		must(os.Chmod(path, 0o500))
		if sub == "" {
			must(os.Chmod(filepath.Join(dir, "manifest.db"), 0o400))
		}
		s, err := store.Open(dir, nil)
		if err == nil {
			// Names that are there may be enough; what is acknowledged must be kept.
			_, err = s.AppendOne(ctx, lane, []byte("y"), "")
			must(errors.Join(err, s.Close()))
		} else if !strings.Contains(err.Error(), "permission denied") {
			must(fmt.Errorf("read-only %q: %w", sub, err))
		}
		p, err := store.Look(dir, nil)
		must(err)
		if p.Stats().Acked < 1 || p.Stats().Damaged != 0 {
			must(fmt.Errorf("%+v", p.Stats()))
		}
		must(p.Close())
		must(os.Chmod(path, 0o700))
	}
	must(os.Chmod(filepath.Join(dir, "manifest.db"), 0o600))
	s, err = store.Open(dir, nil)
	must(err)
	if st := s.Stats(); st.Acked < 1 || st.Damaged != 0 || st.Suspect != 0 {
		must(fmt.Errorf("%+v", st))
	}
	must(s.Close())
	if _, err := vfs.OS.Stat(filepath.Join(dir, "quarantine", "manifest.db.1")); err == nil {
		must(errors.New("an intact ledger was set aside"))
	}
}

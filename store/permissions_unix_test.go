//go:build unix

package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kustospool/ingest"
	"kustospool/internal/vfs"
)

// usedSpool is a spool with a dead letter, closed.
func usedSpool(t *testing.T) (dir string, dead ingest.BatchID) {
	t.Helper()
	dir = t.TempDir()
	s, err := Open(dir, &Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	lane := laneFor(t, s, ingest.JSON)
	if _, err := s.AppendOne(bg, lane, []byte("dead"), ""); err != nil {
		t.Fatal(err)
	}
	dead = sealOpen(t, s)[0].Batch.ID
	if _, err := s.DeadLetter(bg, dead, ingest.Sealed, &ingest.Failure{Class: "permanent"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.AppendOne(bg, lane, []byte("waits"), ""); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, dead
}

// look of a directory: what ls and cat show, but for times of access.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var out strings.Builder
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		fmt.Fprintln(&out, path, info.Mode(), info.Size(), info.ModTime().UnixNano())
		if info.Mode().IsRegular() {
			data, err := os.ReadFile(path)
			fmt.Fprintf(&out, "%q %v\n", data, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestTrust: a spool that others may write, or that belongs to another user, is
// refused with the reason and left as it is. TrustDirectory lets pass what a
// container's volume has, and never what everybody may write. The control is
// the same spool with its own modes.
func TestTrust(t *testing.T) {
	me := os.Geteuid()
	other := func() int { return me + 1 }
	for _, tc := range []struct {
		name     string
		path     string
		mode     os.FileMode
		user     func() int
		reason   string
		optional bool
		look     bool // root may look all the same
	}{
		{name: "as it is made"},
		{name: "readable by all", mode: 0o755},
		{name: "writable by all", mode: 0o777, reason: "may be written by everybody (mode 0777); take that right away, as by chmod o-w"},
		{name: "writable by all, sticky", mode: 0o777 | os.ModeSticky, reason: "may be written by everybody (mode 0777); take that right away, as by chmod o-w"},
		{name: "a subdirectory writable by all", path: "dead", mode: 0o733, reason: "may be written by everybody (mode 0733); take that right away, as by chmod o-w"},
		{name: "the ledger writable by all", path: "manifest.db", mode: 0o666, reason: "may be written by everybody (mode 0666); take that right away, as by chmod o-w"},
		{name: "writable by the group", mode: 0o770, reason: "may be written by its group (mode 0770)", optional: true, look: true},
		{name: "a subdirectory writable by the group", path: "objects", mode: 0o770, reason: "may be written by its group (mode 0770)", optional: true, look: true},
		{name: "of another user", user: other, reason: fmt.Sprintf("belongs to user %d, and this process is user %d", me, me+1), optional: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir, _ := usedSpool(t)
			if tc.mode != 0 {
				if err := os.Chmod(filepath.Join(dir, tc.path), tc.mode); err != nil {
					t.Fatal(err)
				}
			}
			before := listing(t, dir)
			refused := func(what string, err error) {
				t.Helper()
				var u *UntrustedError
				switch {
				case tc.reason == "" && err == nil:
				case tc.reason == "" || !errors.As(err, &u) || !errors.Is(err, ErrUntrusted) || u.Reason != tc.reason || u.Path != filepath.Join(dir, tc.path) || u.Optional != tc.optional:
					t.Errorf("%s: %v", what, err)
				case u.Optional != strings.Contains(err.Error(), "TrustDirectory"):
					t.Errorf("%s: %v", what, err)
				}
			}
			look := func(user func() int, trust bool) error {
				p, err := Look(dir, &Options{user: user, TrustDirectory: trust})
				if err == nil {
					err = p.Close()
				}
				return err
			}
			user := tc.user
			if user == nil {
				user = os.Geteuid
			}
			// Root is somebody else where the test is run by root.
			if me != 0 || tc.user != nil {
				refused("Look", look(user, false))
			}
			if tc.look {
				if err := look(func() int { return 0 }, false); err != nil {
					t.Errorf("Look of root: %v", err)
				}
			}
			if err := look(user, true); (err != nil) != (tc.reason != "" && !tc.optional) {
				t.Errorf("Look with TrustDirectory: %v", err)
			}
			s, err := Open(dir, &Options{NoSync: true, user: tc.user})
			refused("Open", err)
			if err == nil {
				err = s.Close()
			} else if now := listing(t, dir); now != before {
				t.Error("a refused spool was changed")
			}
			if tc.reason == "" && err != nil {
				t.Fatal(err)
			}
			s, err = Open(dir, &Options{NoSync: true, user: tc.user, TrustDirectory: true})
			if (err != nil) != (tc.reason != "" && !tc.optional) {
				t.Fatalf("Open with TrustDirectory: %v", err)
			}
			if err == nil {
				err = s.Close()
			}
			if err != nil && tc.optional {
				t.Error(err)
			}
		})
	}
}

// TestRootLooks: root looks at the spool of another user, and does not open it.
func TestRootLooks(t *testing.T) {
	dir, _ := usedSpool(t)
	root := func() int { return 0 }
	if os.Geteuid() == 0 {
		// A spool of root's own is another's for a user that is not root.
		for _, path := range []string{dir, filepath.Join(dir, "manifest.db")} {
			if err := os.Chown(path, 12345, -1); err != nil {
				t.Fatal(err)
			}
		}
	}
	before := listing(t, dir)
	p, err := Look(dir, &Options{user: root})
	if err != nil {
		t.Fatal(err)
	}
	if st := p.Stats(); st.Acked != 2 {
		t.Errorf("%+v", st)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if _, err := Open(dir, &Options{user: root}); !errors.Is(err, ErrUntrusted) {
		t.Errorf("Open: %v", err)
	}
	if listing(t, dir) != before {
		t.Error("the spool was changed")
	}
}

// TestNewSpoolIsOurs: a directory that everybody may write to becomes no spool.
func TestNewSpoolIsOurs(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, nil); !errors.Is(err, ErrUntrusted) {
		t.Errorf("%v", err)
	}
	s, err := Open(filepath.Join(dir, "below"), &Options{NoSync: true})
	if err != nil {
		t.Fatalf("a directory of our own in it: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestPlantedNames: what somebody put in the place of a file that is written,
// read or deleted by its name is refused at once, and what it leads to stays as
// it is. Each open that blocks would end the test by its timeout.
func TestPlantedNames(t *testing.T) {
	const secret = "not for a spool"
	for name, plant := range map[string]func(path, victim string) error{
		"link":      func(path, victim string) error { return os.Symlink(victim, path) },
		"hard link": func(path, victim string) error { return os.Link(victim, path) },
		"fifo":      func(path, victim string) error { return unix.Mkfifo(path, 0o600) },
		"directory": func(path, victim string) error { return os.Mkdir(path, 0o700) },
	} {
		for _, what := range []string{"lock", "dead letter", "payload", "ballast.tmp", "manifest.db.tmp", "dead/ itself"} {
			if what == "dead/ itself" && name != "link" {
				continue
			}
			t.Run(name+" for "+what, func(t *testing.T) {
				dir, dead := usedSpool(t)
				outside := t.TempDir()
				victim := filepath.Join(outside, "victim.tmp")
				if err := os.WriteFile(victim, []byte(secret), 0o600); err != nil {
					t.Fatal(err)
				}
				path := map[string]string{"lock": "lock", "dead letter": "dead/" + dead.String() + ".json", "payload": "dead/" + dead.String() + ".data.json",
					"ballast.tmp": "ballast.tmp", "manifest.db.tmp": "manifest.db.tmp", "dead/ itself": "dead"}[what]
				path = filepath.Join(dir, path)
				switch what {
				case "dead/ itself":
					victim = outside // sweeping it would remove victim.tmp
					fallthrough
				default:
					if err := os.RemoveAll(path); err != nil {
						t.Fatal(err)
					}
				}
				if err := plant(path, victim); err != nil {
					t.Fatal(err)
				}
				done := make(chan struct{})
				go func() {
					defer close(done)
					meet(t, dir, what, dead)
				}()
				select {
				case <-done:
				case <-time.After(20 * time.Second): // a bound on a hang, which nothing else ends
					t.Fatal("it blocks")
				}
				if data, err := os.ReadFile(filepath.Join(outside, "victim.tmp")); err != nil || string(data) != secret {
					t.Errorf("the file outside: %q, %v", data, err)
				}
			})
		}
	}
}

// meet opens the spool and uses what was planted.
func meet(t *testing.T, dir, what string, dead ingest.BatchID) {
	s, err := Open(dir, &Options{NoSync: true})
	switch what {
	case "lock":
		if !errors.Is(err, vfs.ErrNotRegular) && !errors.Is(err, vfs.ErrLinked) {
			t.Errorf("Open: %v", err)
		}
		return
	case "dead/ itself":
		if !errors.Is(err, ErrUntrusted) {
			t.Errorf("Open: %v", err)
		}
		return
	}
	if err != nil {
		t.Errorf("Open: %v", err)
		return
	}
	defer s.Close()
	told := false
	for _, err := range s.DeadLetters() {
		told = told || err != nil
	}
	if told != (what == "dead letter") {
		t.Errorf("the walk of dead letters has an error: %v", told)
	}
	if what == "dead letter" || what == "payload" {
		if r, err := s.OpenDeadLetter(dead); err == nil {
			r.Close()
			t.Error("the dead letter was opened")
		}
	}
	if st := s.Stats(); st.Open != 1 || st.DeadLettered != 1 || st.Damaged != 0 {
		t.Errorf("%+v", st)
	}
}

// TestNotOurNames: Open deletes what it has left unfinished, and nothing whose
// name is somebody else's; nor does the removal of a dead letter take a file
// that its document only names.
func TestNotOurNames(t *testing.T) {
	dir, dead := usedSpool(t)
	in := func(name string) string { return filepath.Join(dir, filepath.FromSlash(name)) }
	id := dead.String()
	ours := []string{"ballast.tmp", "manifest.db.tmp", "dead/" + id + ".json.tmp", "dead/" + id + ".data.json.gz.tmp", "quarantine/manifest.db.1.tmp",
		"quarantine/00000001.log-4096.1.tmp", "quarantine/" + id + "-7.frame.tmp", "objects/00112233445566778899aabbccddeeff.obj.tmp"}
	theirs := []string{"dead/report.tmp", "dead/notes.json.tmp", "quarantine/mine.tmp", "objects/thesis.obj", "objects/thesis.tmp", "segments/notes.drop",
		"holiday.tmp"}
	for _, name := range append(ours, theirs...) {
		if err := os.WriteFile(in(name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	live := func(s *Store) ingest.BatchID {
		lane := laneFor(t, s, ingest.JSON)
		if _, err := s.AppendOne(bg, lane, []byte("x"), ""); err != nil {
			t.Fatal(err)
		}
		return sealOpen(t, s)[0].Batch.ID
	}
	s, err := Open(dir, &Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	batch := live(s).String()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	ours = append(ours, "dead/"+batch+".json", "dead/"+batch+".data.json")
	theirs = append(theirs, "dead/"+batch+".note", "dead/"+batch)
	for _, name := range append(ours[len(ours)-2:], theirs[len(theirs)-2:]...) {
		if err := os.WriteFile(in(name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// A document that names the payload of another.
	doc, err := os.ReadFile(in("dead/" + id + ".json"))
	if err != nil {
		t.Fatal(err)
	}
	planted := ingest.BatchID{}
	copy(planted[:], "planted")
	text := strings.Replace(string(doc), id, planted.String(), 1)
	if err := os.WriteFile(in("dead/"+planted.String()+".json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(dir, &Options{NoSync: true}); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.RemoveDeadLetter(planted); err == nil {
		t.Error("the dead letter that was planted was removed")
	}
	for _, name := range ours {
		if _, err := os.Lstat(in(name)); !os.IsNotExist(err) {
			t.Errorf("%s is there: %v", name, err)
		}
	}
	for _, name := range theirs {
		_, err := os.Lstat(in(name))
		if _, aside := os.Lstat(in("quarantine/" + filepath.Base(name) + ".1")); err != nil && aside != nil {
			t.Errorf("%s is gone", name)
		}
	}
	if r, err := s.OpenDeadLetter(dead); err != nil {
		t.Errorf("the dead letter: %v", err)
	} else {
		r.Close()
	}
}

package snapshot

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"testing/iotest"
	"time"
)

// TestRead changes a file between the look and the end of reading.
func TestRead(t *testing.T) {
	write := func(text string) func(string) error {
		return func(path string) error { return os.WriteFile(path, []byte(text), 0o600) }
	}
	add := func(text string) func(string) error {
		return func(path string) error {
			f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = io.WriteString(f, text)
			return errors.Join(err, f.Close())
		}
	}
	touch := func(path string) error {
		return os.Chtimes(path, time.Time{}, time.Now().Add(time.Hour))
	}
	replace := func(path string) error {
		return errors.Join(write("a\nb\n")(path+".new"), os.Rename(path+".new", path))
	}
	for _, tc := range []struct {
		name   string
		kind   Kind
		text   string
		opened bool // the change comes when the file is open
		change func(path string) error
		want   string
		err    string // of opening or reading
		said   string // by Changed, of the file
	}{
		{"nothing", Lines, "a\nb\n", true, nil, "a\nb\n", "", ""},
		{"empty", Lines, "", true, nil, "", "", ""},
		{"grew", Lines, "a\nb\n", true, add("c\n"), "a\nb\n", "", "grew by 2 bytes while it was read"},
		{"grew before it was opened", Lines, "a\nb\n", false, add("c\n"), "a\nb\n", "", "grew by 2 bytes while it was read"},
		{"grew out of nothing", Lines, "", true, add("c\n"), "", "", "grew by 2 bytes while it was read"},
		{"the last line grew", Lines, "a\nb", true, add("c\n"), "a\nb", "grew by 2 bytes while it was read", "grew by 2 bytes while it was read"},
		{"an object grew", Object, "a\nb\n", true, add("c\n"), "a\nb\n", "grew by 2 bytes while it was read", "grew by 2 bytes while it was read"},
		{"something packed grew", Packed, "a\nb", true, add("c\n"), "a\nb", "", "grew by 2 bytes while it was read"},
		{"shrank", Lines, "a\nb\n", true, write("a\n"), "a\n", "shrank by 2 bytes while it was read", "shrank by 2 bytes while it was read"},
		{"shrank before it was opened", Lines, "a\nb\n", false, write("a\n"), "", "shrank by 2 bytes while it was read", ""},
		{"touched", Lines, "a\nb", true, touch, "a\nb", "", "was written to while it was read"},
		{"an object was touched", Object, "a\nb", true, touch, "a\nb", "was written to while it was read", "was written to while it was read"},
		{"replaced before it was opened", Lines, "a\nb\n", false, replace, "", "was replaced by another file after it was checked", ""},
		{"replaced", Lines, "a\nb\n", true, replace, "a\nb\n", "", ""}, // the one that was checked is read
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.name == "replaced" && runtime.GOOS == "windows" {
				t.Skip("Windows replaces no file that is open")
			}
			path := filepath.Join(t.TempDir(), "f")
			if err := write(tc.text)(path); err != nil {
				t.Fatal(err)
			}
			snap, err := Take(path)
			if err != nil || snap.Size() != int64(len(tc.text)) {
				t.Fatal(err)
			}
			change := func() {
				if tc.change != nil {
					if err := tc.change(path); err != nil {
						t.Fatal(err)
					}
				}
			}
			if !tc.opened {
				change()
			}
			f, err := snap.Open(tc.kind)
			var got []byte
			said := ""
			if err == nil {
				defer f.Close()
				if tc.opened {
					change()
				}
				got, err = io.ReadAll(iotest.OneByteReader(f))
				if c := f.Changed(); c != nil {
					said = c.Error()
				}
			}
			text := ""
			if err != nil {
				text = err.Error()
				var change *ChangeError
				if !errors.As(err, &change) {
					t.Errorf("%v is no ChangeError", err)
				}
			}
			if string(got) != tc.want || text != tc.err || said != tc.said {
				t.Errorf("read %q, error %q, said %q", got, text, said)
			}
			if f != nil {
				if n, again := f.Read(make([]byte, 1)); n != 0 || again == nil {
					t.Errorf("behind the end: %d, %v", n, again)
				}
			}
		})
	}
}

func TestChanged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("ab"), 0o600); err != nil {
		t.Fatal(err)
	}
	snap, err := Take(path)
	if err != nil || snap.Changed() != nil {
		t.Fatal(err, snap.Changed())
	}
	if err := os.WriteFile(path, []byte("abc"), 0o600); err != nil {
		t.Fatal(err)
	}
	var change *ChangeError
	if err := snap.Changed(); !errors.As(err, &change) {
		t.Errorf("%v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := snap.Changed(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if _, err := snap.Open(Lines); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if _, err := Take(t.TempDir()); !errors.Is(err, ErrNotRegular) {
		t.Errorf("%v", err)
	}
}

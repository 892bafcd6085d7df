//go:build linux || darwin

package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// sendMeanwhile sends a pipe and behind it a file, and makes a change after
// both were checked and before the file is read: a pipe is opened when the
// check is over, and the file's turn comes when the pipe has ended.
func sendMeanwhile(t *testing.T, file string, change func(), args ...string) result {
	t.Helper()
	fifo := filepath.Join(t.TempDir(), "first.json")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	got := make(chan result, 1)
	go func() {
		got <- kustospool(t, "", append([]string{"send", "--to", "dir:" + t.TempDir(), "--database", "D", "--table", "T",
			"--spool", filepath.Join(t.TempDir(), "s"), fifo, file}, args...)...)
	}()
	type opened struct {
		w   *os.File
		err error
	}
	open := make(chan opened, 1)
	go func() {
		w, err := os.OpenFile(fifo, os.O_WRONLY, 0)
		open <- opened{w, err}
	}()
	var w *os.File
	select {
	case o := <-open:
		if o.err != nil {
			t.Fatal(o.err)
		}
		w = o.w
	case r := <-got:
		if r, err := os.OpenFile(fifo, os.O_RDONLY|syscall.O_NONBLOCK, 0); err == nil { // so that the other end opens
			defer r.Close()
			(<-open).w.Close()
		}
		t.Fatalf("ended before the pipe was read: %+v", r)
	}
	change()
	var err error
	_, err = io.WriteString(w, "{\"f\":1}\n{\"f\":2}\n")
	if cerr := w.Close(); err != nil || cerr != nil {
		t.Fatal(err, cerr)
	}
	return <-got
}

// TestSend_InputChanges changes a file between its check and the end of
// reading it: the code and the report say so, and how much of what is stored.
func TestSend_InputChanges(t *testing.T) {
	appendTo := func(path, text string) error {
		f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		if err == nil {
			_, err = io.WriteString(f, text)
			if cerr := f.Close(); err == nil {
				err = cerr
			}
		}
		return err
	}
	const two = "{\"n\":1}\n{\"n\":2}\n"
	for _, tc := range []struct {
		name   string
		file   string
		text   string
		change func(path string) error
		code   int
		acked  int64
		want   inputReport // without its name
		says   string      // on standard error
	}{
		{"nothing", "b.json", two, func(string) error { return nil }, exitOK, 4, inputReport{Records: 2, Whole: true}, ""},
		{"grew", "b.json", two, func(p string) error { return appendTo(p, "{\"n\":3}\n") }, exitChanged, 4,
			inputReport{Records: 2, Whole: true, Change: "grew by 8 bytes while it was read"}, "b.json: 2 records stored, all that it held when it was checked; the input grew by 8 bytes"},
		{"its last line grew", "b.csv", "1\n7", func(p string) error { return appendTo(p, "8\n") }, exitChanged, 3,
			inputReport{Records: 1, Change: "grew by 2 bytes while it was read"}, "b.csv: 1 record stored; the input grew by 2 bytes"},
		{"shrank", "b.json", two, func(p string) error { return os.Truncate(p, 8) }, exitChanged, 2,
			inputReport{Change: "shrank by 8 bytes while it was read"}, "b.json: 0 records stored; the input shrank by 8 bytes"},
		{"replaced", "b.json", two, func(p string) error {
			if err := os.WriteFile(p+".new", []byte(two), 0o600); err != nil {
				return err
			}
			return os.Rename(p+".new", p)
		}, exitChanged, 2, inputReport{Change: "was replaced by another file after it was checked"}, "b.json: was replaced by another file"},
		{"removed", "b.json", two, os.Remove, exitPart, 2, inputReport{}, "b.json: no such file"},
		{"an object grew", "b.parquet", "PAR1", func(p string) error { return appendTo(p, "x") }, exitChanged, 2,
			inputReport{Change: "grew by 1 byte while it was read"}, "b.parquet: 0 records stored; the input grew"},
		{"an archive was replaced", "b.json.zip", zipOf(t, "{\"n\":1}\n"), func(p string) error { return os.WriteFile(p, []byte(zipOf(t, "{\"n\":12}\n")), 0o600) }, exitChanged, 2,
			inputReport{}, "b.json.zip: "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := write(t, tc.file, tc.text)
			got := sendMeanwhile(t, path, func() {
				if err := tc.change(path); err != nil {
					t.Error(err)
				}
			}, "--json")
			r := decode[report](t, got.out)
			if got.code != tc.code || r.Acked != tc.acked || r.Read != tc.acked || r.Ingested+r.Spooled != tc.acked || r.Inputs[1].Whole != (r.Spooled == 0) || len(r.Inputs) != 2 {
				t.Fatalf("code %d, want %d: %+v\n%s", got.code, tc.code, r, got.stderr)
			}
			if first := r.Inputs[0]; first.Records != 2 || !first.Whole || first.Change != "" || first.Why != "" {
				t.Errorf("the first input: %+v", first)
			}
			in := r.Inputs[1]
			if in.Name != path || (in.Why == "") != in.Whole {
				t.Errorf("the second input: %+v", in)
			}
			if tc.file == "b.json.zip" && strings.HasPrefix(in.Change, "grew by 1 byte") { // or it was written to, by its time
				in.Change = ""
			}
			in.Name, in.Why = "", ""
			if in != tc.want {
				t.Errorf("the second input: %+v, want %+v", in, tc.want)
			}
			if !strings.Contains(got.stderr, tc.says) || tc.says == "" && got.stderr != "" {
				t.Errorf("says %q", got.stderr)
			}
		})
	}
}

// The text of the report has the same.
func TestSend_InputChangesInText(t *testing.T) {
	path := write(t, "b.json", "{\"n\":1}\n")
	got := sendMeanwhile(t, path, func() {
		if err := os.Truncate(path, 0); err != nil {
			t.Error(err)
		}
	})
	if got.code != exitChanged || !strings.Contains(got.out, path+": 0 records stored; the input shrank by 8 bytes while it was read\nall of 1 other input\n") ||
		!strings.Contains(got.stderr, "A part of the input is stored") {
		t.Errorf("%+v", got)
	}
}

package main

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unicode"
)

// hostileName clears a screen, turns what follows around, and begins a line
// that looks like the program's own.
const hostileName = "a\x1b[2J\x1b]0;t\x07\u202e\u009b31m\nkustospool: all is well\u2028"

// hiddenIn is the first character of a text that nobody sees, of those that
// are no line's end.
func hiddenIn(text string) string {
	for _, r := range text {
		if r != '\n' && r != '\t' && !unicode.IsPrint(r) {
			return string(r)
		}
	}
	return ""
}

// Whatever the names of files and archives, of members of them and of a spool
// are, and whatever stands in a lock file, what the command prints can be seen,
// and is on lines of its own.
func TestForeignTextIsVisible(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no file has such a name there")
	}
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	bad := write(hostileName+".jsonl", "{\"a\":1}\n{\"a\x1b[2J\n")
	var members bytes.Buffer
	z := zip.NewWriter(&members)
	for _, name := range []string{hostileName + ".jsonl", hostileName + ".exe"} {
		w, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = w.Write([]byte("{\"a\":1}\n{\"a\x1b[2J\n"))
	}
	_ = z.Close()
	archive := write(hostileName+".zip", members.String())
	notArchive := write(hostileName+"2.zip", "no archive")
	locked := filepath.Join(dir, "locked"+hostileName)
	out := filepath.Join(dir, "out")
	for _, args := range [][]string{
		{"send", bad}, {"send", "--json", bad}, {"send", "--verbose", bad}, {"send", "--on-bad-record", "skip", bad}, {"send", "--on-bad-record", "stop", bad},
		{"send", archive}, {"send", "--verbose", "--json", archive}, {"send", notArchive}, {"send", filepath.Join(dir, "absent"+hostileName)}, {"send", "--spool", locked, bad},
		{"status", "--spool", locked}, {"status", "--spool", locked, "--json"}, {"status", "--spool", filepath.Join(dir, "none"+hostileName)},
		{"send", "--format", hostileName, bad}, {"send", "--unknown" + hostileName}, {hostileName}, {"drain", "--to", "dir:" + hostileName, "--spool", locked}, {"drain", "--to", hostileName},
	} {
		if args[0] == "send" {
			args = append([]string{"send", "--to", "dir:" + out, "--database", "D", "--table", "T"}, args[1:]...)
			if !strings.Contains(strings.Join(args, " "), "--spool") {
				args = append(args, "--spool", t.TempDir())
			}
		}
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), args, strings.NewReader(""), &stdout, &stderr)
		for name, text := range map[string]string{"output": stdout.String(), "error": stderr.String()} {
			if r := hiddenIn(text); r != "" {
				t.Errorf("%q: code %d: standard %s holds %q: %.300q", args, code, name, r, text)
			}
			for line := range strings.Lines(text) {
				if strings.HasPrefix(line, "kustospool: all is well") {
					t.Errorf("%q: a name is a line of its own on standard %s: %q", args, name, text)
				}
			}
			if strings.HasPrefix(text, "{") && name == "output" && !json.Valid([]byte(text)) {
				t.Errorf("%q: no JSON: %q", args, text)
			}
		}
		if stdout.Len()+stderr.Len() == 0 {
			t.Errorf("%q: says nothing, so nothing was tested", args)
		}
	}
}

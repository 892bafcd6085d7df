package device

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestParseStat(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		want       int64
		fails      bool
	}{
		{name: "of today", text: "  104 2 8344 31   517 88 20512 190 0 150 230 12 0 4096 6 40 9\n", want: 20512 * 512},
		{name: "of Linux 4", text: "104 2 8344 31 517 88 1 190 0 150 230", want: 512},
		{name: "nothing written", text: "1 2 3 4 5 6 0 8 9 10 11", want: 0},
		{name: "a partition's of Linux 2.6.0", text: "1 2 3 4", fails: true},
		{name: "empty", fails: true},
		{name: "no count", text: "1 2 3 4 5 6 -7 8 9 10 11", fails: true},
		{name: "beyond any disk", text: "1 2 3 4 5 6 18446744073709551615 8 9 10 11", fails: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := parseStat(tc.text)
			if got != tc.want || (err != nil) != tc.fails {
				t.Errorf("%d, %v; want %d, error %v", got, err, tc.want, tc.fails)
			}
		})
	}
}

// TestWritten: what a file gets is counted, no less.
func TestWritten(t *testing.T) {
	dir := t.TempDir()
	if err := Settle(dir); err != nil {
		t.Fatal(err)
	}
	before, err := Written(dir)
	if err != nil {
		t.Skipf("not run: %v", err)
	}
	const size = 1 << 20
	if err := os.WriteFile(filepath.Join(dir, "f"), bytes.Repeat([]byte("x"), size), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Settle(dir); err != nil {
		t.Fatal(err)
	}
	after, err := Written(dir)
	if err != nil || after-before < size {
		t.Errorf("%d bytes counted, %v; want at least %d", after-before, err, size)
	}
	if _, err := Written(filepath.Join(dir, "missing")); err == nil {
		t.Error("a directory that is not there has a counter")
	}
}

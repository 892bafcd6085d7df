package datasync_test

import (
	"os"
	"path/filepath"
	"testing"

	"kustospool/internal/datasync"
)

// TestFile: what can be seen of it without a power cut is that it works on a
// file, and that a file which cannot be synced any more is an error.
func TestFile(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("data"); err != nil {
		t.Fatal(err)
	}
	if err := datasync.File(f); err != nil {
		t.Errorf("a file that was written: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := datasync.File(f); err == nil {
		t.Error("a closed file was synced")
	}
}

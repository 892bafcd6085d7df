package main

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kustospool/ingest"
	"kustospool/store"
)

// filesOf are names, sizes, times and bytes of the files of a directory.
func filesOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		out[path] = fmt.Sprint(info.Size(), info.ModTime().UnixNano())
		if info.Mode().IsRegular() {
			data, err := os.ReadFile(path)
			out[path] += string(data)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestStatusChangesNothing: whatever the spool is like, and however status ends.
func TestStatusChangesNothing(t *testing.T) {
	dir := t.TempDir()
	st, err := store.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	lane, err := st.Lane(t.Context(), &ingest.Properties{Database: "D", Table: "T", Format: ingest.JSON}, store.FrameLimit{})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := st.AppendOne(t.Context(), lane, []byte("{}"), ""); err != nil {
			t.Fatal(err)
		}
	}
	inUse := kustospool(t, "", "status", "--spool", dir)
	if inUse.code != exitFailed || !strings.Contains(inUse.stderr, fmt.Sprint("pid ", os.Getpid())) {
		t.Errorf("status of a spool in use: %+v", inUse)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	look := func(what string, code int, text string) {
		t.Helper()
		before := filesOf(t, dir)
		got := kustospool(t, "", "status", "--spool", dir)
		if got.code != code || !strings.Contains(got.out+got.stderr, text) {
			t.Errorf("status of a spool that is %s: %+v", what, got)
		}
		if !maps.Equal(before, filesOf(t, dir)) {
			t.Errorf("status of a spool that is %s changed it", what)
		}
	}
	look("sound", exitOK, "in no batch yet")
	stranger := filepath.Join(dir, "segments", "99999999.log")
	if err := os.WriteFile(stranger, []byte("?"), 0o600); err != nil {
		t.Fatal(err)
	}
	look("damaged in the log", exitOK, "99999999.log")
	manifest := filepath.Join(dir, "manifest.db")
	if err := os.Truncate(manifest, 5000); err != nil {
		t.Fatal(err)
	}
	look("damaged in the ledger", exitFailed, "3 records in them would be sent again")
	if err := os.Remove(manifest); err != nil {
		t.Fatal(err)
	}
	look("without a ledger", exitFailed, "3 records in them would be sent again")
}

package store

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"kustospool/internal/vfs"
)

// plants are defects of all parts, each of which the campaign must notice
// within so many histories.
var plants = []planted{
	// Of the disk, or of whoever forgot to ask it.
	{name: "segments are not synced", files: cheat(sloppy{file: within(segmentsName)})},
	{name: "one sync of a segment in four is left out", files: cheat(sloppy{file: within(segmentsName), every: 4})},
	{name: "names of segments are not synced", files: cheat(sloppy{dir: within(segmentsName)})},
	{name: "failed syncs of segments are passed over", files: cheat(sloppy{deaf: within(segmentsName)})},
	{name: "failed writes of segments are passed over", files: cheat(sloppy{mute: within(segmentsName)})},
	{name: "objects are not synced", files: cheat(sloppy{file: within(objectsName)})},
	{name: "names of objects are not synced", files: cheat(sloppy{dir: within(objectsName)})},
	{name: "dead letters are not synced", files: cheat(sloppy{file: within(deadName)})},
	{name: "names of dead letters are not synced", files: cheat(sloppy{dir: within(deadName)})},
	// Of the log.
	{name: "acknowledged before the sync", log: []string{"ack before sync"}},
	{name: "torn commits are taken", log: []string{"accept torn"}},
	{name: "checksums are not compared", log: []string{"ignore sum", "ignore frame sum", "accept torn"}},
	{name: "an index is trusted blindly", log: []string{"trust index"}},
	{name: "a stale commit of a recycled file is taken", log: []string{"same generation", "ignore generation", "ignore number", "ignore chain"}},
	{name: "the last commit is cut off", log: []string{"cut too far"}},
	{name: "not written again after a kill", log: []string{"no rewrite"}},
	{name: "settled segments stay", log: []string{"keep settled"}},
	{name: "keys under way are forgotten", log: []string{"forget duplicate"}},
	// Of the ledger.
	{name: "a transaction is durable with the next one", ledger: true},
	// Of the door.
	{name: "recycled before the keys are kept", door: bugs{skipKeys: true}},
	{name: "recycled before the positions are kept", door: bugs{skipPositions: true}},
	{name: "recycled without a tombstone", door: bugs{skipTombstone: true}},
	{name: "an object goes with its first record", door: bugs{dropObjects: true}},
	{name: "dead before its letter is written", door: bugs{deadLate: true}},
	{name: "a letter of a batch that lives stays", door: bugs{keepUndead: true}},
	{name: "the mark of a retry goes before the letter", door: bugs{markEarly: true}},
}

// TestHistoriesNotice is the control of TestHistories: each planted defect is
// noticed, and by so many histories at most.
func TestHistoriesNotice(t *testing.T) {
	if testing.Short() {
		t.Skip("hunts planted defects by the thousand; runs without -short")
	}
	const limit = 1000
	var table strings.Builder
	for _, p := range plants {
		t.Run(p.name, func(t *testing.T) {
			run := &campaign{first: 1, count: limit, fault: &p}
			err := run.run(t)
			if err == nil {
				t.Fatalf("%d histories did not notice it", limit)
			}
			what, _, _ := strings.Cut(err.Error(), "\n")
			fmt.Fprintf(&table, "\n| %s | %d | %.110s |", p.name, run.done.Load(), what)
		})
	}
	t.Logf("planted defects, how many histories were begun, and what the one that noticed it said:\n| defect | histories | what was wrong |\n|---|---|---|%s", table.String())
}

// within picks the files in a directory, and the directory.
func within(dir string) func(path string) bool {
	return func(path string) bool { return filepath.Base(path) == dir || filepath.Base(filepath.Dir(path)) == dir }
}

// sloppy says what a file system does not do, and says that it did.
type sloppy struct {
	file  func(string) bool // syncs of these files,
	every int               // or one in so many of them
	dir   func(string) bool // syncs of these directories
	deaf  func(string) bool // failures of syncs of these files
	mute  func(string) bool // and of writes
}

func cheat(s sloppy) func(vfs.FS) vfs.FS {
	return func(f vfs.FS) vfs.FS { return &cheating{FS: f, sloppy: s, syncs: new(int)} }
}

type cheating struct {
	vfs.FS
	sloppy
	syncs *int
}

func (c *cheating) SyncDir(dir string) error {
	if c.dir != nil && c.dir(dir) {
		return nil
	}
	return c.FS.SyncDir(dir)
}

func (c *cheating) Open(name string, mode vfs.Mode) (vfs.File, error) {
	f, err := c.FS.Open(name, mode)
	if err != nil {
		return nil, err
	}
	return &cheatingFile{File: f, fs: c, name: name}, nil
}

type cheatingFile struct {
	vfs.File
	fs   *cheating
	name string
}

func (f *cheatingFile) Sync() error {
	if f.fs.file != nil && f.fs.file(f.name) {
		*f.fs.syncs++
		if f.fs.every == 0 || *f.fs.syncs%f.fs.every == 0 {
			return nil
		}
	}
	err := f.File.Sync()
	if f.fs.deaf != nil && f.fs.deaf(f.name) {
		err = nil
	}
	return err
}

func (f *cheatingFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.File.WriteAt(p, off)
	if f.fs.mute != nil && f.fs.mute(f.name) {
		n, err = len(p), nil
	}
	return n, err
}

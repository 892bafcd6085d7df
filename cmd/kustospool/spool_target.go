package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"kustospool/engine"
	"kustospool/internal/vfs"
)

// A spool knows its target: opening one begins to deliver what is in it, and
// records of one cluster must not go to another by a slip of --to. The target
// stands in a file of the spool's directory, which is written while the spool is
// open and before anything is stored in it.
const (
	targetFile     = "target.json"
	maxTargetBytes = 16 << 10
)

// spoolTarget is what the file holds.
type spoolTarget struct {
	Target string    `json:"target"` // target.name
	At     time.Time `json:"at"`
}

// readTarget reads the target of a spool; empty where it has none yet, as one
// that an older version or a program has made.
func readTarget(dir string) (string, error) {
	path := filepath.Join(dir, targetFile)
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxTargetBytes))
	if err != nil {
		return "", err
	}
	var t spoolTarget
	if err := json.Unmarshal(b, &t); err != nil || t.Target == "" {
		return "", fmt.Errorf("%s does not say what the target of the spool is", path)
	}
	return t.Target, nil
}

// writeTarget makes the target durable, whole or not at all.
func writeTarget(dir, name string) (err error) {
	b, err := json.Marshal(spoolTarget{name, time.Now().UTC()})
	if err != nil {
		return err
	}
	path := filepath.Join(dir, targetFile)
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	return vfs.OS.SyncDir(dir)
}

// spooledIn is how many records wait in a spool that no process has open.
func spooledIn(dir string, trust bool) (int64, error) {
	v, err := engine.Look(dir, &engine.Options{TrustDirectory: trust})
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return v.Stats().Waiting.Records, v.Close()
}

// checkTarget refuses to open a spool with records of another target, unless
// that is asked for. Its error may be a *[engine.LockedError]: then nobody knows
// yet.
func (x *session) checkTarget() error {
	is := x.dest.target
	was, err := readTarget(x.dir)
	switch {
	case x.s.retarget || err == nil && (was == "" || was == is.name):
		return nil
	case err != nil:
		return fmt.Errorf("%w; with --retarget it is %s", err, is.name)
	}
	n, err := spooledIn(x.dir, x.s.trust)
	if _, locked := errors.AsType[*engine.LockedError](err); locked {
		return err
	}
	if n == 0 && err == nil {
		return nil
	}
	holds := count(n, "record")
	if err != nil {
		holds = "perhaps records"
	}
	deliver := was
	if was == "sim:" {
		deliver = "TARGET" // that simulator is no more
	}
	var lines []error // shown as a line each; a line end within one would be an escape
	for _, line := range []string{
		fmt.Sprintf("the spool %s holds %s for %s, not for %s. To deliver them there:", x.dir, holds, was, is.name),
		fmt.Sprintf("  kustospool drain --to %s --spool %s", shellWord(deliver), shellWord(x.dir)),
		fmt.Sprintf("To deliver them to %s, add --retarget; for a spool of its own, name another --spool", is.name),
	} {
		lines = append(lines, errors.New(line))
	}
	return errors.Join(lines...)
}

// keepTarget writes down what the open spool is for from now on.
func (x *session) keepTarget() error {
	if x.dest.temporary != "" {
		return nil
	}
	is := x.dest.target.name
	was, err := readTarget(x.dir)
	if err == nil && was == is {
		return nil
	}
	if was != "" && x.spool.Stats().Waiting.Records > 0 {
		x.c.tell("What the spool held for %s goes to %s.", was, is)
	}
	return writeTarget(x.dir, is)
}

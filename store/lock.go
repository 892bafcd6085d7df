package store

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// lockPoll is how often a held lock is tried again.
const lockPoll = 20 * time.Millisecond

// dirLock is the lock of a whole spool directory. It is a file of its own,
// because the manifest may have to be set aside while the lock is held.
type dirLock struct{ f *os.File }

// lockDir takes the lock, or gives up after timeout with a [LockedError] that
// repeats what the holder wrote into the file.
func lockDir(dir string, timeout time.Duration) (*dirLock, error) {
	path := filepath.Join(dir, lockName)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(timeout); ; {
		ok, err := tryLock(f)
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
		if ok {
			break
		}
		if !time.Now().Before(deadline) {
			owner := readOwner(f)
			f.Close()
			return nil, &LockedError{Dir: dir, Owner: owner}
		}
		time.Sleep(lockPoll)
	}
	// Only informative, so its failure is not one of the lock.
	if f.Truncate(0) == nil {
		_, _ = f.WriteAt([]byte(fmt.Sprintf("pid %d (%s) since %s\n", os.Getpid(), filepath.Base(os.Args[0]), time.Now().UTC().Format(time.RFC3339))), 0)
	}
	return &dirLock{f: f}, nil
}

func readOwner(f *os.File) string {
	b, _ := io.ReadAll(io.NewSectionReader(f, 0, 256))
	return strings.TrimSpace(strings.ToValidUTF8(string(b), "?"))
}

// unlock ends the lock. The file stays: removing it would let two processes
// lock two files of the same name.
func (l *dirLock) unlock() error { return l.f.Close() }

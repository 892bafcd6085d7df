package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"kustospool/internal/vfs"
	"kustospool/store/internal/ledger"
	"kustospool/store/internal/object"
)

// Open opens the spool in dir, and creates it where dir is missing or empty.
// It reads the disk only. How long it takes grows with the number of lanes, live
// batches and segment files, not with the records that wait in them: it reads
// the active segment, and after a crash those that were not listed yet. It starts
// the store's goroutines; Close ends them.
//
// A spool that was damaged is opened as well: what is damaged is kept in its
// quarantine, what was there is saved as far as it can be found, and the rest
// is counted in Stats. Errors: [LockedError], [ForeignError], [UntrustedError], [VersionError],
// one that matches [ingest.ErrInvalid] for bad options, and those of the file
// system.
func Open(dir string, opts *Options) (*Store, error) {
	o := opts.withDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	s := &Store{
		dir: dir, opts: o, log: o.Logger, fs: o.files, lanes: newLaneTable(), disk: newDisk(), failed: make(chan struct{}),
		segments: map[uint64]*segment{},
	}
	s.maintenance = newMaintenance(s)
	s.ballast = &ballast{path: s.path(ballastName), bytes: o.ballast()}
	s.objects = &object.Dir{FS: s.fs, Path: s.path(objectsName), NoSync: o.NoSync, Sized: s.disk.set,
		Room: func(grow int64) error {
			if !s.fits(grow) {
				return ErrFull
			}
			return nil
		}}
	if err := s.checkPermissions(false); err != nil {
		return nil, err
	}
	if err := s.claimDir(); err != nil {
		return nil, err
	}
	if s.lock, err = lockDir(s.fs, dir, o.LockTimeout); err != nil {
		return nil, err
	}
	r := &recovery{s: s, ahead: skipAhead}
	if err := r.run(); err != nil {
		return nil, errors.Join(err, r.abandon())
	}
	s.loadBallast()
	s.maintenance.start()
	return s, nil
}

// ourNames are the names a spool's directory has of its own accord.
// lost+found is where a spool has a volume to itself.
var ourNames = func() map[string]bool {
	names := map[string]bool{lockName: true, socketName: true, ballastName: true, ballastName + tempSuffix: true, ledgerName: true,
		pausedName: true, pausedName + tempSuffix: true, "lost+found": true}
	for _, sub := range subdirectories {
		names[sub] = true
	}
	for _, name := range ledger.Names(ledgerName) {
		names[name] = true
	}
	return names
}()

// claimDir makes the directory, or makes sure that it is a spool of this
// format, or empty. It changes nothing in a directory that is neither.
func (s *Store) claimDir() error {
	infos, err := s.fs.List(s.dir)
	if vfs.Missing(err) {
		if err := s.fs.MkdirAll(s.dir); err != nil {
			return err
		}
		return s.syncDir(filepath.Dir(s.dir))
	}
	if err != nil {
		return err
	}
	current, old := s.segmentFiles()
	if old && !current {
		return &VersionError{Dir: s.dir, Version: 2, Known: ledger.FormatVersion}
	}
	foreign := ""
	for _, info := range infos {
		if !ourNames[info.Name] {
			foreign = info.Name
		}
	}
	// Somebody may have put a note beside a spool; a spool it is all the same.
	if foreign == "" || current || ledger.Exists(s.books(), s.ledgerPath()) {
		return nil
	}
	return &ForeignError{Dir: s.dir, File: foreign}
}

// segmentFiles reports whether there are segments of this format, and of the
// one before.
func (s *Store) segmentFiles() (current, old bool) {
	infos, err := s.fs.List(s.path(segmentsName))
	if err != nil {
		return false, false
	}
	for _, info := range infos {
		current = current || info.Regular && numbered(info.Name, segmentSuffix)
		old = old || info.Regular && numbered(info.Name, oldSuffix)
	}
	return current, old
}

// books is the file system of the ledger, which is always the machine's: bbolt
// knows no other.
func (s *Store) books() vfs.FS { return vfs.OS }

func (s *Store) ledgerPath() string {
	if s.opts.books != "" {
		return s.opts.books
	}
	return s.path(ledgerName)
}

// maxOwner bounds what is told of the holder of a lock, in bytes.
const maxOwner = 512

// lockPoll is how often a held lock is tried again.
const lockPoll = 20 * time.Millisecond

// lockDir takes the lock of the directory and writes into its file who has it.
// The file stays when the lock ends: removing it would let two processes lock
// two files of the same name.
func lockDir(fsys vfs.FS, dir string, timeout time.Duration) (vfs.File, error) {
	f, err := waitLock(fsys, dir, timeout)
	if err == nil {
		writeOwner(f, "", "")
	}
	return f, err
}

// writeOwner writes who has the lock, and why still, and where it can be asked.
// It is only informative, so its failure is not one of the lock.
func writeOwner(f vfs.File, why, socket string) {
	if f.Truncate(0) != nil {
		return
	}
	text := fmt.Sprintf("pid %d (%s) since %s", os.Getpid(), filepath.Base(os.Args[0]), time.Now().UTC().Format(time.RFC3339))
	if why != "" {
		text += ": " + strings.ReplaceAll(why, "\n", " ")
		text = strings.ToValidUTF8(text[:min(len(text), maxOwner)], "")
	}
	text += "\n"
	if socket != "" {
		text += socketPrefix + socket + "\n"
	}
	_, _ = f.WriteAt([]byte(text), 0)
}

// socketPrefix begins the second line of the lock file.
const socketPrefix = "socket "

// lockedBy is what the holder of a lock wrote into its file.
func lockedBy(dir string, file []byte) *LockedError {
	first, rest, _ := strings.Cut(string(file), "\n")
	e := &LockedError{Dir: dir, Owner: strings.TrimSpace(strings.ToValidUTF8(first[:min(len(first), maxOwner)], "?"))}
	line, _, _ := strings.Cut(rest, "\n")
	socket, ok := strings.CutPrefix(line, socketPrefix)
	switch {
	case !ok:
	case socket == socketName:
		e.Socket = filepath.Join(dir, socketName)
	case filepath.IsAbs(socket):
		e.Socket = filepath.Clean(socket)
	}
	return e
}

// waitLock takes the lock, or gives up after timeout with a [LockedError] that
// repeats what the holder wrote into the file.
func waitLock(fsys vfs.FS, dir string, timeout time.Duration) (vfs.File, error) {
	path := filepath.Join(dir, lockName)
	for deadline := time.Now().Add(timeout); ; time.Sleep(lockPoll) {
		f, err := fsys.Lock(path)
		switch {
		case err == nil:
			return f, nil
		case !errors.Is(err, vfs.ErrLocked):
			return nil, fmt.Errorf("locking %s: %w", path, err)
		case !time.Now().Before(deadline):
			owner, _ := vfs.ReadFile(fsys, path, 4096)
			return nil, lockedBy(dir, owner)
		}
	}
}

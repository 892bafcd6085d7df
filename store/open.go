package store

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	bolt "go.etcd.io/bbolt"

	"kustospool/ingest"
)

// Open opens the spool in dir, and creates it where dir is missing or empty.
// It reads the disk only, and how long it takes does not depend on how much
// is waiting. It starts the store's goroutines; Close ends them.
//
// A spool that was damaged is opened as well: damaged files are moved to its
// quarantine, what they held is saved as far as it can be found, and the rest
// is counted in Stats. Errors: [LockedError], [ForeignError], [VersionError],
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
	if err := claimDir(dir); err != nil {
		return nil, err
	}
	lock, err := lockDir(dir, o.LockTimeout)
	if err != nil {
		return nil, err
	}
	s := &Store{
		dir: dir, opts: o, log: o.Logger, lock: lock, lanes: newLaneTable(), disk: newDisk(), failed: make(chan struct{}),
		entries: map[ingest.BatchID]*Entry{}, segments: map[uint64]*segment{},
	}
	s.manifest = &manifest{s: s, path: filepath.Join(dir, manifestName)}
	s.commit = &committer{s: s}
	s.keeper = &keeper{s: s}
	s.ballast = &ballast{path: filepath.Join(dir, ballastName), bytes: o.ballast(), sync: !o.NoSync}
	if err := s.restore(); err != nil {
		return nil, errors.Join(err, s.abandonOpen())
	}
	s.loadBallast()
	s.manifest.start()
	s.commit.start()
	s.keeper.start()
	return s, nil
}

// abandonOpen lets go of what a failed Open had taken.
func (s *Store) abandonOpen() error {
	var errs []error
	if s.handles != nil {
		errs = append(errs, s.handles.close(s.commit.active))
	}
	if s.manifest.db != nil {
		errs = append(errs, s.manifest.db.Close())
	}
	return errors.Join(append(errs, s.lock.unlock())...)
}

// ourNames are the names a spool's directory has of its own accord.
// lost+found is where a spool has a volume to itself.
var ourNames = map[string]bool{
	lockName: true, ballastName: true, manifestName: true, manifestName + tempSuffix: true, segmentsName: true,
	objectsName: true, deadName: true, quarantined: true, "lost+found": true,
}

// claimDir makes the directory, or makes sure that it is a spool or empty. It
// changes nothing in a directory that is neither.
func claimDir(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		return syncDir(filepath.Dir(dir))
	}
	if err != nil {
		return err
	}
	foreign := ""
	for _, e := range entries {
		if !ourNames[e.Name()] {
			foreign = e.Name()
		}
	}
	if foreign == "" {
		return nil
	}
	// Somebody may have put a note beside a spool; a spool it is all the same.
	if len(segmentFiles(dir)) > 0 {
		return nil
	}
	if _, err := preflight(filepath.Join(dir, manifestName)); err == nil {
		return nil
	}
	return &ForeignError{Dir: dir, File: foreign}
}

// segmentFiles finds the segment files by number.
func segmentFiles(dir string) map[uint64]string {
	found := map[uint64]string{}
	f, err := os.Open(filepath.Join(dir, segmentsName))
	if err != nil {
		return found
	}
	defer f.Close()
	entries, _ := f.ReadDir(-1) // os.ReadDir would sort them
	for _, e := range entries {
		if no, ok := segmentNumber(e.Name()); ok && e.Type().IsRegular() {
			found[no] = segmentPath(dir, no)
		}
	}
	return found
}

// sweep removes what a crash left half done, and finishes an exchange of
// files that it interrupted.
func sweep(dir string) error {
	for _, sub := range []string{".", segmentsName, objectsName, deadName, quarantined} {
		folder := filepath.Join(dir, sub)
		names, err := namesIn(folder)
		if err != nil {
			return err
		}
		for _, name := range names {
			temporary, exchange := strings.HasSuffix(name, tempSuffix), sub == segmentsName && strings.HasSuffix(name, salvageSuffix)
			if !temporary && !exchange {
				continue
			}
			path := filepath.Join(folder, name)
			if info, err := os.Lstat(path); err == nil && info.IsDir() {
				continue // not one of ours
			}
			if exchange {
				err = finishSalvage(path)
			} else {
				err = os.Remove(path)
			}
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// namesIn lists a folder in no order, and one that is missing as empty.
func namesIn(folder string) ([]string, error) {
	f, err := os.Open(folder)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

// finishSalvage deals with the new file of a salvage that was cut off: while
// the damaged file stands the work starts anew; once it is away the new file
// takes its place.
func finishSalvage(fresh string) error {
	path := strings.TrimSuffix(fresh, salvageSuffix)
	if _, err := os.Stat(path); err == nil {
		return os.Remove(fresh)
	}
	return renameDurably(fresh, path)
}

// openManifest opens the manifest for writing and loads the books. It creates
// one where there is none, and rebuilds one that is damaged.
func (r *recovery) openManifest() error {
	s := r.s
	path := s.manifest.path
	_, err := os.Stat(path)
	switch {
	case err == nil:
		err = r.loadManifest()
	case errors.Is(err, os.ErrNotExist) && len(segmentFiles(s.dir)) == 0:
		b := newBooks()
		if _, err := rand.Read(b.id[:]); err != nil {
			return err
		}
		b.state.Clean = true
		if err := b.write(path, &s.opts); err != nil {
			return err
		}
		return r.loadManifest()
	case errors.Is(err, os.ErrNotExist):
		err = fmt.Errorf("%w: %v", errDamaged, err)
	}
	if !errors.Is(err, errDamaged) {
		return err
	}
	s.log.Error("the manifest is damaged; rebuilding it from the segments", "dir", s.dir, "cause", err)
	if err := r.rebuild(); err != nil {
		return err
	}
	return r.loadManifest()
}

// loadManifest is openManifest for a manifest that is there. Damage of the
// books is an error that matches errDamaged, and leaves nothing open or
// loaded. After an unclean stop the rest is read as well: damage in it is not
// met otherwise before a change of the books fails on it.
func (r *recovery) loadManifest() error {
	s := r.s
	found, err := preflight(s.manifest.path)
	if err != nil {
		return err
	}
	db, file, err := openBoltFile(s.manifest.path, s.opts.manifestDB())
	if err != nil {
		return err
	}
	db.AllocSize = manifestGrowth
	b := newBooks()
	err = viewDB(db, func(tx *bolt.Tx) error {
		if err := checkWays(tx, file, found.meta, manifestBuckets...); err != nil {
			return err
		}
		var version uint32
		if b.id, version, err = manifestHead(tx); err != nil {
			return err
		}
		if version != formatVersion {
			return &VersionError{Dir: s.dir, Version: version, Known: formatVersion}
		}
		return b.load(tx)
	})
	if err == nil && (!b.state.Clean || found.suspect) {
		warm(s.manifest.path)
		err = viewDB(db, proveRest)
		if errors.Is(err, errDamaged) {
			s.log.Error("history or keys are damaged; they begin anew", "dir", s.dir, "cause", err)
			if err = errors.Join(db.Close(), r.renew(b)); err == nil {
				return r.loadManifest()
			}
			return err
		}
	}
	if err != nil {
		_ = db.Close()
		return err
	}
	if !r.shrunk && worthShrinking(found, s.manifest.path) {
		r.shrunk = true
		if err := db.Close(); err != nil {
			return err
		}
		if err := r.shrink(s.manifest.path); err != nil {
			s.log.Warn("the manifest could not be made smaller", "dir", s.dir, "cause", err)
		}
		return r.loadManifest()
	}
	s.manifest.db = db
	r.adopt(b)
	if found.suspect {
		// It may have fallen back to what it was before its last change.
		r.suspect++
		r.clean = false
	}
	return nil
}

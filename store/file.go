package store

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"kustospool/ingest"
	"kustospool/internal/crashpoint"
	"kustospool/internal/vfs"
)

// fileWriter writes a new file from front to back.
type fileWriter struct {
	f   vfs.File
	end int64
}

func (w *fileWriter) Write(p []byte) (int, error) {
	n, err := w.f.WriteAt(p, w.end)
	w.end += int64(n)
	return n, err
}

// cut takes back what was written behind a place.
func (w *fileWriter) cut(end int64) error {
	if end == w.end {
		return nil
	}
	w.end = end
	return w.f.Truncate(end)
}

// writeFile makes a file whole or not at all: temporary name, sync, rename,
// sync of the directory.
func (s *Store) writeFile(path string, fill func(*fileWriter) error) (err error) {
	temp := path + tempSuffix
	if err := s.remove(temp); err != nil {
		return err
	}
	f, err := s.fs.Open(temp, vfs.Create)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = s.fs.Remove(temp)
		}
	}()
	w := &fileWriter{f: f}
	err = fill(w)
	if err == nil && !s.opts.NoSync {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	crashpoint.Reach("create.written")
	if err = s.fs.Rename(temp, path); err != nil {
		return err
	}
	s.disk.set(path, w.end)
	crashpoint.Reach("create.renamed")
	return s.syncDir(filepath.Dir(path))
}

func (s *Store) syncDir(dir string) error {
	if s.opts.NoSync {
		return nil
	}
	return s.fs.SyncDir(dir)
}

// unlink removes files for good and tells who waits for room.
func (s *Store) unlink(paths ...string) error {
	var errs []error
	dirs := map[string]bool{}
	for _, path := range paths {
		errs = append(errs, s.remove(path))
		dirs[filepath.Dir(path)] = true
	}
	crashpoint.Reach("unlink.removed")
	s.disk.reclaimed()
	for dir := range dirs {
		errs = append(errs, s.syncDir(dir))
	}
	return errors.Join(errs...)
}

// quarantineName is a free name for something that is set aside.
func (s *Store) quarantineName(name string) string {
	for i := 1; ; i++ {
		path := s.path(quarantined, fmt.Sprintf("%s.%d", name, i))
		if _, err := s.fs.Stat(path); err != nil {
			return path // free, or whoever uses it says why it is not
		}
	}
}

// quarantine moves a file aside, durably.
func (s *Store) quarantine(path string) error {
	to := s.quarantineName(filepath.Base(path))
	if err := s.fs.Rename(path, to); err != nil {
		return err
	}
	s.disk.set(path, 0)
	s.measure(to)
	return errors.Join(s.syncDir(s.path(quarantined)), s.syncDir(filepath.Dir(path)))
}

// sweep removes what a crash left half written.
func (s *Store) sweep() error {
	if err := s.objects.Sweep(); err != nil {
		return err
	}
	for _, sub := range []string{".", deadName, quarantined} {
		infos, err := s.fs.List(s.path(sub))
		if err != nil {
			return err
		}
		for _, info := range infos {
			name, temp := strings.CutSuffix(info.Name, tempSuffix)
			if info.Regular && temp && ownName(sub, name) {
				if err := s.remove(s.path(sub, info.Name)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// ownName reports whether a name is one that the store gives to a file of a
// subdirectory. What has another is somebody else's, and is left alone.
func ownName(sub, name string) bool {
	switch sub {
	case deadName:
		stem, rest, _ := strings.Cut(name, ".")
		_, err := ingest.ParseBatchID(stem)
		return err == nil && (rest == "json" || rest == "json"+handledSuffix || strings.HasPrefix(rest, "data"))
	case quarantined:
		return quarantineNames.MatchString(name)
	}
	return ourNames[name+tempSuffix]
}

// quarantineNames are of the files that are written there: copies of the
// ledger, of stretches of a segment, of damaged frames. Others are moved there.
var quarantineNames = regexp.MustCompile(`^(manifest\.db\.[0-9]+|[0-9]{8,}\.log-[0-9]+\.[0-9]+|lane-[0-9]+-[0-9]+\.[0-9]+|.+-[0-9]+\.frame)$`)

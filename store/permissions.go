package store

import (
	"fmt"
	"io/fs"
	"os"
	"slices"

	"kustospool/internal/vfs"
)

// Who may write into a spool can have any record sent, and any file of it
// deleted, so a spool is opened only where that is its user alone. Directories
// of the spool must be directories, not links to others, because what is
// deleted at open is deleted by its name in them.

const (
	othersWrite fs.FileMode = 0o002
	groupWrites fs.FileMode = 0o020
)

// checkPermissions refuses a spool that others may write to. A directory that is not
// there yet is made with the right mode.
func (s *Store) checkPermissions(look bool) error {
	// With the dot it is what a link leads to: the caller chose the directory.
	info, err := s.fs.Stat(s.dir + string(os.PathSeparator) + ".")
	if vfs.Missing(err) {
		return nil
	}
	if err == nil {
		err = s.checkPermissionsOf(s.dir, &info, look)
	}
	if err != nil {
		return err
	}
	infos, err := s.fs.List(s.dir)
	if err != nil {
		return err
	}
	for i := range infos {
		info, path := &infos[i], s.path(infos[i].Name)
		switch sub := slices.Contains(subdirectories, info.Name); {
		case sub && !info.Dir:
			return &UntrustedError{Path: path, Reason: "is not a directory"}
		case !sub && (!info.Regular || !ourNames[info.Name]):
			continue // whoever opens it says more
		}
		if err := s.checkPermissionsOf(path, info, look); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) checkPermissionsOf(name string, info *vfs.Info, look bool) error {
	if info.Owner < 0 {
		return nil
	}
	user := s.opts.user()
	pass := s.opts.TrustDirectory || look && user == 0
	switch {
	case info.Perm&othersWrite != 0:
		return &UntrustedError{Path: name, Reason: fmt.Sprintf("may be written by everybody (mode %04o); take that right away, as by chmod o-w", info.Perm)}
	case !pass && info.Owner != user:
		return &UntrustedError{Path: name, Reason: fmt.Sprintf("belongs to user %d, and this process is user %d", info.Owner, user), Optional: true}
	case !pass && info.Perm&groupWrites != 0:
		return &UntrustedError{Path: name, Reason: fmt.Sprintf("may be written by its group (mode %04o)", info.Perm), Optional: true}
	}
	return nil
}

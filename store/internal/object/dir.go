package object

import (
	"errors"
	"path/filepath"
	"strings"
	"sync"

	"kustospool/internal/vfs"
)

// Dir is a directory of objects of one spool. All of its methods may be
// called at the same time. The fields are set before the first call.
type Dir struct {
	FS    vfs.FS
	Path  string
	Spool [8]byte
	// NoSync leaves out the syncs: for negative controls of durability tests.
	NoSync bool
	// Room, if set, is asked before a file grows by so many bytes. Its error
	// refuses the call, which can be repeated.
	Room func(grow int64) error
	// Sized, if set, is told the size of a file of the directory after it
	// changed; 0 says that the file is gone.
	Sized func(path string, size int64)
}

// File is what List finds.
type File struct {
	ID   ID
	Size int64
}

func (d *Dir) path(id ID) string { return filepath.Join(d.Path, id.FileName()) }

// FilePath is where an object's file is.
func (d *Dir) FilePath(id ID) string { return d.path(id) }

func (d *Dir) sized(path string, size int64) {
	if d.Sized != nil {
		d.Sized(path, size)
	}
}

// List finds the complete objects, in no order. What else is in the directory
// it passes over.
func (d *Dir) List() ([]File, error) {
	infos, err := d.FS.List(d.Path)
	if err != nil {
		return nil, err
	}
	var out []File
	for _, info := range infos {
		if id, ok := parseName(info.Name); ok && info.Regular {
			out = append(out, File{ID: id, Size: info.Size})
		}
	}
	return out, nil
}

// Sweep removes the files of objects that were never finished. No object may
// be under way.
func (d *Dir) Sweep() error {
	infos, err := d.FS.List(d.Path)
	if err != nil {
		return err
	}
	var errs []error
	for _, info := range infos {
		name, ok := strings.CutSuffix(info.Name, tempSuffix)
		if _, ours := parseName(name); ok && ours && info.Regular {
			errs = append(errs, d.remove(filepath.Join(d.Path, info.Name)))
		}
	}
	return errors.Join(errs...)
}

// Remove removes an object. One that is not there is no error.
func (d *Dir) Remove(id ID) error { return d.remove(d.path(id)) }

func (d *Dir) remove(path string) error {
	if err := d.FS.Remove(path); err != nil && !vfs.Missing(err) {
		return err
	}
	d.sized(path, 0)
	return nil
}

// Sync makes the names in the directory durable: those of finished objects,
// and that removed ones are gone.
func (d *Dir) Sync() error {
	if d.NoSync {
		return nil
	}
	return d.FS.SyncDir(d.Path)
}

// blocks are buffers of a chunk's size, header included.
var blocks = sync.Pool{New: func() any {
	b := make([]byte, 0, chunkHeaderLen+maxBody)
	return &b
}}

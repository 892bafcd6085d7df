package vfs

import (
	"errors"
	"io"
	"io/fs"
	"time"
)

// FS is what the store needs of a file system. Names are paths as package
// path/filepath makes them. All methods may be called at the same time.
type FS interface {
	// Open opens a regular file for reading and writing, or with ReadOnly for
	// reading. It follows no symbolic link at the last element, does not block
	// on a FIFO or a device, and refuses whatever is not a regular file with
	// ErrNotRegular. A missing file matches fs.ErrNotExist.
	Open(name string, mode Mode) (File, error)
	// Rename gives a file another name, in place of what has it. SyncDir of
	// either directory, where there are two, makes it durable.
	Rename(from, to string) error
	// Remove unlinks a file. A missing one matches fs.ErrNotExist.
	Remove(name string) error
	// Stat says what a name leads to, without following a link.
	Stat(name string) (Info, error)
	// List lists a directory in no order; a missing one matches fs.ErrNotExist.
	List(dir string) ([]Info, error)
	// MkdirAll makes a directory, and those it is in, of mode 0700.
	MkdirAll(dir string) error
	// SyncDir makes the names in a directory durable: what was created,
	// renamed and removed in it before the call.
	SyncDir(dir string) error
	// Lock takes the exclusive lock of a file, which it creates, or fails with
	// ErrLocked at once. It refuses what Open refuses, and with ErrLinked a file
	// that has another name. The lock ends with Close or with the process.
	Lock(name string) (File, error)
}

// File is an open regular file.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Sync makes what was written, and the size, durable. An error says that
	// nobody knows, and a second call that returns nil proves nothing.
	Sync() error
	// Truncate makes the file shorter, or longer with zeros.
	Truncate(size int64) error
	// Stat says what the file is now. Its Links is 0 once no name leads to it,
	// where the system can tell.
	Stat() (Info, error)
}

// Mode says how a file is opened.
type Mode int

const (
	ReadWrite Mode = iota // an existing file
	ReadOnly              // an existing file
	Create                // a new file, mode 0600, read and written; fs.ErrExist where the name is taken
)

// Info is what is known of a file.
type Info struct {
	Name string // the last element of its path
	Size int64
	// Allocated is how many bytes the file takes; -1 where the system does not say.
	Allocated int64
	Regular   bool
	Dir       bool
	// Links is how many names lead to the file; -1 where the system does not say.
	Links int
	// Changed is when the contents last changed, of a directory when a name in it
	// last did; zero where the file system does not say.
	Changed time.Time
	// ID tells files apart while they exist; two Infos with equal IDs that are
	// not zero are of one file. Zero where the system does not say.
	ID [2]uint64
	// Owner is the user that the file belongs to, and Perm who may do what with
	// it. Owner is -1, and Perm says nothing, where the system has other rules.
	Owner int
	Perm  fs.FileMode
}

var (
	// ErrNotRegular is returned by Open for a link, a directory, a FIFO, a device.
	ErrNotRegular = errors.New("not a regular file")
	// ErrLinked is returned by Lock and Sole for a file that has more than one
	// name: whoever made the other one would have this one written, or read.
	ErrLinked = errors.New("a file with more than one name")
	// ErrLocked is returned by Lock while another holds it.
	ErrLocked = errors.New("locked by another")
)

// Adviser is the optional power of a File to be told how it will be read.
// The advice changes speed and nothing else, so it has no error.
type Adviser interface {
	// Sequential says that the file is read from front to back.
	Sequential()
	// WillNeed says that a part will be read soon.
	WillNeed(off, n int64)
}

// Sparse is the optional power of a File to say where it has holes, which read
// as zeros.
type Sparse interface {
	// NextData is the first place from off on that is not in a hole, or off where
	// that cannot be told.
	NextData(off int64) int64
}

// VectorWriter is the optional power of a File to write several buffers as one.
type VectorWriter interface {
	// WriteVAt writes the buffers one behind the other at off, as WriteAt would
	// write their concatenation.
	WriteVAt(bufs [][]byte, off int64) (n int, err error)
}

// Missing reports whether an error says that a file does not exist.
func Missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// Sole refuses an open file that has more than one name, as far as the system
// says how many it has.
func Sole(f File, name string) error {
	info, err := f.Stat()
	if err == nil && info.Links > 1 {
		err = &fs.PathError{Op: "open", Path: name, Err: ErrLinked}
	}
	return err
}

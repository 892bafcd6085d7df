// Package snapshot reads a file as it was when it was looked at.
//
// # What it promises
//
// A regular file is read to the size that it had, and no byte further: what
// was checked is what is read. That it has grown, shrunk, been replaced or
// been written to since is noticed and told ([File.Changed]), and where the
// change makes what was read wrong, reading ends in a [ChangeError].
//
// # What it does not do
//
// It keeps no copy: bytes that are overwritten while they are read are read as
// they are then. Such a change is told by the file's time alone, which has the
// granularity of the file system.
package snapshot

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// ErrNotRegular is returned by Take for a directory, a pipe or a device.
var ErrNotRegular = errors.New("is not a regular file")

// ChangeError says what has happened to a file since it was looked at.
type ChangeError struct {
	What string // "grew by 12 bytes while it was read"
}

// Error says what has happened; the file is the caller's to name.
func (e *ChangeError) Error() string { return e.What }

// Kind is what the end of the bytes means to whoever reads them.
type Kind int

const (
	// Lines may be cut where a line ends: of a file that has grown, what was
	// there before is good unless its last line is torn.
	Lines Kind = iota + 1
	// Object is one thing: of a file that has grown nothing is good.
	Object
	// Packed tells by itself whether it is whole: gzip.
	Packed
)

// Snapshot is a file as it was.
type Snapshot struct {
	path string
	info fs.FileInfo
}

// Take looks at a file.
func Take(path string) (*Snapshot, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, ErrNotRegular
	}
	return &Snapshot{path, info}, nil
}

// Size is how many bytes the file had.
func (s *Snapshot) Size() int64 { return s.info.Size() }

// Identity tells the file from others that the system has: device and file
// number. It is empty where the system does not say.
func (s *Snapshot) Identity() string { return identity(s.info) }

// Changed says what has happened to the file at the path since; nil for
// nothing. It is for files that others read.
func (s *Snapshot) Changed() error {
	info, err := os.Stat(s.path)
	if err != nil {
		return err
	}
	if !os.SameFile(s.info, info) {
		return &ChangeError{"was replaced by another file after it was checked"}
	}
	if change := s.since(info); change != nil {
		return change
	}
	return nil
}

// since compares the file with what it was.
func (s *Snapshot) since(info fs.FileInfo) *ChangeError {
	switch was, is := s.info.Size(), info.Size(); {
	case is > was:
		return &ChangeError{fmt.Sprintf("grew by %s while it was read", bytes(is-was))}
	case is < was:
		return &ChangeError{fmt.Sprintf("shrank by %s while it was read", bytes(was-is))}
	case !info.ModTime().Equal(s.info.ModTime()):
		return &ChangeError{"was written to while it was read"}
	}
	return nil
}

func bytes(n int64) string {
	if n == 1 {
		return "1 byte"
	}
	return fmt.Sprintf("%d bytes", n)
}

// Open opens the file for reading. A file that is another one by now, or has
// become shorter, is a [ChangeError].
func (s *Snapshot) Open(kind Kind) (*File, error) {
	f, err := os.Open(s.path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case !os.SameFile(s.info, info):
		err = &ChangeError{"was replaced by another file after it was checked"}
	case info.Size() < s.Size():
		err = s.since(info)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &File{snap: s, file: f, kind: kind, left: s.Size()}, nil
}

// File is the file being read.
type File struct {
	snap *Snapshot
	file *os.File
	kind Kind

	left   int64
	last   byte
	ended  error // io.EOF or a *ChangeError, once it is known
	change *ChangeError
}

// Read reads up to the size that the file had. At that point it is [io.EOF],
// or a [*ChangeError] where what was read is wrong by the change.
func (f *File) Read(p []byte) (int, error) {
	if f.ended != nil {
		return 0, f.ended
	}
	if f.left == 0 {
		return 0, f.end()
	}
	if int64(len(p)) > f.left {
		p = p[:f.left]
	}
	n, err := f.file.Read(p)
	if n > 0 {
		f.left -= int64(n)
		f.last = p[n-1]
		return n, nil
	}
	if err == io.EOF {
		err = f.end()
	}
	return 0, err
}

// end finds out what the end of the bytes is.
func (f *File) end() error {
	info, err := f.file.Stat()
	if err != nil {
		return err
	}
	f.change = f.snap.since(info)
	f.ended = io.EOF
	switch {
	case f.left > 0 && f.change == nil:
		f.ended = io.ErrUnexpectedEOF // fewer bytes than the file system says
	case f.left > 0, f.change != nil && f.torn(info):
		f.ended = f.change
	}
	return f.ended
}

// torn reports whether bytes that came behind belong to what was read last.
func (f *File) torn(now fs.FileInfo) bool {
	grew := now.Size() > f.snap.Size()
	switch f.kind {
	case Lines:
		return grew && f.snap.Size() > 0 && f.last != '\n'
	case Object:
		return true
	}
	return false
}

// Changed says what has happened to the file, as far as it was noticed when
// reading it came to an end; nil for nothing.
func (f *File) Changed() *ChangeError { return f.change }

// Close closes the file.
func (f *File) Close() error { return f.file.Close() }

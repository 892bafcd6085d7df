package input

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/klauspost/compress/gzip"

	"kustospool/cmd/kustospool/internal/snapshot"
	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/ingest/content"
)

// bufferBytes is the size of the buffer before the decompression.
const bufferBytes = 256 << 10

// Stdin is the name that stands for standard input.
const Stdin = "-"

// Error says which rule a place in an input breaks. It matches
// [ingest.ErrInvalid].
type Error struct {
	File string
	Line int64 // counts from 1; 0 where the error is about the whole file
	Err  error // the rule, or what the file system said
}

// Error is file, line and rule, in the form editors understand.
func (e *Error) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %v", e.File, e.Err)
	}
	return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err)
}

// Is makes every Error match [ingest.ErrInvalid].
func (e *Error) Is(target error) bool { return target == ingest.ErrInvalid }

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Err }

// Source is one input.
type Source struct {
	// Name is a file's path, or [Stdin]. A path that ends in .gz is
	// decompressed.
	Name string
	// Format says how records are cut.
	Format ingest.Format
	// SkipHeader drops the first record, which is behind blank lines if there are any.
	SkipHeader bool
	// Gzip: the input is gzip data whatever its name says.
	Gzip bool
	// OnBadRecord says what becomes of what is no record; 0 is to dead-letter it
	// where the input is a stream, and otherwise to stop.
	OnBadRecord engine.BadRecordPolicy
	// Unchecked takes records of json and multijson without looking into them.
	Unchecked bool
	// Reader is standard input when Name is Stdin; it is not closed.
	Reader io.Reader

	piped bool // Check found that the file is none that can be read twice

	seen *snapshot.Snapshot // by Check; the file is read as it was then
	file *snapshot.File     // opened last
}

// Changed says what has happened to a file that Check has seen, and that was
// read to its end since; nil for nothing. Of an archive, which others read, it
// says so at any time.
func (s *Source) Changed() error {
	switch {
	case s.seen != nil && s.Archive():
		return s.seen.Changed()
	case s.file != nil && s.file.Changed() != nil:
		return s.file.Changed()
	}
	return nil
}

// packed reports whether the input is gzip data.
func (s *Source) packed() bool {
	return s.Gzip || strings.HasSuffix(strings.ToLower(s.Name), ".gz")
}

// open opens the file, as it was seen if it was.
func (s *Source) open() (io.ReadCloser, error) {
	if s.seen == nil {
		return os.Open(s.Name)
	}
	kind := snapshot.Lines
	switch {
	case s.packed():
		kind = snapshot.Packed
	case s.Whole():
		kind = snapshot.Object
	}
	f, err := s.seen.Open(kind)
	if err != nil {
		return nil, err
	}
	s.file = f
	return f, nil
}

// Stream reports whether the input can be read only once, and reading it may
// have to wait for whoever writes it. For a file Check finds that out.
func (s *Source) Stream() bool { return s.Name == Stdin || s.piped }

// Extent is what Check found in an input.
type Extent struct {
	Records int64
	Bytes   int64 // of the records, without line endings
	Blank   int64 // lines that hold nothing
	// Streamed: nothing is known of the input, which can be read only once.
	Streamed bool
	// PassedOver are the files of an archive that are none of its data, each with why.
	PassedOver []string
}

// Check reads a regular file, or all files of an archive, to the end and
// reports the first broken rule as an [Error]. A pipe, a device and standard input are only looked at: their
// Extent has Streamed set.
func (s *Source) Check() (Extent, error) {
	if s.Name == Stdin {
		return Extent{Streamed: true}, nil
	}
	info, err := os.Stat(s.Name)
	if err != nil {
		return Extent{}, &Error{File: s.Name, Err: cause(err)}
	}
	if info.IsDir() {
		return Extent{}, &Error{File: s.Name, Err: errors.New("is a directory")}
	}
	if !info.Mode().IsRegular() {
		s.piped = true
		return Extent{Streamed: true}, nil
	}
	if s.seen, err = snapshot.Take(s.Name); err != nil {
		return Extent{}, &Error{File: s.Name, Err: cause(err)}
	}
	if s.Archive() {
		return s.checkArchive()
	}
	if s.Whole() {
		return s.checkWhole()
	}
	r, err := s.Open()
	if err != nil {
		return Extent{}, err
	}
	return r.extent()
}

// Whole reports whether the input is one object, to be read with Bytes, and
// not a row of records.
func (s *Source) Whole() bool { return !s.Format.Concatenates() }

// checkWhole is Check of an object.
func (s *Source) checkWhole() (Extent, error) {
	r, err := s.Bytes()
	if err != nil {
		return Extent{}, err
	}
	return s.wholeExtent(s.Name, r)
}

func (s *Source) wholeExtent(name string, r io.ReadCloser) (Extent, error) {
	n, err := io.Copy(io.Discard, r)
	if err == nil && n == 0 {
		err = &Error{File: name, Err: fmt.Errorf("is empty, and a %s object must not be", s.Format)}
	}
	if err = errors.Join(err, r.Close()); err != nil {
		return Extent{}, err
	}
	return Extent{Records: 1, Bytes: n}, nil
}

// Open starts reading the records. Errors are of type [Error].
func (s *Source) Open() (*Reader, error) {
	b, err := s.contents()
	if err != nil {
		return nil, err
	}
	return s.read(s.Name, b, b), nil
}

// Bytes starts reading what the input holds, decompressed. Errors, those of
// reading included, are of type [Error].
func (s *Source) Bytes() (io.ReadCloser, error) {
	b, err := s.contents()
	if err != nil {
		return nil, err
	}
	return b, nil
}

func (s *Source) contents() (*contents, error) {
	b := &contents{name: s.Name, r: s.Reader}
	if s.Name != Stdin {
		f, err := s.open()
		if err != nil {
			return nil, &Error{File: s.Name, Err: cause(err)}
		}
		b.closers, b.r = append(b.closers, f), f
	}
	if s.packed() {
		z, err := gzip.NewReader(bufio.NewReaderSize(b.r, bufferBytes))
		if err != nil {
			return nil, errors.Join(&Error{File: s.Name, Err: fmt.Errorf("is not gzip data: %w", err)}, b.Close())
		}
		b.closers, b.r = append(b.closers, z), z
	}
	b.r = content.NewReader(b.r, s.Format)
	return b, nil
}

// contents are the bytes of one input.
type contents struct {
	name    string
	r       io.Reader
	closers []io.Closer
}

func (b *contents) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if m, ok := err.(*content.Mismatch); ok {
		err = &Error{File: b.name, Err: misfit(m)}
	} else if err != nil && err != io.EOF {
		err = &Error{File: b.name, Err: cause(err)}
	}
	return n, err
}

func (b *contents) Close() error {
	var errs []error
	for i := len(b.closers) - 1; i >= 0; i-- {
		errs = append(errs, b.closers[i].Close())
	}
	b.closers = nil
	return errors.Join(errs...)
}

// cause drops the path from a file system error: [Error] names it already.
func cause(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}

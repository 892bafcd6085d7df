package input

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"kustospool/ingest/record"
)

// BeginningBytes is how much of an input its beginning is, at most.
const BeginningBytes = 64 << 10

// Beginning is the checksum of the first bytes of an input, unpacked; of an
// archive they are the file's.
type Beginning struct {
	Bytes int64 // at most BeginningBytes
	Sum   string
}

// BeginningOf is of bytes that begin an input, at most BeginningBytes.
func BeginningOf(b []byte) Beginning {
	sum := sha256.Sum256(b)
	return Beginning{int64(len(b)), hex.EncodeToString(sum[:16])}
}

// Beginning reads the first n bytes of a file that Check has seen, or as many
// as there are, up to BeginningBytes.
func (s *Source) Beginning(n int64) (Beginning, error) {
	var (
		r   io.ReadCloser
		err error
	)
	if s.Archive() {
		r, err = s.open()
	} else {
		r, err = s.contents()
	}
	if err != nil {
		return Beginning{}, err
	}
	head, err := io.ReadAll(io.LimitReader(r, min(n, BeginningBytes)))
	return BeginningOf(head), errors.Join(err, r.Close())
}

// Size is how many bytes the file had when Check saw it.
func (s *Source) Size() int64 { return s.seen.Size() }

// Identity tells the file that Check has seen from others; it is empty where
// the system does not say.
func (s *Source) Identity() string { return s.seen.Identity() }

// tap keeps what the reading of records can be continued by: the input's
// beginning, and what follows on the place at which it was left.
type tap struct {
	r     io.Reader
	n     int64
	head  []byte
	whole Beginning // of all of head, once that is full

	from int64 // where the input is continued
	next []byte
}

func (t *tap) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	if room := BeginningBytes - len(t.head); room > 0 {
		t.head = append(t.head, p[:min(n, room)]...)
	}
	end := t.n + int64(n)
	if lo, hi := max(t.from+int64(len(t.next)), t.n), min(t.from+2, end); t.from > 0 && lo < hi {
		t.next = append(t.next, p[lo-t.n:hi-t.n]...)
	}
	t.n = end
	return n, err
}

func (t *tap) beginning(n int64) Beginning {
	if n < BeginningBytes {
		return BeginningOf(t.head[:n])
	}
	if t.whole.Bytes == 0 {
		t.whole = BeginningOf(t.head)
	}
	return t.whole
}

// Offset is how many bytes of the input, unpacked, are behind what was given
// out last.
func (r *Reader) Offset() int64 { return r.in.Offset() }

// Beginning is the checksum of the first n bytes, which must have been given
// out, or of BeginningBytes where n is more.
func (r *Reader) Beginning(n int64) Beginning { return r.tap.beginning(n) }

// Head is as much of the input's beginning as was read. It is not changed
// by further reading.
func (r *Reader) Head() []byte { return r.tap.head }

// SkipTo reads what an earlier reader gave out up to offset, and gives out
// nothing of it. What lies before is cut again, because where a record begins
// follows from all that is before it. It is an [Error] where no record ends
// there: what was read then has changed.
//
// It is called before Next.
func (r *Reader) SkipTo(offset int64) error {
	r.tap.from = offset
	for r.in.Offset() < offset {
		p, err := r.in.Next()
		if err == io.EOF {
			return &Error{File: r.name, Err: fmt.Errorf("ends before byte %d, up to which it is stored by an earlier run; --again sends it whole", offset)}
		}
		if err != nil {
			return err
		}
		if p.Kind == record.Bad && p.Fault.Fatal {
			return &Error{File: r.name, Line: p.Line, Err: inFlags(p.Fault)}
		}
	}
	over := r.in.Offset() - offset
	if over == 0 || over <= int64(len(r.tap.next)) && lineEnd(string(r.tap.next[:over])) {
		return nil // the last line may have been without its end
	}
	return &Error{File: r.name, Err: fmt.Errorf("has changed before byte %d, up to which it is stored by an earlier run: no record ends there any more; --again sends it whole", offset)}
}

func lineEnd(s string) bool { return s == "\n" || s == "\r\n" }

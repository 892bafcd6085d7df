package content

import (
	"bytes"
	"io"

	"kustospool/ingest"
)

// NewReader is r with a look at its first bytes: where they cannot be of
// format f, the first Read, and every one after it, returns the [*Mismatch]
// and nothing else.
//
// Of a stream that is slow in coming no more is waited for than its first
// line, or HeadBytes.
func NewReader(r io.Reader, f ingest.Format) io.Reader {
	return &reader{r: r, format: f}
}

type reader struct {
	r      io.Reader
	format ingest.Format
	looked bool
	head   []byte // read and not given out
	err    error  // what comes behind head
}

// Read implements [io.Reader].
func (r *reader) Read(p []byte) (int, error) {
	if !r.looked {
		r.looked = true
		r.look()
	}
	if len(r.head) > 0 {
		n := copy(p, r.head)
		if r.head = r.head[n:]; len(r.head) == 0 {
			r.head = nil
		}
		return n, nil
	}
	if r.err != nil {
		return 0, r.err
	}
	return r.r.Read(p)
}

func (r *reader) look() {
	buf := make([]byte, HeadBytes)
	n := 0
	for empty := 0; n < len(buf) && r.err == nil && bytes.IndexByte(buf[:n], '\n') < 0; {
		m, err := r.r.Read(buf[n:])
		n += m
		r.err = err
		if m == 0 && err == nil {
			if empty++; empty == 100 {
				r.err = io.ErrNoProgress
			}
		}
	}
	if m := Check(buf[:n], r.format); m != nil {
		r.err = m
		return
	}
	r.head = buf[:n]
}

package plug

import (
	"fmt"
	"io"

	"kustospool/transport"
)

// guardedReader is a caller's reader. It runs in the caller's own goroutine,
// whose end is the caller's to cause; a panic becomes an error of the call, so
// that what was taken in is discarded as after any other.
type guardedReader struct {
	r     io.Reader
	empty int // reads without a byte and without an error, in a row
}

// mostEmptyReads is what bufio bears, too.
const mostEmptyReads = 100

// Reader is a caller's reader, made safe: a panic of it, and a count that makes no sense, is an
// error of Read, and one that gives nothing for ever ends with io.ErrNoProgress.
func Reader(r io.Reader) io.Reader { return &guardedReader{r: r} }

// Read implements [io.Reader].
func (g *guardedReader) Read(p []byte) (n int, err error) {
	if bad := transport.Recover("the reader's Read", func() error {
		n, err = g.r.Read(p)
		return nil
	}); bad != nil {
		return 0, bad
	}
	if n < 0 || n > len(p) {
		return 0, fmt.Errorf("engine: the reader says that it read %d bytes into %d", n, len(p))
	}
	if n > 0 || err != nil || len(p) == 0 {
		g.empty = 0
		return n, err
	}
	if g.empty++; g.empty >= mostEmptyReads {
		return 0, io.ErrNoProgress
	}
	return 0, nil
}

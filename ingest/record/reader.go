package record

import (
	"io"
)

// bufferBytes is the size that a Reader's buffer begins with.
const bufferBytes = 256 << 10

// Reader gives out what an io.Reader holds, piece by piece.
type Reader struct {
	// SkipHeader drops the first record; of a Reader that has begun it must not
	// be changed.
	SkipHeader bool
	// Buffer is what is read into. It may be set before the first call, to room that another Reader
	// has done with; where it is too small for a record a larger one takes its place.
	Buffer []byte

	r        io.Reader
	c        Cutter
	from, to int // what of Buffer was not cut yet
	err      error
	passed   int64 // bytes cut
	offset   int64 // of them, those up to the end of the last piece that was given out
	ahead    Piece // cut, and not given out; of no kind where there is none
	fatal    bool  // ahead is the last one
	counts   Counts
}

// Counts are of what a Reader has given out.
type Counts struct {
	Good, Bad int64
	Blank     int64 // lines with nothing on them, and arrays without an element
	Headers   int64 // first records dropped
	Marks     int64 // records with a byte order mark cut away
}

// Add adds other to c.
func (c *Counts) Add(other Counts) {
	c.Good += other.Good
	c.Bad += other.Bad
	c.Blank += other.Blank
	c.Headers += other.Headers
	c.Marks += other.Marks
}

// Sub is c less what was counted before.
func (c Counts) Sub(before Counts) Counts {
	return Counts{c.Good - before.Good, c.Bad - before.Bad, c.Blank - before.Blank, c.Headers - before.Headers, c.Marks - before.Marks}
}

// NewReader begins to read r, which it does not close.
func NewReader(r io.Reader, rule Rule) *Reader {
	return &Reader{r: r, c: Cutter{Rule: rule}}
}

// Next is the next piece, Good or Bad; its Data is valid until the call after
// it. The error is [io.EOF] behind the last piece, and r's own where it fails:
// what was read before it is given out first, but for the unfinished record.
// A Fatal piece is given out again and again.
func (r *Reader) Next() (Piece, error) {
	for {
		p, err := r.next()
		if err != nil {
			return Piece{}, err
		}
		if p.Marked {
			r.counts.Marks++
		}
		switch {
		case p.Kind == Blank:
			r.counts.Blank++
			continue
		case p.Kind == Good && r.SkipHeader && r.counts.Headers == 0:
			r.counts.Headers++
			continue
		case p.Kind == Good:
			r.counts.Good++
		default:
			r.counts.Bad++
		}
		return p, nil
	}
}

// Counts are of the pieces given out so far.
func (r *Reader) Counts() Counts { return r.counts }

// Offset is how many bytes of the input are behind the last piece that was
// given out, its line ending included.
func (r *Reader) Offset() int64 { return r.offset }

// Read is how many bytes of the input have been read, cut or not.
func (r *Reader) Read() int64 { return r.passed + int64(r.to-r.from) }

// Ready reports whether the next piece is in memory. Where it is not, Next may
// have to wait for whoever writes r.
func (r *Reader) Ready() bool {
	if r.ahead.Kind == 0 {
		r.cut()
	}
	return r.ahead.Kind != 0 || r.err != nil
}

func (r *Reader) next() (Piece, error) {
	for {
		if r.ahead.Kind != 0 || r.cut() {
			p := r.ahead
			if !r.fatal {
				r.ahead.Kind = 0
			}
			r.offset = r.passed
			return p, nil
		}
		if r.err != nil {
			return Piece{}, r.err
		}
		r.fill()
	}
}

// cut cuts the next piece, if it is in memory, and puts it into ahead.
func (r *Reader) cut() bool {
	for {
		n, p, ok := r.c.Cut(r.Buffer[r.from:r.to], r.err == io.EOF)
		r.from += n
		r.passed += int64(n)
		if ok {
			r.ahead, r.fatal = p, p.Fault != nil && p.Fault.Fatal
			return true
		}
		if n == 0 || r.from == r.to {
			return false
		}
	}
}

// maxEmptyReads is how often in a row r may read nothing without an error.
const maxEmptyReads = 100

func (r *Reader) fill() {
	switch {
	case r.from > 0:
		copy(r.Buffer, r.Buffer[r.from:r.to])
		r.from, r.to = 0, r.to-r.from
	case r.to == len(r.Buffer):
		r.Buffer = append(r.Buffer, make([]byte, max(len(r.Buffer), bufferBytes))...)
	}
	for range maxEmptyReads {
		n, err := r.r.Read(r.Buffer[r.to:])
		r.to += n
		if r.err = err; n > 0 || err != nil {
			return
		}
	}
	r.err = io.ErrNoProgress
}

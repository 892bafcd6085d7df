package input

import (
	"bytes"
	"io"

	"kustospool/ingest"
)

// documentScan follows the brackets and strings of JSON text, and nothing
// else: it knows where a document ends and not whether it is well formed.
type documentScan struct {
	depth   int
	inside  bool // a string
	escaped bool // the next byte belongs to an escape
	started bool // something other than white space was seen
}

// open reports whether a document has begun and not ended.
func (s *documentScan) open() bool { return s.inside || s.depth > 0 }

// feed reads b up to the end of the first object or array that closes in it,
// and returns how far it got. A text of scalars is read to its end.
func (s *documentScan) feed(b []byte) int {
	for i := 0; i < len(b); i++ {
		c := b[i]
		if s.inside {
			switch {
			case s.escaped:
				s.escaped = false
			case c == '\\':
				s.escaped = true
			case c == '"':
				s.inside = false
			}
			continue
		}
		switch c {
		case ' ', '\t', '\r', '\n':
			continue
		case '"':
			s.inside = true
		case '{', '[':
			s.depth++
		case '}', ']':
			s.depth--
			if s.depth <= 0 {
				// More closed than opened is malformed; the service will say so.
				s.depth, s.started = 0, true
				return i + 1
			}
		}
		s.started = true
	}
	return len(b)
}

// readDocument cuts one object or array out of the input. Scalars are taken
// with what stands around them on their line.
func (r *Reader) readDocument() ([]byte, error) {
	r.scan = documentScan{}
	for {
		if len(r.rest) == 0 {
			from := len(r.rec)
			err := r.appendLine()
			if err == io.EOF && r.scan.started {
				return nil, r.fail(r.first, "the document is never closed")
			}
			if err != nil {
				return nil, err
			}
			// The line moves to rest and comes back piece by piece.
			r.lineBuf = append(r.lineBuf[:0], r.rec[from:]...)
			r.rest = r.lineBuf
			r.rec = r.rec[:from]
		}
		if !r.scan.started {
			r.first = r.line
		}
		n := r.scan.feed(r.rest)
		r.rec = append(r.rec, r.rest[:n]...)
		r.rest = r.rest[n:]
		if len(r.rec) > ingest.MaxRecordBytes+2 {
			return nil, r.tooLong(r.first)
		}
		if !r.scan.open() {
			// What is left of the line may be nothing but its ending.
			r.rest = bytes.TrimLeft(r.rest, " \t\r\n")
			return bytes.TrimSpace(r.rec), nil
		}
	}
}

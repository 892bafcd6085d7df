package engine

import (
	"bufio"
	"bytes"
	"fmt"
	"io"

	"kustospool/ingest"
)

// scanBuffer is how much of a source is read at a time.
const scanBuffer = 256 << 10

// recordScanner cuts a source into records, as far as that needs no parsing:
// at line ends, at line ends outside of double quotes, or between JSON
// documents.
type recordScanner struct {
	r    *bufio.Reader
	feed func(p []byte) (n int, done bool) // how far the record goes in p, and whether it ends there
	rec  []byte
	n    int64 // records begun

	// Of the record under construction.
	inside  bool // a double quote is open
	escaped bool // the next byte belongs to an escape
	depth   int  // open brackets
	started bool // something other than white space was seen
}

func newRecordScanner(r io.Reader, f ingest.Format) *recordScanner {
	s := &recordScanner{r: bufio.NewReaderSize(r, scanBuffer)}
	switch f {
	case ingest.CSV, ingest.SCSV:
		s.feed = s.quotedLine
	case ingest.MultiJSON:
		s.feed = s.document
	default:
		s.feed = line
	}
	return s
}

// next is the next record that is not blank, with what ends it. It is valid
// until the next call. The error is io.EOF after the last one; a source's own
// is wrapped.
func (s *recordScanner) next() ([]byte, error) {
	if s.n == 0 {
		if err := s.passByteOrderMark(); err != nil {
			return nil, err
		}
	}
	for {
		rec, err := s.read()
		if err != nil {
			return nil, err
		}
		if len(bytes.TrimSpace(rec)) > 0 {
			return rec, nil
		}
	}
}

func (s *recordScanner) read() ([]byte, error) {
	s.rec = s.rec[:0]
	s.inside, s.escaped, s.depth, s.started = false, false, 0, false
	s.n++
	for {
		if _, err := s.r.Peek(1); err == io.EOF {
			if len(s.rec) == 0 {
				return nil, io.EOF
			}
			return s.rec, nil
		} else if err != nil {
			return nil, fmt.Errorf("reading the source, at record %d: %w", s.n, err)
		}
		p, _ := s.r.Peek(s.r.Buffered())
		n, done := s.feed(p)
		s.rec = append(s.rec, p[:n]...)
		_, _ = s.r.Discard(n)
		if len(s.rec) > ingest.MaxRecordBytes+len("\r\n") {
			return nil, &ingest.FieldError{Field: fmt.Sprintf("record %d", s.n), Rule: fmt.Sprintf("a record may have at most %d bytes", ingest.MaxRecordBytes)}
		}
		if done {
			return s.rec, nil
		}
	}
}

// passByteOrderMark drops a UTF-8 byte order mark, and refuses the other
// Unicode encodings that announce themselves.
func (s *recordScanner) passByteOrderMark() error {
	head, _ := s.r.Peek(3) // an error shows again at the first record
	switch {
	case bytes.HasPrefix(head, []byte("\xef\xbb\xbf")):
		_, _ = s.r.Discard(3)
	case bytes.HasPrefix(head, []byte("\xff\xfe")), bytes.HasPrefix(head, []byte("\xfe\xff")):
		return &ingest.FieldError{Field: "source", Rule: "must be UTF-8, and is UTF-16"}
	}
	return nil
}

func line(p []byte) (int, bool) {
	if i := bytes.IndexByte(p, '\n'); i >= 0 {
		return i + 1, true
	}
	return len(p), false
}

// quotedLine: a doubled quote inside a field leaves and enters it again, so
// counting quotes is enough.
func (s *recordScanner) quotedLine(p []byte) (int, bool) {
	for at := 0; at < len(p); {
		n, ended := line(p[at:])
		if bytes.Count(p[at:at+n], []byte{'"'})%2 != 0 {
			s.inside = !s.inside
		}
		if at += n; ended && !s.inside {
			return at, true
		}
	}
	return len(p), false
}

// document follows brackets and strings of JSON text, and nothing else: an
// object or array ends at its last bracket, anything else with its line.
func (s *recordScanner) document(p []byte) (int, bool) {
	for i, c := range p {
		switch {
		case s.escaped:
			s.escaped = false
		case s.inside:
			s.escaped, s.inside = c == '\\', c != '"'
		case c == '\n' && s.started && s.depth == 0:
			return i + 1, true
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
		case c == '"':
			s.inside, s.started = true, true
		case c == '{' || c == '[':
			s.depth++
			s.started = true
		case c == '}' || c == ']':
			if s.depth--; s.depth <= 0 {
				return i + 1, true // too many are malformed; the service will say so
			}
		default:
			s.started = true
		}
	}
	return len(p), false
}

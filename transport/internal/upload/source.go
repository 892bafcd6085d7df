package upload

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"

	"kustospool/transport"
)

// sourceChunk is how much of the payload is read at a time.
const sourceChunk = 64 << 10

// source reads a payload as it goes on the wire, gzipped or as it is, in the
// caller's goroutine. Its Read ends in io.EOF only after exactly the payload's
// size was read: a payload that ends early, or does not end, is an error, so
// that nobody can commit a part of it.
type source struct {
	payload io.ReadCloser
	size    int64
	zip     *gzip.Writer // nil: as it is
	chunk   []byte
	ready   bytes.Buffer // compressed and not yet handed on
	read    int64        // of the payload
	wire    int64        // handed on
	ended   bool         // the payload was read whole, and the gzip trailer is in ready
	failure error        // the payload's own
}

// errSource stands for a payload's error towards the storage client. It wraps
// nothing: a payload's error that wraps io.EOF would pass for a normal end.
var errSource = errors.New("the payload cannot be read")

// newSource opens the payload. zip may be nil.
func newSource(p transport.Payload, zip *gzip.Writer) *source {
	s := &source{payload: p.Open(), size: p.Size(), zip: zip}
	if zip != nil {
		s.chunk = make([]byte, sourceChunk)
		zip.Reset(&s.ready)
	}
	return s
}

// Read implements [io.Reader].
func (s *source) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for s.failure == nil {
		if s.zip != nil && s.ready.Len() > 0 {
			n, _ := s.ready.Read(p)
			s.wire += int64(n)
			return n, nil
		}
		if s.ended {
			return 0, io.EOF
		}
		if s.zip == nil {
			n := s.fill(p)
			s.wire += int64(n)
			if n > 0 {
				return n, nil
			}
			continue
		}
		// Whole chunks, whatever the payload gives at a time, so that the
		// compressor sees the same on every attempt.
		n := 0
		for n < len(s.chunk) && !s.ended && s.failure == nil {
			n += s.fill(s.chunk[n:])
		}
		if s.failure != nil {
			break
		}
		// Writing to a buffer in memory does not fail.
		_, err := s.zip.Write(s.chunk[:n])
		if err == nil && s.ended {
			err = s.zip.Close()
		}
		s.failure = err
	}
	return 0, errSource
}

// fill reads some of the payload and notices its end, its errors, and a size
// that is not the promised one. What was read before an error is not handed on.
func (s *source) fill(p []byte) int {
	n, err := s.payload.Read(p)
	s.read += int64(n)
	switch {
	case s.read > s.size:
		s.failure = fmt.Errorf("the payload is longer than its %d bytes", s.size)
	case err == io.EOF && s.read < s.size:
		s.failure = fmt.Errorf("the payload ends after %d of %d bytes: %w", s.read, s.size, io.ErrUnexpectedEOF)
	case err == io.EOF:
		s.ended = true
	case err != nil:
		s.failure = err
	}
	if s.failure != nil {
		return 0
	}
	return n
}

// Close closes the payload.
func (s *source) Close() error { return s.payload.Close() }

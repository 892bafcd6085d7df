package input

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"kustospool/ingest"
)

// bufferBytes is the size of the read buffer of one input.
const bufferBytes = 256 << 10

// cut is how records are told apart.
type cut int

const (
	cutLines     cut = iota + 1 // each line is one record
	cutJSONLines                // each line is one JSON document
	cutQuoted                   // a line ends where no double quote is open
	cutDocuments                // JSON documents that follow each other
)

func cutOf(f ingest.Format) cut {
	switch f {
	case ingest.JSON:
		return cutJSONLines
	case ingest.MultiJSON:
		return cutDocuments
	case ingest.CSV, ingest.SCSV:
		return cutQuoted
	}
	return cutLines
}

// Reader gives out the records of one input whose format concatenates. It is not safe for two
// goroutines at once.
type Reader struct {
	name    string
	format  ingest.Format
	cut     cut
	header  bool // still to be skipped
	closers []io.Closer
	buf     *bufio.Reader

	rec   []byte // the record under construction, then the one given out
	line  int64  // lines read so far
	first int64  // line on which rec begins
	blank int64

	scan    documentScan
	lineBuf []byte // the line that documents are being cut from
	rest    []byte // what is left of it
}

// Next is the next record, without its line ending. It is valid until the
// next call. The error is [io.EOF] after the last record and an [Error]
// otherwise; after an error there is no use in going on.
func (r *Reader) Next() ([]byte, error) {
	for {
		rec, err := r.read()
		if err != nil {
			return nil, err
		}
		if r.header {
			r.header = false
			continue
		}
		if len(rec) == 0 || r.cut == cutJSONLines && len(bytes.TrimSpace(rec)) == 0 {
			r.blank++
			continue
		}
		return rec, nil
	}
}

// Blank is the number of blank lines passed over so far.
func (r *Reader) Blank() int64 { return r.blank }

// Line is the line on which the last record begins; lines count from 1.
func (r *Reader) Line() int64 { return r.first }

// Buffered reports whether something of the input is in memory already. Where
// it is not, the next call of Next may wait for whoever writes the input.
func (r *Reader) Buffered() bool { return len(r.rest) > 0 || r.buf.Buffered() > 0 }

// Close closes the file.
func (r *Reader) Close() error {
	var errs []error
	for i := len(r.closers) - 1; i >= 0; i-- {
		errs = append(errs, r.closers[i].Close())
	}
	r.closers = nil
	return errors.Join(errs...)
}

func (r *Reader) read() ([]byte, error) {
	r.rec = r.rec[:0]
	switch r.cut {
	case cutQuoted:
		return r.readQuoted()
	case cutDocuments:
		return r.readDocument()
	}
	return r.readLine()
}

func (r *Reader) fail(line int64, format string, args ...any) error {
	return &Error{File: r.name, Line: line, Err: fmt.Errorf(format, args...)}
}

func (r *Reader) tooLong(line int64) error {
	return r.fail(line, "a record may have at most %d bytes", ingest.MaxRecordBytes)
}

// appendLine appends the next line to r.rec, its newline included if it has
// one. At the end of the input it is io.EOF and appends nothing.
func (r *Reader) appendLine() error {
	started := false
	for {
		part, err := r.buf.ReadSlice('\n')
		if len(part) > 0 {
			if !started {
				r.line++
				started = true
			}
			r.rec = append(r.rec, part...)
			// Two bytes more than a record may have: the line ending is not of it.
			if len(r.rec) > ingest.MaxRecordBytes+2 {
				return r.tooLong(r.line)
			}
		}
		switch {
		case err == nil || err == io.EOF && started:
			return nil
		case errors.Is(err, bufio.ErrBufferFull):
		case err == io.EOF:
			return io.EOF
		default:
			return r.fail(r.line+1, "%w", cause(err))
		}
	}
}

// withoutEnding cuts the line ending off, with as many carriage returns as
// careless conversions have put there.
func withoutEnding(b []byte) []byte {
	return bytes.TrimRight(bytes.TrimSuffix(b, []byte{'\n'}), "\r")
}

func (r *Reader) readLine() ([]byte, error) {
	if err := r.appendLine(); err != nil {
		return nil, err
	}
	r.first = r.line
	rec := withoutEnding(r.rec)
	if len(rec) > ingest.MaxRecordBytes {
		return nil, r.tooLong(r.line)
	}
	if r.cut == cutJSONLines && len(rec) < len(r.rec) {
		// A document that goes on in the next line: the service would pass over
		// each of its lines without a word.
		var scan documentScan
		if scan.feed(rec); scan.open() {
			return nil, r.fail(r.line, "a json record is one line and must not hold a newline; use the format multijson for documents of several lines")
		}
	}
	return rec, nil
}

func (r *Reader) readQuoted() ([]byte, error) {
	inside := false
	for {
		from := len(r.rec)
		err := r.appendLine()
		if err == io.EOF && from > 0 {
			return nil, r.fail(r.first, "a double quote is opened and never closed")
		}
		if err != nil {
			return nil, err
		}
		if from == 0 {
			r.first = r.line
		}
		// A doubled quote inside a field leaves and enters it again, so counting
		// quotes is enough.
		if bytes.Count(r.rec[from:], []byte{'"'})%2 != 0 {
			inside = !inside
		}
		if !inside {
			break
		}
	}
	rec := withoutEnding(r.rec)
	if len(rec) > ingest.MaxRecordBytes {
		return nil, r.tooLong(r.first)
	}
	return rec, nil
}

// passByteOrderMark drops a UTF-8 byte order mark before text, and refuses
// the other Unicode encodings that announce themselves.
func (r *Reader) passByteOrderMark() error {
	// A read error shows again, with its place, at the first record.
	head, _ := r.buf.Peek(3)
	switch {
	case bytes.HasPrefix(head, []byte("\xef\xbb\xbf")):
		_, err := r.buf.Discard(3)
		return err
	case bytes.HasPrefix(head, []byte("\xff\xfe")), bytes.HasPrefix(head, []byte("\xfe\xff")):
		return r.fail(1, "is UTF-16; text must be UTF-8")
	}
	return nil
}

package record

import (
	"bytes"
	"fmt"
)

// MaxBytes is the largest record the service takes (protocol reference
// section 13).
const MaxBytes = 64 << 20

// Cut is how records stand one after the other.
type Cut uint8

// The ways of cutting; the package comment says what each means.
const (
	Lines Cut = iota + 1
	QuotedLines
	JSONLines
	Documents
)

// Rule says what a record of one format is.
type Rule struct {
	Cut Cut
	// Comma ends a field of QuotedLines.
	Comma byte
	// Unchecked takes every line of JSONLines, and what looks like an object of
	// Documents, without looking into it.
	Unchecked bool
}

// Fault says why bytes are no record.
type Fault struct {
	Rule string // what a record must be, and is not
	// Hint says what would take the bytes as they are; often empty.
	Hint string
	// Fatal: the end of the record is not known, and nothing behind it can be cut.
	Fatal bool
}

// Error is the rule, and the hint behind it.
func (f *Fault) Error() string {
	if f.Hint == "" {
		return f.Rule
	}
	return f.Rule + "; " + f.Hint
}

var (
	faultEmpty     = &Fault{Rule: "a record must not be empty"}
	faultQuote     = &Fault{Rule: "a double quote is opened and never closed"}
	faultNewline   = &Fault{Rule: "a record is one line and must not hold a newline; pass one record a request"}
	faultUnclosed  = &Fault{Rule: "the document is never closed"}
	faultArrayOpen = &Fault{Rule: "the array is never closed"}
	faultArray     = &Fault{Rule: "an array holds objects with one comma between each two"}
	faultDocument  = &Fault{Rule: "a multijson record must be a JSON object"}
	faultSeveral   = &Fault{Rule: "a record is one document; pass one record a request"}
)

func tooLong(limit int) *Fault {
	return &Fault{Rule: fmt.Sprintf("a record may have at most %d bytes", limit), Fatal: true}
}

var mark = []byte("\xef\xbb\xbf")

// withoutMarks cuts byte order marks off the front.
func withoutMarks(b []byte) []byte {
	for bytes.HasPrefix(b, mark) {
		b = b[len(mark):]
	}
	return b
}

// withoutEnding cuts the line ending off. Of several carriage returns none is
// cut: the service takes the last one for part of the line ending, whoever
// wrote it, so the others are data and the last one protects them.
func withoutEnding(b []byte) []byte {
	b = bytes.TrimSuffix(b, []byte{'\n'})
	if n := len(b); n > 0 && b[n-1] == '\r' && (n == 1 || b[n-2] != '\r') {
		b = b[:n-1]
	}
	return b
}

// blank reports whether a line holds nothing.
func (r Rule) blank(line []byte) bool {
	if r.Cut == JSONLines {
		return skipSpace(line, 0) == len(line)
	}
	for _, c := range line {
		if c != '\r' {
			return false
		}
	}
	return true
}

// Check is for a single record that a caller gives, with or without its line
// ending: it returns what to store of it, which shares memory with data, or a
// [*Fault]. What passes stays as it is when it is checked again. For Documents
// a record may also be an array of objects.
func (r Rule) Check(data []byte) ([]byte, error) {
	data = withoutMarks(data)
	if r.Cut == Documents {
		data = bytes.Trim(data, " \t\r\n")
	} else {
		data = withoutEnding(data)
	}
	if len(data) > MaxBytes {
		return nil, tooLong(MaxBytes)
	}
	if r.blank(data) {
		return nil, faultEmpty
	}
	var f *Fault
	switch r.Cut {
	case Documents:
		if !r.Unchecked {
			f = checkDocument(data)
		}
	case QuotedLines:
		if bytes.IndexByte(data, '"') < 0 {
			f = oneLine(data)
			break
		}
		q := quoting{comma: r.Comma}
		if end := q.lineEnd(data); end >= 0 {
			f = faultNewline
		} else if q.state == inQuotes {
			f = faultQuote
		}
	case JSONLines:
		if r.Unchecked {
			f = oneLine(data)
		} else if !isObject(data) {
			if f = jsonFault(data, 0); oneLine(data) != nil && isDocuments(data) && data[0] == '{' {
				f = faultNewline // several records
			}
		} else if oneLine(data) != nil {
			f = faultLines
		}
	default:
		f = oneLine(data)
	}
	if f != nil {
		return nil, f
	}
	return data, nil
}

func oneLine(data []byte) *Fault {
	if bytes.IndexByte(data, '\n') >= 0 {
		return faultNewline
	}
	return nil
}

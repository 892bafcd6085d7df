package record

import "bytes"

// Kind is what a piece of an input is.
type Kind uint8

// The kinds. Blank is a line with nothing on it, or an array without an element.
const (
	Good Kind = iota + 1
	Blank
	Bad
)

// Piece is what a Cutter cuts off.
type Piece struct {
	Kind Kind
	// Data is the record without line ending and byte order mark, or the bytes
	// that are none; nothing for a Blank and for what was too long.
	Data []byte
	// Line is the line on which it begins, from 1. Fault says of a Bad one why.
	Line  int64
	Fault *Fault
	// Marked: a byte order mark was cut away in front of it.
	Marked bool

	from int // where in the buffer it begins, behind white space and punctuation
}

// Cutter finds the ends of records in bytes that come piece by piece. Its zero
// value with a Rule is ready.
type Cutter struct {
	Rule Rule
	// Max bounds a record; 0 is MaxBytes.
	Max int
	// Prompt: a line that is no JSON object is given out without waiting for the
	// byte behind it, which may be long in coming and would say whether the
	// format multijson would take it.
	Prompt bool

	lines  int64 // passed
	at     int   // of a line: how far it was looked at
	marked bool
	quotes quoting

	// Of Documents:
	array        arrayState
	within       bool // a document has begun, and the buffer begins with it
	line         bool // it is none, and ends with its line
	missingComma bool
	brackets     brackets
}

func (c *Cutter) max() int {
	if c.Max > 0 {
		return c.Max
	}
	return MaxBytes
}

// Cut looks at b, which holds what has been read behind the last piece, and
// cuts the next piece off. end says that nothing follows b. n bytes of b are
// done with and not to be shown again, ok or not. Without ok there is no piece
// in b yet; and none at all if end is set. A piece with a Fatal fault is the
// last one. p.Data is part of b.
func (c *Cutter) Cut(b []byte, end bool) (n int, p Piece, ok bool) {
	if c.Rule.Cut == Documents {
		n, p, ok = c.document(b, end)
	} else {
		n, p, ok = c.cutLine(b, end)
	}
	if ok {
		p.Line = c.lines + 1
		if p.from > 0 {
			p.Line += int64(bytes.Count(b[:p.from], newline))
		}
		p.Marked, c.marked, p.from = c.marked, false, 0
	} else if len(b)-n > c.max()+len("\r\n") {
		p = Piece{Kind: Bad, Line: c.lines + 1 + int64(bytes.Count(b[:n], newline)), Fault: tooLong(c.max())}
		return n, p, true
	}
	c.lines += int64(bytes.Count(b[:n], newline))
	return n, p, ok
}

var newline = []byte{'\n'}

// markAt is the length of the byte order marks at the front of b; wait where
// more has to be seen for that.
func markAt(b []byte, end bool) (n int, wait bool) {
	n = len(b) - len(withoutMarks(b))
	rest := b[n:]
	return n, !end && len(rest) > 0 && len(rest) < len(mark) && bytes.HasPrefix(mark, rest)
}

// lineIndex looks on from *at for a newline; -1 where b has none.
func lineIndex(b []byte, at *int) int {
	i := bytes.IndexByte(b[*at:], '\n')
	if i < 0 {
		*at = len(b)
		return -1
	}
	*at += i
	return *at
}

func (c *Cutter) cutLine(b []byte, end bool) (n int, p Piece, ok bool) {
	if c.at == 0 && len(b) > 0 && b[0] == mark[0] {
		cut, wait := markAt(b, end)
		if wait {
			return 0, Piece{}, false
		}
		if cut > 0 {
			c.marked = true
			n, p, ok = c.cutLine(b[cut:], end)
			return n + cut, p, ok
		}
	}
	stop := -1
	if c.Rule.Cut == QuotedLines {
		c.quotes.comma = c.Rule.Comma
		stop = c.quotes.lineEnd(b)
		c.at = c.quotes.at
	} else {
		stop = lineIndex(b, &c.at)
	}
	if stop < 0 {
		open := c.Rule.Cut == QuotedLines && c.quotes.state == inQuotes
		switch {
		case open && (end || len(b) > c.max()+len("\r\n")):
			// What follows the line with the quote is cut anew.
			stop = bytes.IndexByte(b, '\n')
			if stop < 0 && !end {
				return 0, Piece{}, false // too long
			}
			n = stop + 1
			if stop < 0 {
				n = len(b)
			}
			c.restart()
			return n, Piece{Kind: Bad, Data: withoutEnding(b[:n]), Fault: faultQuote}, true
		case !end || len(b) == 0:
			return 0, Piece{}, false
		}
		stop = len(b)
	}
	n = min(stop+1, len(b))
	line := withoutEnding(b[:n])
	p = Piece{Kind: Good, Data: line}
	switch {
	case len(line) > c.max():
		p = Piece{Kind: Bad, Fault: tooLong(c.max())}
	case c.Rule.Cut == JSONLines && !c.Rule.Unchecked && isObject(line):
	case c.Rule.blank(line):
		p = Piece{Kind: Blank}
	case c.Rule.Cut == JSONLines && !c.Rule.Unchecked:
		next := byte(0)
		if n < len(b) {
			next = b[n]
		} else if !end && !c.Prompt && needsNext(line) {
			c.at = stop
			return 0, Piece{}, false
		}
		p.Kind, p.Fault = Bad, jsonFault(line, next)
	}
	c.restart()
	return n, p, true
}

func (c *Cutter) restart() {
	c.at = 0
	c.quotes = quoting{}
}

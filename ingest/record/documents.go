package record

// brackets follows the brackets and strings of JSON text and nothing else, to
// find the end of an object that may be malformed.
type brackets struct {
	at      int // how far the text was looked at
	depth   int
	inside  bool // a string
	escaped bool // the next byte belongs to an escape
	value   bool // an element of an array: it ends before a comma, or the array's bracket
}

// end looks on from t.at and returns the index behind the last bracket, or
// behind the element; -1 where b does not hold it.
func (t *brackets) end(b []byte) int {
	for ; t.at < len(b); t.at++ {
		c := b[t.at]
		if t.inside {
			switch {
			case t.escaped:
				t.escaped = false
			case c == '\\':
				t.escaped = true
			case c == '"':
				t.inside = false
			}
			continue
		}
		switch c {
		case '"':
			t.inside = true
		case '{', '[':
			t.depth++
		case ',':
			if t.value && t.depth == 0 {
				return t.at
			}
		case '}', ']':
			if t.value && t.depth == 0 {
				if c == ']' {
					return t.at
				}
				continue
			}
			if t.depth--; t.depth == 0 && !t.value {
				t.at++
				return t.at
			}
		}
	}
	return -1
}

type arrayState uint8

const (
	noArray     arrayState = iota
	firstInIt              // behind the opening bracket
	elementNext            // behind a comma
	behindOne              // behind an element
)

// document cuts the next object out of b.
func (c *Cutter) document(b []byte, end bool) (n int, p Piece, ok bool) {
	if c.within {
		return c.object(b, end)
	}
	i := 0
	for {
		i = skipSpace(b, i)
		if i < len(b) && b[i] == mark[0] && c.array == noArray {
			cut, wait := markAt(b[i:], end)
			if wait {
				return i, Piece{}, false
			}
			if c.marked = c.marked || cut > 0; cut > 0 {
				i += cut
				continue
			}
		}
		if i == len(b) {
			if end && c.array != noArray {
				c.array = noArray
				return i, Piece{Kind: Bad, Data: []byte{'['}, Fault: faultArrayOpen}, true
			}
			return i, Piece{}, false
		}
		switch ch := b[i]; {
		case ch == '[' && c.array == noArray:
			c.array = firstInIt
		case ch == ']' && c.array == firstInIt:
			c.array = noArray
			return i + 1, Piece{Kind: Blank, from: i}, true
		case ch == ']' && c.array == behindOne:
			c.array = noArray
		case ch == ']' && c.array == elementNext:
			c.array = noArray
			return i + 1, Piece{Kind: Bad, Data: b[i : i+1], Fault: faultArray, from: i}, true
		case ch == ',' && c.array == behindOne:
			c.array = elementNext
		case ch == ',' && c.array != noArray:
			c.array = elementNext
			return i + 1, Piece{Kind: Bad, Data: b[i : i+1], Fault: faultArray, from: i}, true
		case c.array == behindOne:
			c.missingComma = true
			fallthrough
		default:
			// A document, or what stands where one should.
			c.within = true
			c.brackets = brackets{value: c.array != noArray && ch != '{'}
			c.line = ch != '{' && c.array == noArray
			if n, p, ok = c.object(b[i:], end); ok {
				p.from += i
			}
			return n + i, p, ok
		}
		i++
	}
}

// object cuts a document that begins at b[0].
func (c *Cutter) object(b []byte, end bool) (n int, p Piece, ok bool) {
	stop := -1
	if c.line {
		stop = lineIndex(b, &c.brackets.at)
	} else {
		stop = c.brackets.end(b)
	}
	if stop < 0 {
		if !end {
			return 0, Piece{}, false
		}
		stop = len(b)
	}
	open := stop == len(b) && end && !c.line && (c.brackets.depth > 0 || c.brackets.inside)
	c.within = false
	if c.array != noArray {
		c.array = behindOne
	}
	comma := c.missingComma
	c.missingComma = false
	data := trimSpace(b[:stop])
	switch {
	case len(data) > c.max():
		return stop, Piece{Kind: Bad, Fault: tooLong(c.max())}, true
	case open:
		return stop, Piece{Kind: Bad, Data: data, Fault: faultUnclosed}, true
	case data[0] != '{':
		return stop, Piece{Kind: Bad, Data: data, Fault: faultDocument}, true
	case !c.Rule.Unchecked && !isObject(data):
		return stop, Piece{Kind: Bad, Data: data, Fault: malformedDocument(data)}, true
	case comma:
		return stop, Piece{Kind: Bad, Data: data, Fault: faultArray}, true
	}
	return stop, Piece{Kind: Good, Data: data}, true
}

func trimSpace(b []byte) []byte {
	for len(b) > 0 && skipSpace(b[len(b)-1:], 0) == 1 {
		b = b[:len(b)-1]
	}
	return b
}

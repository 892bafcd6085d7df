package record

import "bytes"

type quoteState uint8

const (
	recordStart quoteState = iota // only carriage returns were seen, which the service passes over here
	fieldStart
	inField
	inQuotes
	behindQuote // of a quoted field: the next byte says whether it was doubled
)

// quoting follows the quotes of one record of QuotedLines.
type quoting struct {
	comma byte
	state quoteState
	at    int // how far the record was looked at
}

// lineEnd looks on from q.at for the newline that ends the record; -1 where b
// does not hold it. Every byte is looked at a fixed number of times, however
// the record comes.
func (q *quoting) lineEnd(b []byte) int {
	newline := -2 // the next one at or behind q.at: not looked for yet; -1 where there is none
	for q.at < len(b) {
		switch q.state {
		case inQuotes:
			i := bytes.IndexByte(b[q.at:], '"')
			if i < 0 {
				q.at = len(b)
				return -1
			}
			q.at += i + 1
			q.state = behindQuote
			continue
		case behindQuote:
			if b[q.at] == '"' {
				q.at++
				q.state = inQuotes
				continue
			}
			q.state = inField
		}
		if newline == -2 || newline >= 0 && newline < q.at {
			if newline = bytes.IndexByte(b[q.at:], '\n'); newline >= 0 {
				newline += q.at
			}
		}
		rest := b[q.at:]
		if newline >= 0 {
			rest = b[q.at:newline]
		}
		quote := bytes.IndexByte(rest, '"')
		if quote < 0 {
			if newline >= 0 {
				q.at = newline
				return newline
			}
			q.advance(rest)
			return -1
		}
		q.advance(rest[:quote])
		if q.state == inField {
			q.at++
		} else {
			q.at++
			q.state = inQuotes
		}
	}
	return -1
}

// advance passes over bytes that hold neither quote nor newline.
func (q *quoting) advance(b []byte) {
	q.at += len(b)
	switch {
	case len(b) == 0:
	case b[len(b)-1] == q.comma:
		q.state = fieldStart
	case q.state == recordStart && len(bytes.TrimLeft(b, "\r")) == 0:
	default:
		q.state = inField
	}
}

package kusto

import (
	"html"
	"strconv"
	"strings"
	"unicode/utf8"
)

// spelling is a text whose escapes are being undone, with the place of each
// byte in the text as it was.
type spelling struct {
	b  []byte
	at []span
}

func newSpelling(text string) spelling {
	s := spelling{[]byte(text), make([]span, len(text))}
	for i := range s.at {
		s.at[i] = span{i, i + 1}
	}
	return s
}

func (s spelling) text() string { return string(s.b) }

// maxEscapes is how many times over a text may be escaped.
const maxEscapes = 4

// undone is the text without its escapes.
func undone(s spelling) spelling {
	for range maxEscapes {
		next, changed := s.undo()
		if !changed {
			break
		}
		s = next
	}
	return s
}

// letters is the letters and digits of the text, lower case.
func (s spelling) letters() spelling {
	out := spelling{s.b[:0], s.at[:0]}
	for i, c := range s.b {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' {
			out.b, out.at = append(out.b, c), append(out.at, s.at[i])
		}
	}
	return out
}

// undo undoes one layer of escapes.
func (s spelling) undo() (out spelling, changed bool) {
	out = spelling{make([]byte, 0, len(s.b)), make([]span, 0, len(s.at))}
	for i := 0; i < len(s.b); {
		r, n := escape(s.b[i:])
		if n == 0 {
			out.b, out.at = append(out.b, s.b[i]), append(out.at, s.at[i])
			i++
			continue
		}
		changed = true
		from := len(out.b)
		if r < 0x100 { // an escaped byte is that byte
			out.b = append(out.b, byte(r))
		} else {
			out.b = utf8.AppendRune(out.b, r)
		}
		for range len(out.b) - from {
			out.at = append(out.at, span{s.at[i].from, s.at[i+n-1].to})
		}
		i += n
	}
	return out, changed
}

// escape reads an escape that b begins with: the character and the bytes that
// it takes, 0 where there is none.
func escape(b []byte) (r rune, n int) {
	switch {
	case len(b) >= 3 && b[0] == '%':
		return digits(b, 1, 2)
	case len(b) >= 2 && b[0] == '\\':
		switch b[1] {
		case 'u':
			return digits(b, 2, 4)
		case 'U':
			return digits(b, 2, 8)
		case 'x':
			return digits(b, 2, 2)
		case 'n', 'r', 't', 'b', 'f', 'v', 'a':
			return ' ', 2
		case '\\', '/', '"', '\'':
			return rune(b[1]), 2
		}
	case len(b) >= 4 && b[0] == '&':
		head := string(b[:min(len(b), 12)])
		if end := strings.IndexByte(head, ';'); end > 0 {
			if text := html.UnescapeString(head[:end+1]); text != head[:end+1] && utf8.RuneCountInString(text) == 1 {
				r, _ := utf8.DecodeRuneInString(text)
				return r, end + 1
			}
		}
	}
	return 0, 0
}

// digits reads an escape of so many hexadecimal digits.
func digits(b []byte, from, count int) (rune, int) {
	if len(b) < from+count {
		return 0, 0
	}
	n, err := strconv.ParseUint(string(b[from:from+count]), 16, 32)
	if err != nil || n > utf8.MaxRune {
		return 0, 0
	}
	return rune(n), from + count
}

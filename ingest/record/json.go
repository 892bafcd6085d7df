package record

import (
	"encoding/binary"
	"math/bits"
)

// maxDepth is how deep JSON may be nested, as in encoding/json.
const maxDepth = 10_000

// stackBits is how many levels one call of valueEnd follows by itself.
const stackBits = 64

func skipSpace(s []byte, i int) int {
	for i < len(s) && (s[i] == ' ' || s[i] == '\n' || s[i] == '\r' || s[i] == '\t') {
		i++
	}
	return i
}

// isObject reports whether s is exactly one JSON object (RFC 8259), with or
// without white space around it. It allocates nothing.
func isObject(s []byte) bool {
	i := skipSpace(s, 0)
	if i == len(s) || s[i] != '{' {
		return false
	}
	end := valueEnd(s, i, 0)
	return end >= 0 && skipSpace(s, end) == len(s)
}

const (
	lows  = 0x0101010101010101
	highs = 0x8080808080808080
)

// stringEnd is the index behind the string whose first byte, behind the quote,
// is s[i]; -1 where it is none. Eight bytes are looked at in one step: a byte
// that is a quote, a backslash or a control character leaves its high bit in
// the mask, and the lowest such bit is never a false one.
func stringEnd(s []byte, i int) int {
	for {
		for {
			if len(s)-i < 8 {
				for ; ; i++ {
					if uint(i) >= uint(len(s)) {
						return -1
					}
					if c := s[i]; c == '"' || c == '\\' || c < 0x20 {
						break
					}
				}
				break
			}
			w := binary.LittleEndian.Uint64(s[i:])
			quote := w ^ lows*'"'
			slash := w ^ lows*'\\'
			m := ((quote-lows)&^quote | (slash-lows)&^slash | (w-lows*0x20)&^w) & highs
			if m != 0 {
				i += bits.TrailingZeros64(m) >> 3
				break
			}
			i += 8
		}
		if s[i] == '"' {
			return i + 1
		}
		if s[i] != '\\' {
			return -1
		}
		if i++; i == len(s) {
			return -1
		}
		switch s[i] {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		case 'u':
			if len(s)-i < 5 {
				return -1
			}
			for _, h := range s[i+1 : i+5] {
				if (h < '0' || h > '9') && (h|0x20 < 'a' || h|0x20 > 'f') {
					return -1
				}
			}
			i += 4
		default:
			return -1
		}
		i++
	}
}

// numberEnd is the index behind the number that begins at s[i]; -1 where none does.
func numberEnd(s []byte, i int) int {
	if s[i] == '-' {
		if i++; i == len(s) {
			return -1
		}
	}
	from := i
	for i < len(s) && s[i]-'0' <= 9 {
		i++
	}
	if i == from || s[from] == '0' && i > from+1 {
		return -1
	}
	if i < len(s) && s[i] == '.' {
		from = i + 1
		for i++; i < len(s) && s[i]-'0' <= 9; i++ {
		}
		if i == from {
			return -1
		}
	}
	if i < len(s) && s[i]|0x20 == 'e' {
		if i++; i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		from = i
		for i < len(s) && s[i]-'0' <= 9 {
			i++
		}
		if i == from {
			return -1
		}
	}
	return i
}

// valueEnd is the index behind the JSON value that begins at s[i]; -1 where
// none does. outer is how deep the value itself stands.
func valueEnd(s []byte, i, outer int) int {
	var objects uint64 // a bit for each open bracket, the innermost the lowest: set for {
	depth := 0
	for {
		// A value begins at s[i].
		if uint(i) >= uint(len(s)) {
			return -1
		}
		switch c := s[i]; c {
		case '"':
			if i = stringEnd(s, i+1); i < 0 {
				return -1
			}
		case '{', '[':
			if depth == stackBits {
				if i = valueEnd(s, i, outer+depth); i < 0 {
					return -1
				}
				break
			}
			if outer+depth == maxDepth {
				return -1
			}
			depth++
			objects <<= 1
			if i++; uint(i) < uint(len(s)) && s[i] <= ' ' {
				i = skipSpace(s, i)
			}
			if uint(i) >= uint(len(s)) {
				return -1
			}
			if c == '{' {
				objects |= 1
				if s[i] != '}' {
					goto member
				}
			} else if s[i] != ']' {
				continue
			}
			i++
			depth--
			objects >>= 1
		case 't':
			if len(s)-i < 4 || string(s[i:i+4]) != "true" {
				return -1
			}
			i += 4
		case 'f':
			if len(s)-i < 5 || string(s[i:i+5]) != "false" {
				return -1
			}
			i += 5
		case 'n':
			if len(s)-i < 4 || string(s[i:i+4]) != "null" {
				return -1
			}
			i += 4
		default:
			if i = numberEnd(s, i); i < 0 {
				return -1
			}
		}
		// A value ended before s[i].
		for {
			if depth == 0 {
				return i
			}
			if uint(i) < uint(len(s)) && s[i] <= ' ' {
				i = skipSpace(s, i)
			}
			if uint(i) >= uint(len(s)) {
				return -1
			}
			c := s[i]
			i++
			if c == ',' {
				break
			}
			if objects&1 != 0 && c != '}' || objects&1 == 0 && c != ']' {
				return -1
			}
			depth--
			objects >>= 1
		}
		if uint(i) < uint(len(s)) && s[i] <= ' ' {
			i = skipSpace(s, i)
		}
		if objects&1 == 0 {
			continue
		}
	member:
		if uint(i) >= uint(len(s)) || s[i] != '"' {
			return -1
		}
		if i = stringEnd(s, i+1); i < 0 {
			return -1
		}
		if uint(i) < uint(len(s)) && s[i] <= ' ' {
			i = skipSpace(s, i)
		}
		if uint(i) >= uint(len(s)) || s[i] != ':' {
			return -1
		}
		if i++; uint(i) < uint(len(s)) && s[i] <= ' ' {
			i = skipSpace(s, i)
		}
	}
}

package parse

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"
)

// maxJSONDepth is the nesting encoding/json accepts.
const maxJSONDepth = 10_000

// member is one property of an object: the name, unquoted unless it has
// escapes, and the value as it stands.
type member struct {
	name  []byte
	value []byte
}

// document is an object's members in order. A name may stand twice; the last
// one counts.
type document []member

// get returns the value of a property, or nil.
func (d document) get(name string) []byte {
	for i := len(d) - 1; i >= 0; i-- {
		if string(d[i].name) == name {
			return d[i].value
		}
	}
	return nil
}

// scanObject appends the members of the object that is all of s; ok is false
// if s is not exactly one valid JSON object. With members nil and collect
// false it only validates. It exists because encoding/json validates at a
// tenth of the rate that blobs come in.
func scanObject(s []byte, members document, collect bool) (_ document, ok bool) {
	i := skipSpace(s, 0)
	if i == len(s) || s[i] != '{' {
		return members, false
	}
	if i = skipSpace(s, i+1); i < len(s) && s[i] == '}' {
		return members, skipSpace(s, i+1) == len(s)
	}
	for {
		start := i
		if i, ok = skipString(s, i); !ok {
			return members, false
		}
		name := s[start+1 : i-1]
		if i = skipSpace(s, i); i == len(s) || s[i] != ':' {
			return members, false
		}
		start = skipSpace(s, i+1)
		if i, ok = skipValue(s, start, 1); !ok {
			return members, false
		}
		if collect {
			members = append(members, member{unescaped(name), s[start:i]})
		}
		if i = skipSpace(s, i); i == len(s) {
			return members, false
		}
		if s[i] == '}' {
			return members, skipSpace(s, i+1) == len(s)
		}
		if s[i] != ',' {
			return members, false
		}
		i = skipSpace(s, i+1)
	}
}

func unescaped(name []byte) []byte {
	if bytes.IndexByte(name, '\\') < 0 && utf8.Valid(name) {
		return name
	}
	var text string
	if json.Unmarshal(append(append([]byte{'"'}, name...), '"'), &text) != nil {
		return name
	}
	return []byte(text)
}

func skipSpace(s []byte, i int) int {
	for i < len(s) && (s[i] == ' ' || s[i] == '\n' || s[i] == '\r' || s[i] == '\t') {
		i++
	}
	return i
}

// skipString returns the index behind the string that begins at i.
func skipString(s []byte, i int) (int, bool) {
	if i >= len(s) || s[i] != '"' {
		return i, false
	}
	for i++; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return i + 1, true
		case c < 0x20:
			return i, false
		case c == '\\':
			i++
			if i == len(s) {
				return i, false
			}
			switch s[i] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				if i+4 >= len(s) {
					return i, false
				}
				for _, h := range s[i+1 : i+5] {
					if (h < '0' || h > '9') && (h|0x20 < 'a' || h|0x20 > 'f') {
						return i, false
					}
				}
				i += 4
			default:
				return i, false
			}
		}
	}
	return i, false
}

// skipValue returns the index behind the value that begins at i.
func skipValue(s []byte, i, depth int) (int, bool) {
	if i >= len(s) || depth > maxJSONDepth {
		return i, false
	}
	switch s[i] {
	case '"':
		return skipString(s, i)
	case '{', '[':
		return skipNested(s, i, depth)
	case 't':
		return skipWord(s, i, "true")
	case 'f':
		return skipWord(s, i, "false")
	case 'n':
		return skipWord(s, i, "null")
	default:
		return skipNumber(s, i)
	}
}

func skipWord(s []byte, i int, word string) (int, bool) {
	end := i + len(word)
	return end, end <= len(s) && string(s[i:end]) == word
}

func skipNested(s []byte, i, depth int) (int, bool) {
	object := s[i] == '{'
	closing := byte(']')
	if object {
		closing = '}'
	}
	if i = skipSpace(s, i+1); i < len(s) && s[i] == closing {
		return i + 1, true
	}
	for {
		var ok bool
		if object {
			if i, ok = skipString(s, i); !ok {
				return i, false
			}
			if i = skipSpace(s, i); i == len(s) || s[i] != ':' {
				return i, false
			}
			i = skipSpace(s, i+1)
		}
		if i, ok = skipValue(s, i, depth+1); !ok {
			return i, false
		}
		if i = skipSpace(s, i); i == len(s) {
			return i, false
		}
		if s[i] == closing {
			return i + 1, true
		}
		if s[i] != ',' {
			return i, false
		}
		i = skipSpace(s, i+1)
	}
}

func skipNumber(s []byte, i int) (int, bool) {
	digits := func() bool {
		start := i
		for i < len(s) && s[i] >= '0' && s[i] <= '9' {
			i++
		}
		return i > start
	}
	if i < len(s) && s[i] == '-' {
		i++
	}
	switch {
	case i < len(s) && s[i] == '0':
		i++
	case !digits():
		return i, false
	}
	if i < len(s) && s[i] == '.' {
		i++
		if !digits() {
			return i, false
		}
	}
	if i < len(s) && s[i]|0x20 == 'e' {
		i++
		if i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		if !digits() {
			return i, false
		}
	}
	return i, true
}

// Package literals takes the string literals out of a Kusto command, so that a
// test can see whether what was put into one stayed there.
//
// It knows one rule of the language only: a literal begins with a single quote
// and ends with the next one that no backslash precedes, and holds no raw
// control character. It is written without regard to the code it tests.
package literals

import (
	"errors"
	"strconv"
	"strings"
)

// Split returns the command with ” in the place of each literal, and the
// literals' values. The error says that a literal does not end, holds a raw
// control character, or has a bad escape.
func Split(command string) (skeleton string, values []string, err error) {
	var out, lit strings.Builder
	inside := false
	for i := 0; i < len(command); i++ {
		c := command[i]
		switch {
		case !inside && c == '\'':
			inside = true
			lit.Reset()
		case !inside:
			out.WriteByte(c)
		case c == '\'':
			inside = false
			out.WriteString("''")
			values = append(values, lit.String())
		case c == '\\' && i+1 < len(command):
			i++
			switch command[i] {
			case 'n':
				lit.WriteByte('\n')
			case 'r':
				lit.WriteByte('\r')
			case 't':
				lit.WriteByte('\t')
			case 'u':
				if i+5 > len(command) {
					return "", nil, errors.New("a short escape")
				}
				n, err := strconv.ParseUint(command[i+1:i+5], 16, 32)
				if err != nil {
					return "", nil, errors.New("a bad escape")
				}
				lit.WriteRune(rune(n))
				i += 4
			default:
				lit.WriteByte(command[i])
			}
		case c < ' ':
			return "", nil, errors.New("a raw control character in a literal")
		default:
			lit.WriteByte(c)
		}
	}
	if inside {
		return "", nil, errors.New("a literal that does not end")
	}
	return out.String(), values, nil
}

// Package visible makes text from outside fit to be shown: the name of a file,
// the words of a service, a line of a lock file.
//
// # Promise
//
// What is not printable stands as an escape of JSON, \n, \u001b or \u202e: no text
// moves a cursor, clears a screen, begins a line of its own or turns the order
// of what is read. A byte that is no UTF-8 is \xff. Printable text of any script
// is left as it is, backslashes included. JSON that [Lines] went over is the
// same JSON.
//
// # What it does not do
//
// It cuts nothing, takes out no secret, and does not tell letters that look alike.
package visible

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// String is s on one line. It is s itself where all of it can be seen.
func String(s string) string { return shown(s, false) }

// Lines is s with its line ends and tabulators, for text that is meant to have
// them.
func Lines(s string) string { return shown(s, true) }

func shown(s string, lines bool) string {
	if first := firstHidden(s, lines); first < len(s) {
		var b strings.Builder
		b.Grow(len(s) + 16)
		b.WriteString(s[:first])
		for i := first; i < len(s); {
			r, n := utf8.DecodeRuneInString(s[i:])
			switch {
			case r == utf8.RuneError && n == 1:
				b.WriteString(`\x`)
				b.WriteString(strconv.FormatUint(uint64(s[i]), 16)) // from 80 on: two digits
			case hidden(r, lines):
				escape(&b, r)
			default:
				b.WriteString(s[i : i+n])
			}
			i += n
		}
		return b.String()
	}
	return s
}

func escape(b *strings.Builder, r rune) {
	switch r {
	case '\n':
		b.WriteString(`\n`)
	case '\r':
		b.WriteString(`\r`)
	case '\t':
		b.WriteString(`\t`)
	default:
		if high, low := utf16.EncodeRune(r); high != utf8.RuneError {
			fmt.Fprintf(b, `\u%04x\u%04x`, high, low)
			return
		}
		fmt.Fprintf(b, `\u%04x`, r)
	}
}

// firstHidden is where the first of what cannot be seen is, or the end.
func firstHidden(s string, lines bool) int {
	for i := 0; i < len(s); {
		r, n := rune(s[i]), 1
		if r >= utf8.RuneSelf {
			r, n = utf8.DecodeRuneInString(s[i:])
		}
		if r == utf8.RuneError && n == 1 || hidden(r, lines) {
			return i
		}
		i += n
	}
	return len(s)
}

func hidden(r rune, lines bool) bool {
	return !strconv.IsPrint(r) && !(lines && (r == '\n' || r == '\t')) || unicode.Is(unicode.Bidi_Control, r)
}

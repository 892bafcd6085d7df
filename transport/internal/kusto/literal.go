package kusto

import (
	"fmt"
	"strings"
)

// Literal is s as a Kusto string literal. Quote and backslash are escaped, and
// so is every control character: a raw newline would end the literal.
func Literal(s string) string {
	var b strings.Builder
	b.Grow(len(s) + 2)
	b.WriteByte('\'')
	for _, r := range s {
		switch {
		case r == '\\' || r == '\'' || r == '"':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < ' ', r == 0x7f, r >= 0x80 && r < 0xa0, r == 0x2028, r == 0x2029:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r) // an invalid byte becomes U+FFFD
		}
	}
	b.WriteByte('\'')
	return b.String()
}

// Entity is the name of a table or column in a command: the bracketed form
// takes any name.
func Entity(name string) string { return "[" + Literal(name) + "]" }

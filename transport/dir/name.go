package dir

import (
	"crypto/sha256"
	"fmt"
	"strings"
)

// maxPathName is the longest path element that PathName makes: two of them
// and a batch's name leave room for a root under the 260 characters that many
// Windows programs still keep to.
const maxPathName = 64

const upperHex = "0123456789ABCDEF"

// PathName is the directory of a database or table name. ASCII letters,
// digits, "_", "-" and inner points stand for themselves; every other byte is
// %XX, as in a URL path, and so is the first letter of a name that Windows
// keeps for a device. Where the result is longer than 64 bytes it is cut and
// ends in "~" and 16 hexadecimal digits of the name's SHA-256. Different names
// have different results, and no result leaves its directory.
func PathName(name string) string {
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		switch {
		case i == 0 && reserved(name):
			escape(&b, c)
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-':
			b.WriteByte(c)
		case c == '.' && i > 0 && i < len(name)-1:
			b.WriteByte(c)
		default:
			escape(&b, c)
		}
	}
	if b.Len() == 0 {
		return "%"
	}
	if b.Len() <= maxPathName {
		return b.String()
	}
	sum := sha256.Sum256([]byte(name))
	return fmt.Sprintf("%s~%x", b.String()[:maxPathName-17], sum[:8])
}

func escape(b *strings.Builder, c byte) {
	b.WriteByte('%')
	b.WriteByte(upperHex[c>>4])
	b.WriteByte(upperHex[c&15])
}

// reserved reports whether Windows takes a name for a device: with any
// extension, in any case.
func reserved(name string) bool {
	stem, _, _ := strings.Cut(strings.ToUpper(name), ".")
	switch stem {
	case "CON", "PRN", "AUX", "NUL":
		return true
	}
	return len(stem) == 4 && (stem[:3] == "COM" || stem[:3] == "LPT") && stem[3] >= '0' && stem[3] <= '9'
}

package progress

import (
	"html"
	"regexp"
	"strings"
	"unicode"
)

var (
	// markup begins what a proxy or a gateway says instead of the service.
	markup   = regexp.MustCompile(`(?i)<(!doctype|html|head|body|title|center|div|h[1-6]|p|br|hr|pre)\b`)
	unspoken = regexp.MustCompile(`(?is)<(script|style)\b.*?(</(script|style)\s*>|$)|<!--.*?(-->|$)`)
	tag      = regexp.MustCompile(`<[!/?a-zA-Z][^>]*(>|$)`)

	requestID = regexp.MustCompile(`(?i)\s*\(request [^)]*(\)|$)|\b(x-ms-)?(client-?)?(request|activity|correlation)[-_ ]?id\b['"]?\s*[:=]\s*[^\s,;)]+`)
)

// Clean makes one line of plain text out of what a server said: white space is
// one blank, control characters and direction marks are gone, and of HTML the
// words are left.
func Clean(s string) string {
	if markup.MatchString(s) {
		s = unspoken.ReplaceAllString(s, " ")
		s = tag.ReplaceAllString(s, " ")
		s = html.UnescapeString(s)
	}
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r), unicode.IsControl(r), r == unicode.ReplacementChar:
			return ' '
		case unicode.Is(unicode.Cf, r), unicode.Is(unicode.Zl, r), unicode.Is(unicode.Zp, r):
			return -1
		}
		return r
	}, s)
	return strings.Join(strings.Fields(s), " ")
}

// plain is Clean without the ids of requests, which are another one for each
// attempt and no news.
func plain(s string) string { return Clean(requestID.ReplaceAllString(Clean(s), "")) }

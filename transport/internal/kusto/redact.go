package kusto

import (
	"regexp"
	"strings"
	"unicode/utf8"

	"kustospool/ingest"
	"kustospool/internal/visible"
)

// maxMessage bounds how much of a service's words an error keeps, in bytes.
const maxMessage = 1024

const removed = "REDACTED"

var (
	// A query string is where a SAS travels; nothing in it helps an operator.
	urlQuery = regexp.MustCompile(`(?i)(\b[a-z][a-z0-9+.-]*://[^\s"'<>?#]*)[?#][^\s"'<>]*`)
	// Credential suffixes of a storage URI (protocol reference section 4.5).
	uriSuffix = regexp.MustCompile(`(?i)(;\s*(?:token|sharedkey|awscredentials)=)[^\s"'<>]+`)
	// Whatever else stands behind a semicolon of a URI, an account key say; the
	// two forms of access that are no secret stay.
	keySuffix = regexp.MustCompile(`(?i)\b[a-z][a-z0-9+.-]*://[^\s"'<>;?#]*;[^\s"'<>]+`)
	// Parameters of a SAS or a connection string that lost their URL.
	parameter = regexp.MustCompile(`(?i)((?:^|[^a-z])(?:sig|signature|accountkey|sharedaccesssignature|sharedaccesskey|password|client_secret|access_token|refresh_token)["']?\s*(?:[=:]|%3[dD]|\\u003[dD])\s*["']?)[^\s"'&;,<>]+`)
	bearer    = regexp.MustCompile(`(?i)(\bbearer\s+)[a-z0-9._~+/=-]+`)
	jwt       = regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*)*`)
	context64 = regexp.MustCompile(`(?i)(authorizationcontext\W{1,6})[^\s"'<>,}]+`)
)

// Redact takes out of a text each of the known secrets, and whatever looks like
// one: query strings of URLs, SAS signatures, keys, bearer and JSON web tokens.
// What is left names hosts and paths only.
func (s *Secrets) Redact(text string) string {
	var b strings.Builder
	at := 0
	for _, f := range s.find(text) {
		b.WriteString(text[at:f.from])
		b.WriteString(removed)
		at = f.to
	}
	return redactShapes(b.String() + text[at:])
}

// Redact is that of a client that knows no secret.
func Redact(text string) string { return (*Secrets)(nil).Redact(text) }

// redactShapes takes out what looks like a secret.
func redactShapes(text string) string {
	text = urlQuery.ReplaceAllString(text, "${1}?"+removed)
	text = uriSuffix.ReplaceAllString(text, "${1}"+removed)
	text = keySuffix.ReplaceAllStringFunc(text, func(uri string) string {
		at := strings.IndexByte(uri, ';') + 1
		if ingest.IsAccess(strings.TrimRight(uri[at:], ".,:;)")) || strings.HasSuffix(uri, "="+removed) {
			return uri
		}
		return uri[:at] + removed
	})
	text = parameter.ReplaceAllString(text, "${1}"+removed)
	text = bearer.ReplaceAllString(text, "${1}"+removed)
	text = context64.ReplaceAllString(text, "${1}"+removed)
	return jwt.ReplaceAllString(text, removed)
}

// Words makes somebody else's text fit for an error: redacted, on one line, with
// all that it holds visible, bounded. Redaction comes before the cut, so that a
// secret cannot be cut into something that no longer looks like one.
func (s *Secrets) Words(text string) string {
	const most = 16 * maxMessage
	longer := len(text) > most
	if longer {
		text = text[:most]
	}
	text = s.Redact(strings.ToValidUTF8(text, "\uFFFD"))
	if longer { // the last of it may be the beginning of a secret
		text = text[:max(len(text)-leastTail, 0)]
	}
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == ' ' || r >= '\t' && r <= '\r' }), " ")
	return bound(visible.String(text), maxMessage)
}

// Words is that of a client that knows no secret.
func Words(text string) string { return (*Secrets)(nil).Words(text) }

// leastTail is more than the beginning of a secret may have that is not found
// as a piece of it.
const leastTail = 8 * (leastPiece + gramBytes)

// bound cuts a text to n bytes at a rune's start.
func bound(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "..."
}

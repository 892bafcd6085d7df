package kusto

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"kustospool/ingest"
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
	parameter = regexp.MustCompile(`(?i)((?:^|[^a-z])(?:sig|signature|accountkey|sharedaccesssignature|sharedaccesskey|password|client_secret|access_token|refresh_token)["']?\s*[=:]\s*["']?)[^\s"'&;,<>]+`)
	bearer    = regexp.MustCompile(`(?i)(\bbearer\s+)[a-z0-9._~+/=-]+`)
	jwt       = regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*)*`)
	context64 = regexp.MustCompile(`(?i)(authorizationcontext\W{1,6})[^\s"'<>,}]+`)
)

// Redact takes out of a text whatever looks like a secret: query strings of
// URLs, SAS signatures, keys, bearer and JSON web tokens, and each of the
// known secrets. What is left names hosts and paths only.
func Redact(text string, known ...string) string {
	for _, k := range known {
		if len(k) >= 4 {
			text = strings.ReplaceAll(text, k, removed)
		}
	}
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

// Words makes somebody else's text fit for an error: redacted, on one line,
// bounded. Redaction comes before the cut, so that a secret cannot be cut into
// something that no longer looks like one.
func Words(text string, known ...string) string {
	if len(text) > 16*maxMessage {
		text = text[:16*maxMessage]
	}
	text = Redact(strings.ToValidUTF8(text, "\uFFFD"), known...)
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
	return bound(text, maxMessage)
}

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

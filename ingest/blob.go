package ingest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"strings"
	"unicode/utf8"
)

// MaxBlobURIBytes bounds the address of a blob.
const MaxBlobURIBytes = 4 << 10

// Blob is data that is in storage already, for the service to fetch from
// there. It is what a request of [Properties.ByReference] holds.
type Blob struct {
	// URI is the blob's address (protocol reference section 4.5): https, or
	// abfss or adl; http for this machine only. Behind it may stand how the
	// service gets access without a secret: ";impersonate",
	// ";managed_identity=system" or ";managed_identity=<object id>".
	//
	// It is written to disk, so it must not hold a secret: a query (but for
	// snapshot and versionid), a token or a key is refused. [CutBlobSecret]
	// takes one off, and the transport is told where to have it from when it
	// sends. A URI with neither is of a blob that everybody may read.
	URI string `json:"uri"`
	// RawSize is the size of the data before compression, in bytes; 0 where it
	// is not known.
	RawSize int64 `json:"rawSize,omitempty"`
}

// Validate checks every rule. The error is a [FieldError] and repeats nothing
// of the URI but host and path.
func (b Blob) Validate() error {
	bad := func(rule string) error {
		return &FieldError{Field: "blob", Value: shownBlob(b.URI), Rule: rule}
	}
	address, access := cutAccess(b.URI)
	u, err := url.Parse(address)
	switch {
	case len(b.URI) > MaxBlobURIBytes:
		return &FieldError{Field: "blob", Value: fmt.Sprintf("of %d bytes", len(b.URI)), Rule: fmt.Sprintf("must have at most %d bytes", MaxBlobURIBytes)}
	case !utf8.ValidString(b.URI) || err != nil || u.Opaque != "" || u.Hostname() == "":
		return bad("must be a URI such as https://account.blob.core.windows.net/container/name.csv.gz")
	case access != "" && !IsAccess(access):
		return bad(`must end in nothing, ";impersonate", ";managed_identity=system" or ";managed_identity=<object id>"; ` + secretElsewhere)
	case !keepsQuery(u):
		return bad("must have no query but snapshot and versionid; " + secretElsewhere)
	case u.Fragment != "":
		return bad("must have no fragment; a # in a name is written %23")
	case !knownUser(u):
		return bad("must hold no user name and no password")
	case strings.Trim(u.Path, "/") == "" || strings.HasSuffix(u.Path, "/"):
		return bad("must name a blob, not a host or a folder")
	}
	switch u.Scheme {
	case "https", "abfss", "adl":
	case "http":
		if !IsLoopback(u.Hostname()) {
			return bad("must be https; plain http is for this machine only")
		}
	default:
		return bad("must begin with https://, abfss:// or adl://")
	}
	if b.RawSize < 0 {
		return &FieldError{Field: "raw size", Value: fmt.Sprint(b.RawSize), Rule: "must not be negative"}
	}
	return nil
}

// secretElsewhere ends the rules that a secret breaks.
const secretElsewhere = "a secret (SAS, token, key) is never stored: cut it off (CutBlobSecret) and let the transport's BlobSecret supply it"

// Record is the blob as a request's Data. The error is Validate's.
func (b Blob) Record() ([]byte, error) {
	if err := b.Validate(); err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(b); err != nil {
		return nil, &FieldError{Field: "blob", Rule: "must be valid text"}
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte{'\n'}), nil
}

// ParseBlob reads what [Blob.Record] writes. Anything else is an error that
// matches [ErrInvalid].
func ParseBlob(record []byte) (Blob, error) {
	var b Blob
	dec := json.NewDecoder(bytes.NewReader(record))
	dec.DisallowUnknownFields()
	// A decoder's own words repeat what it read, which may be a secret.
	if len(record) > 2*MaxBlobURIBytes || dec.Decode(&b) != nil || dec.More() {
		return Blob{}, &FieldError{Field: "data", Rule: `must be a blob's reference, such as {"uri":"https://account.blob.core.windows.net/container/name.csv"}; see Blob.Record`}
	}
	if err := b.Validate(); err != nil {
		return Blob{}, err
	}
	return b, nil
}

// CutBlobSecret takes what is secret off a blob's URI: a SAS, or whatever else
// stands in its query, a token or a key behind a semicolon. plain is fit for
// [Blob.URI], and secret for a transport's BlobSecret to return; secret is
// empty where there is none.
func CutBlobSecret(uri string) (plain, secret string) {
	address, access := cutAccess(uri)
	if access != "" && !IsAccess(access) {
		secret, access = ";"+access, ""
	}
	address, query, _ := strings.Cut(address, "?")
	var kept, cut []string
	for part := range strings.SplitSeq(query, "&") {
		switch name, _, _ := strings.Cut(part, "="); {
		case part == "":
		case publicQuery(name):
			kept = append(kept, part)
		default:
			cut = append(cut, part)
		}
	}
	if len(kept) > 0 {
		address += "?" + strings.Join(kept, "&")
	}
	if len(cut) > 0 {
		secret = "?" + strings.Join(cut, "&") + secret
	}
	if access != "" {
		address += ";" + access
	}
	return address, secret
}

// IsAccess reports whether text says, without a secret, how the service gets
// access to storage: "impersonate", "managed_identity=system" or
// "managed_identity=<object id>" (protocol reference section 4.5).
func IsAccess(text string) bool {
	if text == "impersonate" {
		return true
	}
	id, ok := strings.CutPrefix(text, "managed_identity=")
	return ok && id != "" && len(id) <= 64 && !strings.ContainsFunc(id, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-')
	})
}

// Access is what stands behind the semicolon of the URI, empty for nothing.
func (b Blob) Access() string {
	_, access := cutAccess(b.URI)
	return access
}

// cutAccess cuts at the first semicolon: in a blob's name one is written %3B.
func cutAccess(uri string) (address, access string) {
	address, access, _ = strings.Cut(uri, ";")
	return address, access
}

// publicQuery: which version of a blob is meant is no secret.
func publicQuery(name string) bool { return name == "snapshot" || name == "versionid" }

// keepsQuery reports whether nothing is cut off a URI's query.
func keepsQuery(u *url.URL) bool {
	if u.RawQuery == "" {
		return !u.ForceQuery
	}
	for part := range strings.SplitSeq(u.RawQuery, "&") {
		if name, _, _ := strings.Cut(part, "="); !publicQuery(name) {
			return false
		}
	}
	return true
}

// knownUser: the user part of an abfss URI is its file system.
func knownUser(u *url.URL) bool {
	if u.User == nil {
		return true
	}
	_, password := u.User.Password()
	return u.Scheme == "abfss" && !password
}

// IsLoopback reports whether a host, without port, is this machine by its
// spelling alone: a loopback address, or "localhost", which the transports dial
// at those addresses without looking it up. Any other name, one under
// ".localhost" included, is what a resolver or a proxy makes of it, which
// proves nothing.
func IsLoopback(host string) bool {
	host = strings.Trim(host, "[]")
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// shownBlob is what of a URI may be repeated: scheme, host and path. Where that
// cannot be told, nothing.
func shownBlob(uri string) string {
	address, _ := cutAccess(uri)
	u, err := url.Parse(address)
	if err != nil || u.Opaque != "" {
		return ""
	}
	u = &url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	return quote(u.String())
}

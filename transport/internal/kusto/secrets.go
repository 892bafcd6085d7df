package kusto

import (
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"slices"
	"strings"
	"sync"

	"kustospool/ingest"
)

// Secrets knows the secrets that a client has in use, and takes them out of
// every text from outside before it is stored, logged, printed or returned. A
// service has been given them, or has given them, and may say them again,
// anywhere, for a reason or for none.
//
// A secret is found by its letters and digits alone, in any case, whatever
// stands between them: so as it is, in percent, JSON, HTML and Unicode escapes,
// several times over, and with blanks or line ends in it; and in base64 of
// either alphabet, alone or within more, and in hexadecimal digits. Of a secret
// that was cut a piece of 23 is found. Beside that, what merely looks like a
// secret goes ([Redact]): that is what is left against those of an earlier
// process. A service that wants to give a secret away can spell it backwards;
// nothing here is against that.
//
// What is known is bounded: of each kind the latest are. The nil value knows no
// secret. It is safe for concurrent use.
type Secrets struct {
	mu sync.RWMutex
	// mu guards the following.
	rings [kinds]ring
}

// secretKind says who a secret is from, so that none can crowd those of others out.
type secretKind uint8

const (
	bearerSecret secretKind = iota // tokens of the credential
	lentSecret                     // what the service lends: signatures, the identity token
	callerSecret                   // what the caller supplies for blobs
	kinds
)

// Bounds of a ring, and of one secret in it, in bytes of patterns and of text.
const (
	maxRingBytes   = 256 << 10
	maxSecretBytes = 8 << 10
)

// A pattern is found by a gram of it, which it has at every multiple of
// gramBytes, and a piece of it counts from leastPiece on: random letters do not
// have as many in common.
const (
	gramBytes  = 8
	leastPiece = 16
	leastExact = 4 // a shorter text is no secret
	// mostPlaces bounds the patterns that one gram leads to, which somebody who
	// lends secrets that are all alike would make slow.
	mostPlaces = 16
)

type gram [gramBytes]byte

// place is where in a pattern a gram is.
type place struct {
	p   *pattern
	off int
}

// pattern is one form of a secret: its letters and digits, lower case.
type pattern struct {
	text   string
	base64 bool // what stands around it is part of the form
}

type known struct {
	secret   string
	short    bool // of so few letters and digits that it is looked for as it is, too
	patterns []*pattern
	bytes    int
}

// ring is the known secrets of a kind, the latest last.
type ring struct {
	list  []known
	bytes int
	grams map[gram][]place
}

// add makes secrets known. One that is known already is the latest again.
func (s *Secrets) add(kind secretKind, secrets ...string) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &s.rings[kind]
	for _, secret := range secrets {
		secret = secret[:min(len(secret), maxSecretBytes)]
		if len(secret) < leastExact {
			continue
		}
		if i := slices.IndexFunc(r.list, func(k known) bool { return k.secret == secret }); i >= 0 {
			k := r.list[i]
			r.list = append(slices.Delete(r.list, i, i+1), k)
			continue
		}
		k := known{secret: secret, short: len(lettersOf(secret)) < leastPiece, patterns: patternsOf(secret), bytes: len(secret)}
		for _, p := range k.patterns {
			k.bytes += len(p.text)
			for off := 0; off+gramBytes <= len(p.text); off += gramBytes {
				if r.grams == nil {
					r.grams = make(map[gram][]place)
				}
				if g := gram([]byte(p.text[off : off+gramBytes])); len(r.grams[g]) < mostPlaces {
					r.grams[g] = append(r.grams[g], place{p, off})
				}
			}
		}
		r.list, r.bytes = append(r.list, k), r.bytes+k.bytes
		for r.bytes > maxRingBytes && len(r.list) > 1 {
			r.forget(r.list[0])
			r.bytes -= r.list[0].bytes
			r.list = slices.Delete(r.list, 0, 1)
		}
	}
}

// forget takes a secret's patterns out.
func (r *ring) forget(k known) {
	for _, p := range k.patterns {
		for off := 0; off+gramBytes <= len(p.text); off += gramBytes {
			g := gram([]byte(p.text[off : off+gramBytes]))
			if rest := slices.DeleteFunc(r.grams[g], func(at place) bool { return at.p == p }); len(rest) > 0 {
				r.grams[g] = rest
			} else {
				delete(r.grams, g)
			}
		}
	}
}

// publicQuery are the parameters of a SAS that say what it is for; the others
// may be what makes it work.
var publicQuery = map[string]bool{"sv": true, "ss": true, "srt": true, "sp": true, "se": true, "st": true, "spr": true, "sip": true, "sr": true, "si": true, "tn": true,
	"skoid": true, "sktid": true, "skt": true, "ske": true, "sks": true, "skv": true, "comp": true, "restype": true, "timeout": true, "snapshot": true, "versionid": true}

// Supplied makes what the caller supplies to reach a blob or a container known:
// a query, a suffix, or an address with one.
func (s *Secrets) Supplied(secret string) { s.addAddress(callerSecret, secret) }

// addAddress makes what is secret of an address known, or of a query or suffix
// that makes one: signatures, keys, tokens.
func (s *Secrets) addAddress(kind secretKind, address string) {
	address = strings.TrimPrefix(address, "?")
	address, suffix, _ := strings.Cut(address, ";")
	if suffix != "" && !ingest.IsAccess(suffix) {
		_, value, _ := strings.Cut(suffix, "=")
		s.add(kind, suffix, value)
	}
	if _, query, ok := strings.Cut(address, "?"); ok {
		address = query
	}
	for part := range strings.SplitSeq(address, "&") {
		name, value, _ := strings.Cut(part, "=")
		if publicQuery[strings.ToLower(name)] || name != "sig" && len(value) < leastPiece {
			continue
		}
		s.add(kind, value)
	}
}

// patternsOf are the forms of a secret. Escapes are no forms: they are undone
// in the text that is searched.
func patternsOf(secret string) []*pattern {
	var out []*pattern
	add := func(text string, base64 bool) {
		text = lettersOf(text)
		if len(text) >= gramBytes && !slices.ContainsFunc(out, func(p *pattern) bool { return p.text == text }) {
			out = append(out, &pattern{text, base64})
		}
	}
	plain := undone(newSpelling(secret)).text()
	add(plain, false)
	for _, form := range []string{secret, plain, url.QueryEscape(plain)} {
		add(hex.EncodeToString([]byte(form)), false)
		for before := range 3 { // it may begin at any bit of a larger text
			encoded := base64.RawStdEncoding.EncodeToString(append(make([]byte, before), form...))
			encoded = encoded[[]int{0, 2, 3}[before]:]
			if (before+len(form))%3 != 0 { // its end is mixed with what follows
				encoded = encoded[:len(encoded)-1]
			}
			add(encoded, true)
		}
	}
	return out
}

// lettersOf is the letters and digits of a text, lower case.
func lettersOf(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		}
		return -1
	}, s)
}

// Holds reports whether a text holds a known secret.
func (s *Secrets) Holds(text string) bool { return len(s.find(text)) > 0 }

// span is a part of a text.
type span struct{ from, to int }

// find finds the known secrets in a text, in its order and apart from one another.
func (s *Secrets) find(text string) []span {
	if s == nil {
		return nil
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	var found []span
	for _, r := range s.rings {
		for _, k := range r.list {
			for at := 0; k.short; {
				i := strings.Index(text[at:], k.secret)
				if i < 0 {
					break
				}
				found = append(found, span{at + i, at + i + len(k.secret)})
				at += i + len(k.secret)
			}
		}
	}
	if slices.ContainsFunc(s.rings[:], func(r ring) bool { return len(r.grams) > 0 }) {
		letters := undone(newSpelling(text)).letters()
		for i := 0; i+gramBytes <= len(letters.b); i++ {
			g := gram(letters.b[i : i+gramBytes])
			for _, r := range s.rings {
				for _, at := range r.grams[g] {
					if f, ok := at.found(letters, i, text); ok {
						found = append(found, f)
					}
				}
			}
		}
	}
	slices.SortFunc(found, func(a, b span) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(b.to, a.to)) })
	apart := found[:0]
	for _, f := range found {
		if n := len(apart); n > 0 && f.from <= apart[n-1].to {
			apart[n-1].to = max(apart[n-1].to, f.to)
			continue
		}
		apart = append(apart, f)
	}
	return apart
}

// found looks around a gram, at i of the text's letters, for how much of the
// pattern is there.
func (at place) found(letters spelling, i int, text string) (span, bool) {
	p, l, r := at.p, 0, gramBytes
	for i-l > 0 && at.off-l > 0 && letters.b[i-l-1] == p.text[at.off-l-1] {
		l++
	}
	for i+r < len(letters.b) && at.off+r < len(p.text) && letters.b[i+r] == p.text[at.off+r] {
		r++
	}
	if l+r < min(leastPiece, len(p.text)) {
		return span{}, false
	}
	f := span{letters.at[i-l].from, letters.at[i+r-1].to}
	if p.base64 {
		for f.from > 0 && isBase64(text[f.from-1]) {
			f.from--
		}
		for f.to < len(text) && (isBase64(text[f.to]) || text[f.to] == '=') {
			f.to++
		}
	}
	return f, true
}

func isBase64(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '+' || c == '/' || c == '-' || c == '_'
}

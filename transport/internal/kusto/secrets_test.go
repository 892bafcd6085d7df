package kusto

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net/url"
	"strings"
	"testing"

	"kustospool/transport"
)

const (
	knownSig   = "hJ3k+Zm9v/c2VjcmV0Q0FGRUJBQkU2Nzg5MDEyMzQ="
	knownToken = "eyJ0eXAiOiJKV1QifQ.eyJhdWQiOiJrdXN0byIsIm9pZCI6IjEyMyJ9.c2lnbmF0dXJlLW9mLXRoZS10b2tlbg"
	knownPlain = "an identity token; of words, and 1.234"
)

// spellings are what a service may make of a secret.
func spellings(s string) map[string]string {
	quoted, _ := json.Marshal(s)
	var unicodes, entities strings.Builder
	for _, c := range []byte(s) {
		fmt.Fprintf(&unicodes, `\u%04x`, c)
		fmt.Fprintf(&entities, "&#%d;", c)
	}
	percent := func(s string) string {
		var b strings.Builder
		for _, c := range []byte(s) {
			fmt.Fprintf(&b, "%%%02x", c)
		}
		return b.String()
	}
	b64 := base64.StdEncoding.EncodeToString
	return map[string]string{
		"exact": s, "upper case": strings.ToUpper(s), "query": url.QueryEscape(s), "query twice": url.QueryEscape(url.QueryEscape(s)), "percent": percent(s), "percent twice": percent(percent(s)),
		"path": url.PathEscape(s), "JSON": string(quoted), "JSON in JSON": fmt.Sprintf("%q", string(quoted)), "unicode": unicodes.String(), "HTML": html.EscapeString(s), "entities": entities.String(),
		"base64": b64([]byte(s)), "base64 URL": base64.RawURLEncoding.EncodeToString([]byte(s)), "base64 behind one": b64([]byte("x" + s + "y")), "base64 behind two": b64([]byte("sig" + "=" + s)),
		"base64 of a header": b64([]byte("Bearer " + s)), "base64 of the query": b64([]byte(url.QueryEscape(s))), "hexadecimal": hex.EncodeToString([]byte(s)), "HEX": strings.ToUpper(hex.EncodeToString([]byte(s))),
		"lines": s[:len(s)/2] + "\r\n\t" + s[len(s)/2:], "hidden": strings.Join(strings.Split(s, ""), "\u200b"), "half": s[:len(s)*3/4], "the other half": s[len(s)/4:],
	}
}

func TestSecretsInEverySpelling(t *testing.T) {
	s := new(Secrets)
	s.add(bearerSecret, knownToken)
	s.add(lentSecret, knownPlain)
	s.addAddress(lentSecret, "https://acc.blob.core.windows.net/c?sv=2018-03-28&sr=c&sig="+url.QueryEscape(knownSig)+"&se=2026-11-23T13%3A00%3A00Z&sp=rw")
	for _, secret := range []string{knownSig, knownToken, knownPlain} {
		for name, spelling := range spellings(secret) {
			for _, text := range []string{spelling, "it said " + spelling + " and more", `{"a":"` + spelling + `"}`, "x" + spelling} {
				got := s.Words(text)
				if !strings.Contains(got, removed) || s.Holds(got) {
					t.Errorf("%s, %s: %q became %q", secret[:6], name, text, got)
				}
				for _, rest := range []string{spelling, got} {
					if n := longestCommon(rest, got); rest == spelling && n > 12 {
						t.Errorf("%s, %s: %d bytes in one are left of %q: %q", secret[:6], name, n, text, got)
					}
				}
			}
		}
	}
	for _, text := range []string{"", "Table 'T' has 3 columns, sigma=2", "00000000-0000-0000-0000-000000000000", "kustospool__Demo__Telemetry__d3092dd7-58f6-8936-a3e1-2c70b9ee7e79.csv.gz",
		"2018-03-28 rw c 2026-11-23T13:00:00Z", "an identity token expired; of words none", "the quick brown fox % && \\ %zz &amp; &#x;"} {
		if got := s.Redact(text); got != text || s.Holds(text) {
			t.Errorf("the harmless %q became %q", text, got)
		}
	}
	// Control: who knows no secret finds none in what does not look like one.
	if got := Redact(knownPlain); got != knownPlain {
		t.Errorf("the control became %q", got)
	}
}

// longestCommon is the length of the longest text that is in both.
func longestCommon(a, b string) (most int) {
	for i := range a {
		for i+most < len(a) && strings.Contains(b, a[i:i+most+1]) {
			most++
		}
	}
	return most
}

func numberedSecret(n int) string {
	sum := sha256.Sum256([]byte{byte(n), byte(n >> 8)})
	return base64.StdEncoding.EncodeToString(sum[:])
}

// However much is lent, what is known stays bounded, and nobody's secrets are
// crowded out by somebody else's.
func TestSecretsAreBounded(t *testing.T) {
	s := new(Secrets)
	s.add(bearerSecret, knownToken)
	s.add(callerSecret, knownSig)
	for i := range 3000 {
		s.add(lentSecret, numberedSecret(i), strings.Repeat(fmt.Sprint(i%10), 5000+i))
	}
	if r := s.rings[lentSecret]; r.bytes > maxRingBytes || len(r.list) == 0 {
		t.Errorf("%d bytes of %d secrets", r.bytes, len(r.list))
	}
	places := 0
	for _, r := range s.rings {
		for _, at := range r.grams {
			places += len(at)
		}
	}
	if most := int(kinds) * maxRingBytes / gramBytes; places > most {
		t.Errorf("%d places, more than %d", places, most)
	}
	if !s.Holds(knownToken) || !s.Holds(knownSig) || s.Holds(numberedSecret(7)) || !s.Holds(numberedSecret(2999)) {
		t.Error("not the latest of each kind are known")
	}
}

// A text that is cut before it is searched keeps no beginning of a secret.
func TestWordsCutNoSecretInTwo(t *testing.T) {
	s := new(Secrets)
	s.add(bearerSecret, knownToken)
	for at := 16*maxMessage - len(knownToken) - 2; at < 16*maxMessage+2; at++ {
		text := "https://h/p?" + strings.Repeat("q", at-13) + " " + knownToken
		if got := s.Words(text); longestCommon(knownToken, got) > 8 {
			t.Fatalf("at %d: %q", at, got)
		}
	}
}

func TestSealedClients(t *testing.T) {
	s := new(Secrets)
	s.add(lentSecret, knownPlain)
	e := &transport.Error{Op: "upload", Class: transport.Held, Code: "c " + knownPlain, Message: "m " + knownPlain, RequestID: knownPlain, Err: errors.New(knownPlain)}
	var got *transport.Error
	if err := s.Seal(fmt.Errorf("outside: %w", e)); !errors.As(err, &got) || got.Class != transport.Held || s.Holds(err.Error()) || s.Holds(fmt.Sprintf("%+v", *got)) || got.Message == "" {
		t.Errorf("%+v", got)
	}
	plain := errors.New("plain")
	if err := s.Seal(plain); err != plain {
		t.Errorf("%v", err)
	}
	if err := s.Seal(errors.New("x " + knownPlain)); s.Holds(err.Error()) {
		t.Errorf("%v", err)
	}
	func() {
		defer func() {
			if p := fmt.Sprint(recover()); s.Holds(p) || !strings.Contains(p, "boom") {
				t.Errorf("the panic is %q", p)
			}
		}()
		defer s.Repanic()
		panic("boom " + knownPlain)
	}()
}

func FuzzSecrets(f *testing.F) {
	f.Add("before ", " %2", "")
	f.Add("\\", "&#", "\\u00")
	f.Add("%", "=", "AAAA")
	s := new(Secrets)
	s.add(bearerSecret, knownToken)
	s.add(lentSecret, knownPlain, url.QueryEscape(knownSig))
	f.Fuzz(func(t *testing.T, before, after, between string) {
		if len(before)+len(after)+len(between) > 1000 {
			return
		}
		for _, secret := range []string{knownSig, knownToken, knownPlain} {
			for _, text := range []string{before + secret + after, before + url.QueryEscape(secret) + after, base64.StdEncoding.EncodeToString([]byte(before + secret + after))} {
				if got := s.Words(text); longestCommon(secret, got) >= 24 {
					t.Errorf("%q became %q", text, got)
				}
			}
		}
	})
}

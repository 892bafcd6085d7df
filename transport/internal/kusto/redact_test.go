package kusto

import (
	"strings"
	"testing"
	"unicode/utf8"
)

const (
	testSAS = "sv=2018-03-28&sr=c&sig=Zm9v%2Bc2VjcmV0%3D&se=2026-11-23T13%3A00%3A00Z&sp=rw"
	testJWT = "eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJrdXN0byJ9.c2lnbmF0dXJl"
)

func TestRedact(t *testing.T) {
	for _, tc := range []struct{ in, keeps string }{
		{`Put "https://a.blob.core.windows.net/c/b?` + testSAS + `": dial tcp: refused`, "https://a.blob.core.windows.net/c/b"},
		{"http://127.0.0.1:1/acc/q/messages?" + testSAS, "http://127.0.0.1:1/acc/q/messages"},
		{"AUTHENTICATION: sig=Zm9v%2Bc2VjcmV0%3D is bad", "is bad"},
		{"Authorization: Bearer " + testJWT + " refused", "refused"},
		{"token " + testJWT + " expired", "expired"},
		{"https://a.blob.core.windows.net/c/b;token=Zm9v%2Bc2VjcmV0%3D end", "end"},
		{"AccountKey=Zm9v%2Bc2VjcmV0%3D;EndpointSuffix=x", "EndpointSuffix"},
		{`{"authorizationContext":"Zm9v%2Bc2VjcmV0%3D"}`, "authorizationContext"},
		{"abfss://c@a.dfs.core.windows.net/x?" + testSAS, "abfss://c@a.dfs.core.windows.net/x"},
	} {
		got := Redact(tc.in)
		for _, secret := range []string{"Zm9v", "c2VjcmV0", testJWT, "c2lnbmF0dXJl"} {
			if strings.Contains(got, secret) {
				t.Errorf("%q: %q is still there: %q", tc.in, secret, got)
			}
		}
		if !strings.Contains(got, tc.keeps) || !strings.Contains(got, removed) {
			t.Errorf("%q: became %q, want %q and %q kept", tc.in, got, tc.keeps, removed)
		}
	}
	known := new(Secrets)
	known.add(lentSecret, "opaque-42")
	if got := known.Redact("the identity token is opaque-42"); strings.Contains(got, "opaque-42") {
		t.Errorf("a known secret is still there: %q", got)
	}
	if plain := "Table 'T' has 3 columns, sigma=2; see https://aka.ms/x"; Redact(plain) != plain {
		t.Errorf("a harmless text became %q", Redact(plain))
	}
}

func TestWordsAreBounded(t *testing.T) {
	got := Words(strings.Repeat("é\n\x00", 1<<16))
	if len(got) > maxMessage+3 || !utf8.ValidString(got) || strings.ContainsAny(got, "\n\x00") {
		t.Errorf("%d bytes: %.40q", len(got), got)
	}
}

func FuzzRedact(f *testing.F) {
	f.Add("GET https://a/b?", " end")
	f.Add("x", "\xff")
	f.Add(";token=", "'")
	f.Add(`"sig":"`, `"`)
	f.Fuzz(func(t *testing.T, before, after string) {
		const secret = "c2VjcmV0c2VjcmV0"
		for _, in := range []string{
			before + " https://acc.blob.core.windows.net/c?sig=" + secret + "&x=1 " + after,
			before + " Bearer " + secret + " " + after,
			before + " eyJ" + secret + "." + secret + " " + after,
		} {
			if got := Words(in); strings.Contains(got, secret) || !utf8.ValidString(got) || len(got) > maxMessage+3 {
				t.Fatalf("%q became %q", in, got)
			}
		}
	})
}

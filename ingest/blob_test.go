package ingest_test

import (
	"errors"
	"strings"
	"testing"

	"kustospool/ingest"
)

const secret = "c2VjcmV0LXNpZw"

func TestBlob_Validate(t *testing.T) {
	const at = "https://acc.blob.core.windows.net/c/in/rows%201.csv.gz"
	for _, good := range []string{
		at, at + ";impersonate", at + ";managed_identity=system", at + ";managed_identity=1b4e28ba-2fa1-11d2-883f-0016d3cca427",
		at + "?snapshot=2026-01-02T03:04:05.6Z", at + "?versionid=2026-01-02T03:04:05.6Z;impersonate",
		"abfss://fs@acc.dfs.core.windows.net/in/x.csv;impersonate", "adl://lake.azuredatalakestore.net/x.csv;impersonate",
		"http://127.0.0.1:1234/acc/c/b.json", "http://[::1]:1/c/b", "https://bucket.s3.amazonaws.com/x.parquet",
	} {
		b := ingest.Blob{URI: good, RawSize: 7}
		rec, err := b.Record()
		if err != nil {
			t.Errorf("%s: %v", good, err)
			continue
		}
		if got, err := ingest.ParseBlob(rec); err != nil || got != b {
			t.Errorf("%s: %+v, %v", rec, got, err)
		}
		if plain, cut := ingest.CutBlobSecret(good); plain != good || cut != "" {
			t.Errorf("%s: cut into %s and %s", good, plain, cut)
		}
	}
	for uri, rule := range map[string]string{
		"": "must be a URI", "rows.csv": "must be a URI", "https:///c/b": "must be a URI", "%zz": "must be a URI",
		"ftp://h/c/b": "https://", "http://acc.blob.core.windows.net/c/b": "plain http",
		"https://acc.blob.core.windows.net":      "name a blob",
		"https://acc.blob.core.windows.net/":     "name a blob",
		"https://acc.blob.core.windows.net/c/":   "name a blob",
		at + "?sv=1&sig=" + secret:               "BlobSecret",
		at + "?":                                 "no query",
		at + "?snapshot=1&sig=" + secret:         "BlobSecret",
		at + "?%zz" + secret:                     "BlobSecret",
		at + ";token=" + secret:                  "BlobSecret",
		at + ";" + secret + "==":                 "BlobSecret",
		at + ";sharedkey=" + secret:              "BlobSecret",
		at + ";AwsCredentials=id," + secret:      "BlobSecret",
		at + ";impersonate;token=" + secret:      "BlobSecret",
		at + ";managed_identity=" + secret + "=": "BlobSecret",
		at + ";managed_identity=":                "managed_identity",
		at + "#" + secret:                        "%23",
		"https://me:" + secret + "@h/c/b":        "no user name",
		"https://" + secret + "@h/c/b":           "no user name",
		"abfss://fs:" + secret + "@h/c/b":        "no user name",
		"https://h/" + strings.Repeat("x", 5000): "at most 4096",
	} {
		err := ingest.Blob{URI: uri}.Validate()
		if !errors.Is(err, ingest.ErrInvalid) || !strings.Contains(err.Error(), rule) || strings.Contains(err.Error(), secret) {
			t.Errorf("%.80s: %v, want %q", uri, err, rule)
		}
	}
	if err := (ingest.Blob{URI: at, RawSize: -1}).Validate(); !errors.Is(err, ingest.ErrInvalid) {
		t.Error("a negative size is taken")
	}
}

func TestCutBlobSecret(t *testing.T) {
	const at = "https://acc.blob.core.windows.net/c/b.csv"
	for uri, want := range map[string][2]string{
		at:                            {at, ""},
		at + "?sv=1&sig=x%3D":         {at, "?sv=1&sig=x%3D"},
		at + "?snapshot=9&sv=1&sig=x": {at + "?snapshot=9", "?sv=1&sig=x"},
		at + "?snapshot=9;managed_identity=system": {at + "?snapshot=9;managed_identity=system", ""},
		at + ";token=x":       {at, ";token=x"},
		at + ";key==":         {at, ";key=="},
		at + "?sig=x;token=y": {at, "?sig=x;token=y"},
		at + "?":              {at, ""},
	} {
		plain, cut := ingest.CutBlobSecret(uri)
		if plain != want[0] || cut != want[1] {
			t.Errorf("%s: %s and %s, want %v", uri, plain, cut, want)
		}
		if err := (ingest.Blob{URI: plain}).Validate(); err != nil {
			t.Errorf("%s leaves %s: %v", uri, plain, err)
		}
	}
}

// A request by reference is a batch of its own, and only a reference will do.
func TestByReference(t *testing.T) {
	p := ingest.Properties{Database: "d", Table: "t", Format: ingest.CSV, ByReference: true}
	plain := p
	plain.ByReference = false
	if p.Concatenates() || p.Compressed() || p.Extension() != ".blob.json" || plain.Extension() != ".csv" || p.Key() == plain.Key() {
		t.Error("a reference is taken for data")
	}
	rec, err := p.Record([]byte(` {"rawSize": 3, "uri": "https://h/c/b.csv?snapshot=1&versionid=2"} `))
	if err != nil || string(rec) != `{"uri":"https://h/c/b.csv?snapshot=1&versionid=2","rawSize":3}` {
		t.Errorf("%s, %v", rec, err)
	}
	for _, bad := range []string{"", "a,b", "{}", `{"uri":"https://h/c/b?sig=` + secret + `"}`, `{"uri":"https://h/c/b","sas":"` + secret + `"}`,
		`{"uri":"https://h/c/b"}{"x":1}`, `"` + secret + `"`} {
		if _, err := p.Record([]byte(bad)); !errors.Is(err, ingest.ErrInvalid) || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// Whatever is taken for a reference is one that may be stored.
func FuzzParseBlob(f *testing.F) {
	f.Add([]byte(`{"uri":"https://acc.blob.core.windows.net/c/b.csv;impersonate","rawSize":3}`))
	f.Add([]byte(`{"uri":"https://h/c/b?sig=x"}`))
	f.Add([]byte(`{"uri":"https://h/c/b","rawSize":-1}{}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := ingest.ParseBlob(data)
		if err != nil {
			if !errors.Is(err, ingest.ErrInvalid) {
				t.Fatalf("%q: %v", data, err)
			}
			return
		}
		if _, secret := ingest.CutBlobSecret(b.URI); secret != "" {
			t.Fatalf("%q is taken and holds %q", data, secret)
		}
		rec, err := b.Record()
		if err != nil {
			t.Fatalf("%q is read and cannot be written: %v", data, err)
		}
		if got, err := ingest.ParseBlob(rec); err != nil || got != b {
			t.Fatalf("%q became %q", data, rec)
		}
	})
}

// What is stored of a URI never holds what was cut off it.
func FuzzCutBlobSecret(f *testing.F) {
	f.Add("https://acc.blob.core.windows.net/c/b.csv?snapshot=1&sv=1&sig=abc;impersonate")
	f.Add("https://h/c/b;token=x?y")
	f.Add("abfss://h/c;")
	f.Add("https://h/c/b?")
	f.Add("https://h/c/b?&snapshot=1")
	f.Add("abfss://fs@h/c;managed_identity=system")
	f.Fuzz(func(t *testing.T, uri string) {
		plain, _ := ingest.CutBlobSecret(uri)
		again, rest := ingest.CutBlobSecret(plain)
		if again != plain || rest != "" {
			t.Fatalf("%q became %q and then %q with %q", uri, plain, again, rest)
		}
		b := ingest.Blob{URI: uri}
		if b.Validate() != nil {
			return
		}
		if plain, cut := ingest.CutBlobSecret(uri); plain != uri || cut != "" {
			t.Fatalf("%q is taken and holds %q", uri, cut)
		}
		rec, err := b.Record()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ingest.ParseBlob(rec); err != nil || got != b {
			t.Fatalf("%q became %+v, %v", rec, got, err)
		}
	})
}

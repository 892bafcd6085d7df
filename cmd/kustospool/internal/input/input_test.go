package input_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"kustospool/cmd/kustospool/internal/input"
	"kustospool/ingest"
)

// all reads a stream to its end or its first error.
func all(t testing.TB, format ingest.Format, header bool, text string) ([]string, int64, error) {
	t.Helper()
	src := &input.Source{Name: input.Stdin, Format: format, SkipHeader: header, Reader: strings.NewReader(text)}
	r, err := src.Open()
	if err != nil {
		return nil, 0, err
	}
	var recs []string
	for {
		rec, err := r.Next()
		if err == io.EOF {
			return recs, r.Blank(), r.Close()
		}
		if err != nil {
			return recs, r.Blank(), errors.Join(err, r.Close())
		}
		recs = append(recs, string(rec))
	}
}

func TestReader_Records(t *testing.T) {
	for _, tc := range []struct {
		name   string
		format ingest.Format
		header bool
		in     string
		want   []string
		blank  int64
	}{
		{name: "empty json", format: ingest.JSON},
		{name: "json lines", format: ingest.JSON, in: "{\"a\":1}\n{\"a\":\"\u00e9\"}\n", want: []string{`{"a":1}`, `{"a":"é"}`}},
		{name: "no last newline", format: ingest.JSON, in: "{}\n{}", want: []string{"{}", "{}"}},
		{name: "crlf and blank lines", format: ingest.JSON, in: "{}\r\n\r\n  \t\n{}\r\n", want: []string{"{}", "{}"}, blank: 2},
		{name: "byte order mark", format: ingest.JSON, in: "\xef\xbb\xbf{}\n", want: []string{"{}"}},
		{name: "brackets in strings", format: ingest.JSON, in: `{"a":"}{\"["}` + "\n{}\n", want: []string{`{"a":"}{\"["}`, "{}"}},
		{name: "malformed but closed json is the service's to judge", format: ingest.JSON, in: "{]\nnull\n", want: []string{"{]", "null"}},
		{name: "torn last json line", format: ingest.JSON, in: "{}\n{\"a\":", want: []string{"{}", `{"a":`}},
		{name: "txt keeps white space", format: ingest.TXT, in: " a \n\n\tb", want: []string{" a ", "\tb"}, blank: 1},
		{name: "csv header", format: ingest.CSV, header: true, in: "h1,h2\n1,2\n", want: []string{"1,2"}},
		{name: "csv quoted header", format: ingest.CSV, header: true, in: "\"h\n1\",h2\n1,2\n", want: []string{"1,2"}},
		{name: "csv newline in quotes", format: ingest.CSV, in: "1,\"a\nb\"\n2,\"\"\"\n\"\n3,x\n", want: []string{"1,\"a\nb\"", "2,\"\"\"\n\"", "3,x"}},
		{name: "tsv takes a quote as data", format: ingest.TSV, in: "a\t\"b\nc\td\n", want: []string{"a\t\"b", "c\td"}},
		{name: "multijson", format: ingest.MultiJSON, in: "{\n \"a\": 1\n}\n\n[1,\n2] {}\n{}{}\n", want: []string{"{\n \"a\": 1\n}", "[1,\n2]", "{}", "{}", "{}"}, blank: 1},
		{name: "multijson scalars", format: ingest.MultiJSON, in: "1 2\n\"x\"\n", want: []string{"1 2", `"x"`}},
		{name: "multijson brackets in strings", format: ingest.MultiJSON, in: "{\"a\":\"}\\\"]\"}{\"b\":2}", want: []string{`{"a":"}\"]"}`, `{"b":2}`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, blank, err := all(t, tc.format, tc.header, tc.in)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, tc.want) || blank != tc.blank {
				t.Errorf("got %q, %d blank, want %q, %d blank", got, blank, tc.want, tc.blank)
			}
		})
	}
}

func TestReader_Errors(t *testing.T) {
	for _, tc := range []struct {
		name   string
		format ingest.Format
		in     string
		before int // records given out before the error
		want   string
	}{
		{"newline in json", ingest.JSON, "{}\n\n{\"a\":\n1}\n", 1, "-:3: a json record is one line"},
		{"newline in a json string", ingest.JSON, "{\"a\":\"x\ny\"}\n", 0, "-:1: a json record is one line"},
		{"open csv quote", ingest.CSV, "1,2\n3,\"x\ny\n", 1, "-:2: a double quote is opened and never closed"},
		{"open document", ingest.MultiJSON, "{}\n{\n\n", 1, "-:2: the document is never closed"},
		{"utf-16", ingest.JSON, "\xff\xfe{\x00", 0, "-:1: is UTF-16"},
		{"long line", ingest.TXT, "ok\n" + strings.Repeat("x", ingest.MaxRecordBytes+1), 1, "-:2: a record may have at most 67108864 bytes"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, _, err := all(t, tc.format, false, tc.in)
			if err == nil || !strings.Contains(err.Error(), tc.want) || !errors.Is(err, ingest.ErrInvalid) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
			if len(got) != tc.before {
				t.Errorf("%d records before the error, want %d", len(got), tc.before)
			}
		})
	}
}

func TestReader_LargestRecord(t *testing.T) {
	for _, ending := range []string{"", "\n", "\r\n"} {
		got, _, err := all(t, ingest.TXT, false, strings.Repeat("x", ingest.MaxRecordBytes)+ending)
		if err != nil || len(got) != 1 || len(got[0]) != ingest.MaxRecordBytes {
			t.Errorf("ending %q: %d records, %v", ending, len(got), err)
		}
	}
}

func TestSource_Check(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err := z.Write([]byte("{\"a\":1}\n\n{}\n")); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, path string
		want       input.Extent
		err        string
	}{
		{name: "plain", path: write("a.json", []byte("{\"a\":1}\n\n{}")), want: input.Extent{Records: 2, Bytes: 9, Blank: 1}},
		{name: "gzip", path: write("a.json.gz", zipped.Bytes()), want: input.Extent{Records: 2, Bytes: 9, Blank: 1}},
		{name: "torn gzip", path: write("b.json.gz", zipped.Bytes()[:zipped.Len()-6]), err: "unexpected EOF"},
		{name: "no gzip", path: write("c.json.gz", []byte("{}")), err: "c.json.gz: is not gzip data"},
		{name: "zip", path: write("d.json.zip", []byte("PK")), err: "is not a zip archive"},
		{name: "missing", path: filepath.Join(dir, "none.json"), err: "none.json: "},
		{name: "directory", path: dir, err: "is a directory"},
		{name: "object", path: write("f.parquet", []byte("PAR1\n\n\x00")), want: input.Extent{Records: 1, Bytes: 7}},
		{name: "gzipped object", path: write("f.parquet.gz", zipped.Bytes()), want: input.Extent{Records: 1, Bytes: 12}},
		{name: "torn gzipped object", path: write("g.parquet.gz", zipped.Bytes()[:zipped.Len()-6]), err: "g.parquet.gz: unexpected EOF"},
		{name: "empty object", path: write("h.parquet", nil), err: "h.parquet: is empty, and a parquet object must not be"},
		{name: "bad line", path: write("e.json", []byte("{}\n{\n}\n")), err: "e.json:2: a json record is one line"},
		{name: "stdin", path: input.Stdin, want: input.Extent{Streamed: true}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			src := &input.Source{Name: tc.path, Format: ingest.JSON}
			if strings.Contains(tc.path, ".parquet") {
				src.Format = ingest.Parquet
			}
			got, err := src.Check()
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) || !errors.Is(err, ingest.ErrInvalid) {
					t.Errorf("error %v, want one with %q", err, tc.err)
				}
				return
			}
			if err != nil || got != tc.want {
				t.Errorf("got %+v, %v, want %+v", got, err, tc.want)
			}
		})
	}
}

// FuzzReader holds that every non-space byte of an input without errors is in
// exactly one record, in order, and that each record is one the spool takes.
func FuzzReader(f *testing.F) {
	for _, s := range []string{"{}\n{\"a\":[1,\"]\"]}", "a,\"b\n\"\"c\"\n", "\xef\xbb\xbf1\r\n\r\n", "{\n}\n[{}]{}", "\"\\", "}}{"} {
		f.Add(s, uint8(0))
		f.Add(s, uint8(1))
		f.Add(s, uint8(2))
	}
	formats := []ingest.Format{ingest.JSON, ingest.CSV, ingest.MultiJSON, ingest.TXT}
	f.Fuzz(func(t *testing.T, text string, pick uint8) {
		p := ingest.Properties{Database: "D", Table: "T", Format: formats[int(pick)%len(formats)]}
		recs, _, err := all(t, p.Format, false, text)
		if err != nil {
			if !errors.Is(err, ingest.ErrInvalid) {
				t.Fatalf("error %v does not match ErrInvalid", err)
			}
			return
		}
		var words []string
		for _, rec := range recs {
			words = append(words, strings.Fields(rec)...)
		}
		want := strings.Fields(strings.TrimPrefix(text, "\xef\xbb\xbf"))
		if got := strings.Join(words, ""); got != strings.Join(want, "") {
			t.Errorf("%s: records hold %q of %q", p.Format, got, want)
		}
		for _, rec := range recs {
			if _, err := p.Record([]byte(rec)); err != nil {
				t.Errorf("%s: record %q: %v", p.Format, rec, err)
			}
		}
	})
}

func BenchmarkReader(b *testing.B) {
	text := strings.Repeat(`{"seq":12,"vessel":{"name":"\"x\"","flag":"DE"},"position":[1.5,2.5],"note":"free text of some length"}`+"\n", 1000)
	for _, format := range []ingest.Format{ingest.JSON, ingest.CSV, ingest.MultiJSON, ingest.TXT} {
		b.Run(string(format), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if _, _, err := all(b, format, false, text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

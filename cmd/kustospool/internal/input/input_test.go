package input_test

import (
	"archive/tar"
	"archive/zip"
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
	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/ingest/record"
)

// all reads a stream to its end or its first error. Bad records that are given
// out have their reason in front.
func all(t testing.TB, src input.Source, text string) ([]string, record.Counts, error) {
	t.Helper()
	src.Name, src.Reader = input.Stdin, strings.NewReader(text)
	r, err := src.Open()
	if err != nil {
		return nil, record.Counts{}, err
	}
	var recs []string
	for {
		rec, err := r.Next()
		if err == io.EOF {
			return recs, r.Counts(), r.Close()
		}
		if err != nil {
			return recs, r.Counts(), errors.Join(err, r.Close())
		}
		if rec.Why != "" {
			recs = append(recs, rec.Why+": "+string(rec.Data))
			continue
		}
		recs = append(recs, string(rec.Data))
	}
}

// What is cut how is package record's to test; here is what this package adds.
func TestReader_Records(t *testing.T) {
	for _, tc := range []struct {
		name string
		src  input.Source
		in   string
		want []string
		sum  record.Counts
	}{
		{"empty json", input.Source{Format: ingest.JSON}, "", nil, record.Counts{}},
		{"json lines", input.Source{Format: ingest.JSON}, "\xef\xbb\xbf{\"a\":1}\r\n\n \t\n{}", []string{`{"a":1}`, "{}"}, record.Counts{Good: 2, Blank: 2, Marks: 1}},
		{"header", input.Source{Format: ingest.CSV, SkipHeader: true}, "\nid,name\n1,\"a\nb\"\n,\n", []string{"1,\"a\nb\"", ","}, record.Counts{Good: 2, Blank: 1, Headers: 1}},
		{"tabs", input.Source{Format: ingest.TSV}, "a\tb\n\t\n", []string{"a\tb", "\t"}, record.Counts{Good: 2}},
		{"multijson", input.Source{Format: ingest.MultiJSON}, "{\n} [{},{}]", []string{"{\n}", "{}", "{}"}, record.Counts{Good: 3}},
		{"dead-letter is what a stream does", input.Source{Format: ingest.JSON}, "{}\n{\"a\":\n{}\n",
			[]string{"{}", "-:2: a json record must be one JSON object, and this one is torn or malformed: {\"a\":", "{}"}, record.Counts{Good: 2, Bad: 1}},
		{"skip", input.Source{Format: ingest.JSON, OnBadRecord: engine.SkipBadRecords}, "{}\n[]\n{}\n", []string{"{}", "{}"}, record.Counts{Good: 2, Bad: 1}},
		{"unchecked", input.Source{Format: ingest.JSON, Unchecked: true}, "{}\n[]\n", []string{"{}", "[]"}, record.Counts{Good: 2}},
		{"unchecked csv", input.Source{Format: ingest.CSV, Unchecked: true, OnBadRecord: engine.SkipBadRecords}, "a\n\"b\nc\n", []string{"a", "c"}, record.Counts{Good: 2, Bad: 1}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, counts, err := all(t, tc.src, tc.in)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, tc.want) || counts != tc.sum {
				t.Errorf("got %q, %+v, want %q, %+v", got, counts, tc.want, tc.sum)
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
		hint   bool
	}{
		{"indented json", ingest.JSON, "{}\n\n{\n \"a\": 1}\n", 1, "-:3: a json record is one line", true},
		{"json array", ingest.JSON, "{}\n[{}]\n", 1, "-:2: a json record must be one JSON object, and not an array", true},
		{"torn json", ingest.JSON, "{\"a\":\"x\ny\"}\n", 0, "-:1: a json record must be one JSON object", false},
		{"open csv quote", ingest.CSV, "1,2\n3,\"x\ny\n", 1, "-:2: a double quote is opened and never closed", false},
		{"open document", ingest.MultiJSON, "{}\n{\n\n", 1, "-:2: the document is never closed", false},
		{"utf-16", ingest.JSON, "\xff\xfe{\x00", 0, "-: is UTF-16, and not json; text must be UTF-8; convert it first: iconv -f UTF-16 -t UTF-8", false},
		{"parquet", ingest.JSON, "PAR1\x15", 0, "-: is a Parquet file, and not json; give --format parquet", false},
		{"gzip", ingest.CSV, "\x1f\x8b\x08", 0, "-: is gzip data, and not csv; give --gzip, or a name that ends in .gz", false},
		{"no log", ingest.W3CLogFile, "{\"a\":1}\n", 0, "-: is no W3C log: it does not begin with a # directive; give --format json", false},
		{"long line", ingest.TXT, "ok\n" + strings.Repeat("x", ingest.MaxRecordBytes+1), 1, "-:2: a record may have at most 67108864 bytes", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			src := input.Source{Format: tc.format, OnBadRecord: engine.StopAtBadRecord}
			got, _, err := all(t, src, tc.in)
			if src.Whole() {
				b, _ := (&input.Source{Name: input.Stdin, Format: tc.format, Reader: strings.NewReader(tc.in)}).Bytes()
				_, err = io.ReadAll(b)
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) || !errors.Is(err, ingest.ErrInvalid) || strings.Contains(err.Error(), "multijson for") != tc.hint {
				t.Errorf("error %v, want one with %q, hint %v", err, tc.want, tc.hint)
			}
			if len(got) != tc.before {
				t.Errorf("%d records before the error, want %d", len(got), tc.before)
			}
		})
	}
}

func TestReader_LargestRecord(t *testing.T) {
	for _, ending := range []string{"", "\n", "\r\n"} {
		got, _, err := all(t, input.Source{Format: ingest.TXT}, strings.Repeat("x", ingest.MaxRecordBytes)+ending)
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
	dir += string(filepath.Separator)
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
		{name: "pipe's policy is not a file's", path: write("j.json", []byte("{}\n{\n")), err: "j.json:2: "},
		{name: "array", path: write("k.json", []byte("{}\n[{}]\n")), err: "k.json:2: a json record must be one JSON object, and not an array; give --format multijson"},
		{name: "gzip inside gzip", path: write("l.json.gz", gzipped(t, zipped.Bytes())), err: "l.json.gz: is gzip data, and not json"},
		{name: "tar inside gzip", path: write("m.json.gz", gzipped(t, tarred(t))), err: "m.json.gz: is a tar archive, and not json; unpack it first: tar -x"},
		{name: "archive", path: write("n.zip", archive(t, "a.json", "{}\n\n{}", "sub/", "", "__MACOSX/._a.json", "\x00", "sub/.DS_Store", "\x00", "sub/b.json", "{}")),
			want: input.Extent{Records: 3, Bytes: 6, Blank: 1, PassedOver: []string{"n.zip/__MACOSX/._a.json (resource fork)", "n.zip/sub/.DS_Store (dot file)"}}},
		{name: "archive with a bad line", path: write("o.zip", archive(t, "a.json", "{}\n", "b.json", "{}\n{\n \"a\":1}\n")), err: "o.zip/b.json:2: a json record is one line"},
		{name: "archive in an archive", path: write("p.zip", archive(t, "a.json", "{}\n", "b.zip", "PK\x03\x04\x00")), err: "p.zip/b.zip: is a zip archive, and not json"},
		{name: "archive without a record", path: write("q.zip", archive(t, "a.json", "\n", "sub/", "")), err: "q.zip: holds no record"},
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
			for i, name := range got.PassedOver {
				got.PassedOver[i] = strings.TrimPrefix(name, dir)
			}
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) || !errors.Is(err, ingest.ErrInvalid) {
					t.Errorf("error %v, want one with %q", err, tc.err)
				}
				return
			}
			if err != nil || !reflect.DeepEqual(got, tc.want) {
				t.Errorf("got %+v, %v, want %+v", got, err, tc.want)
			}
		})
	}
}

func gzipped(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write(data)
	if err := errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func tarred(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := errors.Join(w.WriteHeader(&tar.Header{Name: "a.json", Mode: 0o600}), w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// archive is a zip archive of files, each a name and its data.
func archive(t testing.TB, files ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := 0; i < len(files); i += 2 {
		w, err := z.Create(files[i])
		if err == nil && files[i+1] != "" {
			_, err = w.Write([]byte(files[i+1]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

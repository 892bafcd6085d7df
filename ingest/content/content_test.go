package content

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf16"

	"kustospool/ingest"
)

func tarOf(t testing.TB, format tar.Format) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	data := []byte("{\"a\":1}\n")
	if err := w.WriteHeader(&tar.Header{Name: "a.json", Mode: 0o600, Size: int64(len(data)), Format: format}); err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write(data)
	_ = w.Close()
	return b.Bytes()
}

// v7 is a tar header from before there was a magic.
func v7(t testing.TB) []byte {
	b := tarOf(t, tar.FormatUSTAR)[:512]
	clear(b[257:512])
	sum := int(8 * ' ')
	for i, c := range b {
		if i < 148 || i >= 156 {
			sum += int(c)
		}
	}
	copy(b[148:156], []byte{byte('0' + sum>>15&7), byte('0' + sum>>12&7), byte('0' + sum>>9&7), byte('0' + sum>>6&7), byte('0' + sum>>3&7), byte('0' + sum&7), 0, ' '})
	return b
}

func wide(s string, big bool) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		if big {
			b = append(b, byte(u>>8), byte(u))
		} else {
			b = append(b, byte(u), byte(u>>8))
		}
	}
	return b
}

func TestOf(t *testing.T) {
	var zipped, gzipped bytes.Buffer
	z := zip.NewWriter(&zipped)
	_, _ = z.Create("a.json")
	_ = z.Close()
	g := gzip.NewWriter(&gzipped)
	_ = g.Close()
	for _, tc := range []struct {
		name string
		head []byte
		want Kind
	}{
		{"nothing", nil, Unknown},
		{"text", []byte("a,b\n"), Unknown},
		{"mark", []byte("\xef\xbb\xbfa,b\n"), Unknown},
		{"latin-1", []byte("a,\xe9\n"), Unknown},
		{"soh", []byte("a\x01b\n"), Unknown},
		{"words", []byte("ORCAS AND OTHER WHALES, PARLIAMENT, Object, BZh9 and PK\n"), Unknown},
		{"gzip", gzipped.Bytes(), Gzip},
		{"zip", zipped.Bytes(), Zip},
		{"empty zip", []byte("PK\x05\x06" + strings.Repeat("\x00", 18)), Zip},
		{"tar", tarOf(t, tar.FormatUSTAR), Tar},
		{"gnu tar", tarOf(t, tar.FormatGNU), Tar},
		{"pax tar", tarOf(t, tar.FormatPAX), Tar},
		{"old tar", v7(t), Tar},
		{"zstd", []byte("\x28\xb5\x2f\xfd\x04\x00A\x00"), Zstd},
		{"xz", []byte("\xfd7zXZ\x00\x00\x04"), XZ},
		{"bzip2", []byte("BZh91AY&SY\xd9\x04"), Bzip2},
		{"7z", []byte("7z\xbc\xaf\x27\x1c\x00\x04"), SevenZip},
		{"parquet", []byte("PAR1\x15\x00"), Parquet},
		{"avro", []byte("Obj\x01\x02\x16avro.schema"), Avro},
		{"orc", []byte("ORC\x0a\x06\x00"), ORC},
		{"utf-16 le", append([]byte("\xff\xfe"), wide("{\"a\":1}\n", false)...), UTF16},
		{"utf-16 be", append([]byte("\xfe\xff"), wide("{\"a\":1}\n", true)...), UTF16},
		{"utf-16 le without a mark", wide("{\"grün\":1}\r\n", false), UTF16},
		{"utf-16 be without a mark", wide("id,name\r\n", true), UTF16},
		{"utf-32", []byte("\xff\xfe\x00\x00{\x00\x00\x00"), UTF32},
		{"nul", []byte("a,b\x00\x00\x00,c\n"), Binary},
		{"elf", []byte("\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00"), Binary},
	} {
		if got := Of(tc.head[:min(len(tc.head), HeadBytes)]); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}

func TestCheck(t *testing.T) {
	for _, tc := range []struct {
		head string
		f    ingest.Format
		want string // what the error says; empty: none
	}{
		{"{}\n", ingest.JSON, ""},
		{"PAR1\x15", ingest.JSON, "is a Parquet file, and not json; the format parquet would take it"},
		{"Obj\x01", ingest.CSV, "the format avro would take it"},
		{"ORC\x0a\x00", ingest.TXT, "the format orc would take it"},
		{"\x1f\x8b\x08", ingest.CSV, "is gzip data, and not csv; give it a name that ends in .gz"},
		{"\xff\xfea\x00", ingest.CSV, "iconv -f UTF-16 -t UTF-8"},
		{"a\x00b", ingest.CSV, "is binary data with NUL bytes, and not csv"},
		{"a\x00b", ingest.Raw, ""},
		{"\x1f\x8b\x08", ingest.Raw, ""},
		{"a\x00b", ingest.Parquet, ""},
		{"PAR1\x15", ingest.Parquet, ""},
		{"PAR1\x15", ingest.Avro, "is a Parquet file, and not avro"},
		{"\x1f\x8b\x08", ingest.Parquet, "is gzip data, and not parquet"},
		{"Obj\x01", ingest.ApacheAvro, ""},
		{"#Version: 1.0\n", ingest.W3CLogFile, ""},
		{"\xef\xbb\xbf\r\n#Software: x\n", ingest.W3CLogFile, ""},
		{"", ingest.W3CLogFile, ""},
		{"{\"a\":1}\n", ingest.W3CLogFile, "is no W3C log: it does not begin with a # directive; the format json would take it"},
		{"started\n", ingest.W3CLogFile, "the format txt would take it"},
	} {
		m := Check([]byte(tc.head), tc.f)
		if tc.want == "" && m != nil || tc.want != "" && (m == nil || !strings.Contains(m.Error(), tc.want)) {
			t.Errorf("%q as %s: %v, want %q", tc.head, tc.f, m, tc.want)
		}
	}
}

func TestReader(t *testing.T) {
	long := strings.Repeat("{\"a\":1}\n", 1000)
	for _, in := range []io.Reader{strings.NewReader(long), iotest.OneByteReader(strings.NewReader(long)), iotest.DataErrReader(strings.NewReader(long))} {
		if got, err := io.ReadAll(NewReader(in, ingest.JSON)); err != nil || string(got) != long {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	}
	broken := errors.New("broken")
	if got, err := io.ReadAll(NewReader(io.MultiReader(strings.NewReader("{}"), iotest.ErrReader(broken)), ingest.JSON)); string(got) != "{}" || !errors.Is(err, broken) {
		t.Errorf("%q, %v", got, err)
	}
	for _, in := range [][]byte{tarOf(t, tar.FormatGNU), wide(long, false)} {
		r := NewReader(iotest.OneByteReader(bytes.NewReader(in)), ingest.JSON)
		got, err := io.ReadAll(r)
		if _, ok := errors.AsType[*Mismatch](err); !ok || len(got) > 0 {
			t.Errorf("%q, %v", got, err)
		}
		if n, again := r.Read(make([]byte, 10)); n != 0 || again != err {
			t.Errorf("again: %d, %v", n, again)
		}
	}
	// The first line of a stream is not kept waiting for the second.
	pr, pw := io.Pipe()
	go func() { _, _ = pw.Write([]byte("{}\n")) }()
	b := make([]byte, 10)
	if n, err := NewReader(pr, ingest.JSON).Read(b); n != 3 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	pw.Close()
}

func TestPassedOver(t *testing.T) {
	for name, want := range map[string]string{
		"a.json": "", "sub/a.json": "", "sub/": "directory", `sub\`: "directory", "__MACOSX/._a.json": "resource fork", "__MACOSX/sub/._a.json": "resource fork",
		"sub/._a.json": "resource fork", ".DS_Store": "dot file", "sub/.DS_Store": "dot file", ".sub/a.json": "",
	} {
		if got := PassedOver(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func FuzzOf(f *testing.F) {
	f.Add([]byte("a,b\n"))
	f.Add(v7(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		if kind := Of(b); kind == Unknown && bytes.IndexByte(b, 0) >= 0 {
			t.Errorf("%q holds a NUL and is taken for text", b)
		}
		for _, format := range ingest.Formats() {
			Check(b, format)
		}
	})
}

package parse

import (
	"bytes"
	"io"
	"testing"
	"testing/iotest"

	"kustospool/ingest"
	"kustospool/ingest/record"
)

// judged parses data as the simulator parses a blob. ok is false where the
// blob fails.
func judged(data []byte, format ingest.Format) (rows []Row, ok bool) {
	rows, err := Parse(data, format)
	return rows, err == nil
}

// cut is data by package record: its good records, and how many bad ones.
func cut(t testing.TB, data []byte, format ingest.Format) (records [][]byte, bad int) {
	t.Helper()
	p := ingest.Properties{Format: format}
	r := record.NewReader(iotest.HalfReader(bytes.NewReader(data)), p.Rule())
	for {
		piece, err := r.Next()
		if err == io.EOF {
			return records, bad
		}
		if err != nil {
			t.Fatal(err)
		}
		if piece.Kind == record.Bad {
			bad++
			continue
		}
		records = append(records, bytes.Clone(piece.Data))
	}
}

// marksInside reports whether there is a byte order mark behind the first one.
// It is cut away in front of a record there, which the service does at the
// beginning of a blob only.
func marksInside(data []byte) bool {
	mark := []byte("\xef\xbb\xbf")
	return bytes.Contains(bytes.TrimPrefix(data, mark), mark)
}

// FuzzRecordsAsParsed holds package record against this package's parser, which
// was written apart from it and stands for the service: the same input is the
// same records with the same values; records alone, and any one behind the
// other as in a batch, are those values too; and what the one takes for no
// record is none for the other.
func FuzzRecordsAsParsed(f *testing.F) {
	formats := []ingest.Format{ingest.CSV, ingest.SCSV, ingest.TSV, ingest.TSVE, ingest.PSV, ingest.SOHSV, ingest.TXT, ingest.JSON, ingest.MultiJSON}
	for _, s := range []string{
		"a,b\r\n1,\"x\ny\"\n\n,\n", "0,ok\n1,\"abc\n2,x\n3,\"y\"\n4,ok", "5\" pipe,1\n6\" pipe,2\n", "\xef\xbb\xbf\"a\"\"b\",c\n", "a\r\r\nb\n\r\r\nc\r", "\r\"a\nb\"c\nd",
		"a\tb\n\t\n \n", "a\\\tb\\n\tc\\\n", "a;\"b;\nc\";\n", "a|\"b\nc|d\"\n", "\"\",\"\"\n\"\"\n\"", "\"a\"b\"c\nd\"\n", ",", "\"a\",", " \n\t\n",
		"{\"a\":1}\n {\"b\":[1,{\"c\":\"\\u00e9\"}]} \r\n\n{}", "[{\"a\":1}]\n", "{\"a\":1}{\"b\":2}\n", "{\"a\":\n1}", "1\n\"x\"\nnull\n", "{\"a\":1}\n{\"a\":",
		"{\n\"a\": 1\n}[{\"b\":2},\n{\"c\":3}] [] {}", "[{},]", "[{} {}]", "{}}", "[1,2]", "{\"a\":\"}\\\"{\"}{}", "\u00a0{}\n\v\n{}",
	} {
		for i := range formats {
			f.Add([]byte(s), uint8(i))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, pick uint8) {
		format := formats[int(pick)%len(formats)]
		records, bad := cut(t, data, format)
		var alone []Row
		var batch []byte
		for _, rec := range records {
			rows, ok := judged(rec, format)
			if !ok || len(rows) != 1 {
				t.Fatalf("%s: the record %q is %d rows, %v", format, rec, len(rows), ok)
			}
			alone = append(alone, rows[0])
			batch = append(append(batch, rec...), '\n')
		}
		if rows, ok := judged(batch, format); !ok || textOf(rows) != textOf(alone) {
			t.Errorf("%s: the batch %q is %q, %v, its records alone are %q", format, batch, rows, ok, alone)
		}
		if marksInside(data) {
			return
		}
		rows, ok := judged(data, format)
		if ok != (bad == 0) {
			t.Errorf("%s: %q has %d bad records and is parsed: %v", format, data, bad, ok)
		}
		if ok && textOf(rows) != textOf(alone) {
			t.Errorf("%s: %q is parsed as %q, and cut into %q", format, data, rows, alone)
		}
	})
}

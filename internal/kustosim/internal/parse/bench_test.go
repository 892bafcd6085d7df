package parse

import (
	"bytes"
	"fmt"
	"testing"

	"kustospool/ingest"
)

func BenchmarkParse(b *testing.B) {
	doc := []byte(`{"ts":"2025-01-01T00:00:00Z","id":12345,"name":"some name of a thing","value":1.5,"tags":{"a":"b"}}` + "\n")
	line := []byte("2025-01-01T00:00:00Z,12345,some name of a thing,1.5\n")
	typed := []Column{{"ts", "datetime"}, {"id", "long"}, {"name", "string"}, {"value", "real"}}
	for _, tt := range []struct {
		name   string
		record []byte
		format ingest.Format
		target *Target
	}{
		{"json", doc, ingest.JSON, &Target{}}, {"json-typed", doc, ingest.JSON, &Target{columns: typed}},
		{"csv", line, ingest.CSV, &Target{}}, {"csv-typed", line, ingest.CSV, &Target{columns: typed}}, {"multijson", doc, ingest.MultiJSON, &Target{}},
	} {
		b.Run(tt.name, func(b *testing.B) {
			data := bytes.Repeat(tt.record, 4<<20/len(tt.record))
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				rows, _, bad := tt.target.Records(data, tt.format, false, false)
				if bad != nil || len(rows) != len(data)/len(tt.record) {
					b.Fatal(fmt.Sprint(len(rows), bad))
				}
			}
		})
	}
}

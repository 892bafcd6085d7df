package kustosim

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
		target *target
	}{
		{"json", doc, ingest.JSON, &target{}}, {"json-typed", doc, ingest.JSON, &target{columns: typed}},
		{"csv", line, ingest.CSV, &target{}}, {"csv-typed", line, ingest.CSV, &target{columns: typed}}, {"multijson", doc, ingest.MultiJSON, &target{}},
	} {
		b.Run(tt.name, func(b *testing.B) {
			data := bytes.Repeat(tt.record, 4<<20/len(tt.record))
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				rows, _, bad := tt.target.records(data, tt.format, false, false)
				if bad != nil || len(rows) != len(data)/len(tt.record) {
					b.Fatal(fmt.Sprint(len(rows), bad))
				}
			}
		})
	}
}

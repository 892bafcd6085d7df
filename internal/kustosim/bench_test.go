package kustosim

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"

	"kustospool/ingest"
)

// BenchmarkMessages enqueues one-row blobs one by one, and waits for the rows.
func BenchmarkMessages(b *testing.B) {
	sim, err := Start(nil)
	if err != nil {
		b.Fatal(err)
	}
	c := &client{t: &testing.T{}, sim: sim}
	defer sim.Close()
	if err := sim.CreateTable("db1", "t1"); err != nil {
		b.Fatal(err)
	}
	token := sim.IssueToken()
	list, err := sim.storage.resources()
	if err != nil {
		b.Fatal(err)
	}
	account := sim.storage.(*builtinStorage).accounts[0]
	account.blobs.mu.containers["ingestdata-0"].blobs["b.json"] = &blob{blocks: []block{{data: []byte("{}\n")}}, size: 3}
	var root string
	for _, r := range list {
		if r.kind == "TempStorage" && strings.Contains(r.root, "ingestdata-0") {
			root = r.root
		}
	}
	uri := strings.Replace(root, "?", "/b.json?", 1)
	c.token = token
	for i := 0; b.Loop(); i++ {
		_, text := c.message(uri, 3, field("ReportLevel", 1), field("FlushImmediately", true))
		sim.ingestor.deliver(text)
		if i%1000 == 999 {
			if err := sim.Wait(context.Background(), func() bool { return sim.Count("db1", "t1") == i+1 }); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkPutBlob uploads 4 MiB blobs over HTTP.
func BenchmarkPutBlob(b *testing.B) {
	sim, err := Start(nil)
	if err != nil {
		b.Fatal(err)
	}
	defer sim.Close()
	list, err := sim.storage.resources()
	if err != nil {
		b.Fatal(err)
	}
	var root string
	for _, r := range list {
		if r.kind == "TempStorage" {
			root = r.root
		}
	}
	blob, err := blockblob.NewClientWithNoCredential(strings.Replace(root, "?", "/b?", 1), nil)
	if err != nil {
		b.Fatal(err)
	}
	data := bytes.Repeat([]byte("x"), 4<<20)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if _, err := blob.UploadBuffer(context.Background(), data, nil); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkParse parses 4 MiB of the formats that matter.
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
			g := &ingestor{opts: &Options{}, stats: newStatsBook()}
			in := &ingestion{format: tt.format}
			for b.Loop() {
				rows, bad := g.parse(in, data, tt.target)
				if bad != nil || len(rows) != len(data)/len(tt.record) {
					b.Fatal(fmt.Sprint(len(rows), bad))
				}
			}
		})
	}
}

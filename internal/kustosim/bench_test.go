package kustosim

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
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
	blob, err := sim.PutBlob(context.Background(), "b.json", []byte("{}\n"))
	if err != nil {
		b.Fatal(err)
	}
	sas, err := sim.BlobSAS(blob)
	if err != nil {
		b.Fatal(err)
	}
	uri := blob + "?" + sas
	c.token = token
	for i := 0; b.Loop(); i++ {
		_, text := c.message(uri, 3, field("ReportLevel", 1), field("FlushImmediately", true))
		sim.ingestor.Deliver(text)
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
	list, err := sim.storage.Resources()
	if err != nil {
		b.Fatal(err)
	}
	var root string
	for _, r := range list {
		if r.Kind == "TempStorage" {
			root = r.Root
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

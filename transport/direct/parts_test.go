package direct

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/transport"
	"kustospool/transport/internal/upload"
	"kustospool/transport/transporttest"
)

// The parts are the payload, in order and without a gap, and each ends with a
// record's end.
func TestCuts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		format := rapid.SampledFrom([]ingest.Format{ingest.JSON, ingest.CSV}).Draw(t, "format")
		var data strings.Builder
		ends := map[int64]bool{}
		for n := rapid.IntRange(1, 200).Draw(t, "records"); n > 0; n-- {
			text := rapid.StringMatching(`[a-z]{0,40}`).Draw(t, "text")
			if format == ingest.CSV {
				if rapid.IntRange(0, 3).Draw(t, "kind") == 0 { // quotes that are data
					data.WriteString(text + "5\" pipe,\n")
					ends[int64(data.Len())] = true
				}
				data.WriteString("1,\"" + text + rapid.SampledFrom([]string{"", "\n", "\"\"", "\r\n,"}).Draw(t, "inside") + "\"\n")
			} else {
				data.WriteString(`{"a":"` + text + `"}` + "\n")
			}
			ends[int64(data.Len())] = true
		}
		c := &Client{opts: ClientOptions{MaxBlobBytes: int64(rapid.IntRange(1, 2000).Draw(t, "limit"))}}
		b := jsonBatch(ingest.ExactlyOnce)
		b.Properties.Format = format
		payload := transporttest.Bytes([]byte(data.String()))
		parts, err := c.cuts(t.Context(), &transport.Delivery{Batch: b, Payload: payload})
		if err != nil {
			t.Fatal(err)
		}
		if int64(data.Len()) <= c.opts.MaxBlobBytes && parts != nil || len(parts) > maxParts {
			t.Fatalf("%d parts of %d bytes with a limit of %d", len(parts), data.Len(), c.opts.MaxBlobBytes)
		}
		var again strings.Builder
		at := int64(0)
		for _, cut := range parts {
			if cut.from != at || !ends[cut.from+cut.size] {
				t.Fatalf("a part from %d of %d bytes, after %d", cut.from, cut.size, at)
			}
			at += cut.size
			r := section{payload, cut}.Open()
			if _, err := io.Copy(&again, r); err != nil {
				t.Fatal(err)
			}
			r.Close()
		}
		if parts != nil && again.String() != data.String() {
			t.Fatal("the parts are not the payload")
		}
		if payload.Unclosed() != 0 {
			t.Fatal("a reader was left open")
		}
	})
}

func TestWhatIsNotCut(t *testing.T) {
	c := &Client{opts: ClientOptions{MaxBlobBytes: 1}}
	for name, change := range map[string]func(*ingest.Properties){
		"multijson": func(p *ingest.Properties) { p.Format = ingest.MultiJSON },
		"parquet":   func(p *ingest.Properties) { p.Format = ingest.Parquet },
		"header":    func(p *ingest.Properties) { p.Format, p.IgnoreFirstRecord = ingest.CSV, true },
	} {
		b := jsonBatch(ingest.ExactlyOnce)
		change(&b.Properties)
		if parts, err := c.cuts(t.Context(), &transport.Delivery{Batch: b, Payload: transporttest.Bytes(lines)}); parts != nil || err != nil {
			t.Errorf("%s: %v, %v", name, parts, err)
		}
	}
	damaged := errors.New("damaged")
	b := jsonBatch(ingest.ExactlyOnce)
	if _, err := c.cuts(t.Context(), &transport.Delivery{Batch: b, Payload: &transporttest.Payload{Data: lines, FailAt: 9, Err: damaged}}); !errors.Is(err, damaged) {
		t.Errorf("%v", err)
	}
}

// A batch in several blobs is one command, one extent, one tag: a repeat of it
// is skipped as a whole.
func TestSeveralBlobsInOneCommand(t *testing.T) {
	sim := startSim(t, &kustosim.Options{AutoCreate: true})
	c, err := NewClient(sim.Endpoint(), nil, &ClientOptions{MaxBlobBytes: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var data strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&data, `{"n":%d,"text":"grün"}`+"\n", i)
	}
	j := &transporttest.Journal{}
	d := &transport.Delivery{Batch: jsonBatch(ingest.ExactlyOnce), Attempt: 1, Payload: transporttest.Bytes([]byte(data.String())), Journal: j}
	for range 2 {
		if _, err := c.Send(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		p := decodeProgress(j.Last())
		p.Requests = nil // as if the command had never been sent
		d.Attempt, d.Progress = 2, p.encode()
	}
	if n, extents := sim.Count("db1", "tbl1"), sim.Extents("db1", "tbl1"); n != 20_000 || len(extents) != 1 || len(sim.Blobs()) != 9 {
		t.Errorf("%d rows in %d extents from %d blobs", n, len(extents), len(sim.Blobs()))
	}
}

// A batch in several blobs goes on where it broke off: blobs that have ended are
// found, and of the one under way the blocks are.
func TestSeveralBlobsGoOn(t *testing.T) {
	sim := startSim(t, &kustosim.Options{AutoCreate: true, Accounts: 1})
	var data strings.Builder
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 30_000 {
		fmt.Fprintf(&data, `{"n":%d,"text":"%x"}`+"\n", i, rng.Uint64())
	}
	client := func() *Client {
		c, err := NewClient(sim.Endpoint(), nil, &ClientOptions{MaxBlobBytes: 400 << 10})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.uploads = upload.New(c.service.Wire(), c.ingestion, upload.Options{UploadTimeout: time.Minute, StallTimeout: time.Minute, MinRate: 1,
			RequestTimeout: time.Minute, CompressionLevel: 2, MinBlock: 16 << 10, BlockTime: time.Nanosecond}) // 16 KiB blocks
		return c
	}
	j := &transporttest.Journal{}
	d := &transport.Delivery{Batch: jsonBatch(ingest.ExactlyOnce), Attempt: 1, Payload: transporttest.Bytes([]byte(data.String())), Journal: j}
	remove := sim.Fault(kustosim.Blob, kustosim.Fault{Kind: kustosim.Respond, Method: http.MethodPut, PathContains: "-02.", Every: 6, Status: 503})
	if _, err := client().Send(t.Context(), d); err == nil {
		t.Fatal("it went through")
	}
	remove()
	p := decodeProgress(j.Last())
	if len(p.Parts) != 2 || p.Blocks == "" || !strings.Contains(p.Blob.Blob, "-02.") {
		t.Fatalf("%+v", p)
	}
	before := sim.Stats()
	d.Attempt, d.Progress = 2, j.Last()
	c := client()
	if _, err := c.Send(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	after := sim.Stats()
	if n := sim.Count("db1", "tbl1"); n != 30_000 || after.BlobsOverwritten != 0 || int(after.BlobsPut-before.BlobsPut) != len(sim.Blobs())-2 {
		t.Errorf("%d rows; %d blobs written, %d of them again", n, after.BlobsPut-before.BlobsPut, after.BlobsOverwritten)
	}
	if f := fmt.Sprint(c.Figures()); !strings.Contains(f, "{uploads_resumed 1}") || strings.Contains(f, "{upload_bytes_kept 0}") {
		t.Errorf("figures %s", f)
	}
}

// A part of a batch is not taken for the batch, nor one of another cut for this one.
func TestPartsOfAnotherCut(t *testing.T) {
	sim := startSim(t, &kustosim.Options{AutoCreate: true, Accounts: 1})
	var data strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&data, `{"n":%d,"text":"grün"}`+"\n", i)
	}
	j := &transporttest.Journal{}
	d := &transport.Delivery{Batch: jsonBatch(ingest.ExactlyOnce), Attempt: 1, Payload: transporttest.Bytes([]byte(data.String())), Journal: j}
	for i, most := range []int64{64 << 10, 100 << 10, 1 << 30, 64 << 10} {
		c, err := NewClient(sim.Endpoint(), nil, &ClientOptions{MaxBlobBytes: most})
		if err != nil {
			t.Fatal(err)
		}
		d.Attempt = i + 1
		remove := sim.Fault(kustosim.Engine, kustosim.Fault{Kind: kustosim.Respond, Status: 429})
		if i == 3 {
			remove()
		}
		_, err = c.Send(t.Context(), d)
		remove()
		c.Close()
		if (err == nil) != (i == 3) {
			t.Fatalf("%d bytes: %v", most, err)
		}
		p := decodeProgress(j.Last())
		p.Requests = nil
		d.Progress = p.encode()
	}
	if n := sim.Count("db1", "tbl1"); n != 20_000 {
		t.Errorf("%d rows", n)
	}
}

package engine_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/transport"
	"kustospool/transport/transporttest"
)

// takesBlobs is a Fake to which an address is as good as data.
func takesBlobs() *transporttest.Fake {
	return transporttest.NewFakeWith(transport.Capabilities{ExactlyOnce: true, Blobs: true})
}

func blobAt(name string) ingest.Blob {
	return ingest.Blob{URI: "https://acc.blob.core.windows.net/c/" + name}
}

func TestIngestBlob(t *testing.T) {
	f := takesBlobs()
	s := open(t, t.TempDir(), f, soon())
	p := ingest.Properties{Database: "Demo", Table: "Telemetry"}
	var receipts []ingest.Receipt
	for _, b := range []ingest.Blob{blobAt("a.json"), {URI: blobAt("b.csv.gz").URI + ";impersonate", RawSize: 1 << 40}} {
		r, err := s.IngestBlob(t.Context(), p, b)
		if err != nil || r.Records != 1 {
			t.Fatal(r, err)
		}
		receipts = append(receipts, r)
	}
	p.Format = ingest.Parquet
	table, err := s.Table(p)
	if err != nil {
		t.Fatal(err)
	}
	r, err := table.IngestBlob(t.Context(), blobAt("no-extension"))
	if err != nil {
		t.Fatal(err)
	}
	receipts = append(receipts, r)
	drain(t, s)
	for _, r := range receipts {
		state(t, s, r, ingest.Succeeded)
	}
	got := map[string]ingest.Format{}
	for _, k := range f.Kept() {
		if !k.Batch.Properties.ByReference || k.Batch.Records() != 1 || k.Batch.IngestBy() == "" {
			t.Errorf("batch %+v", k.Batch)
		}
		got[string(k.Payload)] = k.Batch.Properties.Format
	}
	for want, format := range map[string]ingest.Format{
		`{"uri":"https://acc.blob.core.windows.net/c/a.json"}`:                                       ingest.JSON,
		`{"uri":"https://acc.blob.core.windows.net/c/b.csv.gz;impersonate","rawSize":1099511627776}`: ingest.CSV,
		`{"uri":"https://acc.blob.core.windows.net/c/no-extension"}`:                                 ingest.Parquet,
	} {
		if got[want] != format {
			t.Errorf("%s has format %q, want %q", want, got[want], format)
		}
	}
	conserved(t, s)
	kept(t, f)
}

// What cannot be stored, or not be sent, is refused before anything is stored,
// and the refusal repeats no secret.
func TestIngestBlobRefuses(t *testing.T) {
	p := telemetry
	s := open(t, t.TempDir(), takesBlobs(), soon())
	const secret = "c2VjcmV0LXNpZw"
	for _, uri := range []string{blobAt("a.json").URI + "?sig=" + secret, blobAt("a.json").URI + ";token=" + secret} {
		_, err := s.IngestBlob(t.Context(), p, ingest.Blob{URI: uri})
		isInvalid(t, err, "BlobSecret")
		if strings.Contains(err.Error(), secret) {
			t.Errorf("the error repeats the secret: %v", err)
		}
	}
	_, err := s.IngestBlob(t.Context(), ingest.Properties{Database: "Demo", Table: "Telemetry"}, blobAt("what"))
	isInvalid(t, err, "format")
	byReference := p
	byReference.ByReference = true
	_, err = s.Ingest(t.Context(), request(byReference, `{"n":1}`))
	isInvalid(t, err, "reference")
	_, err = s.IngestReader(t.Context(), byReference, strings.NewReader("x"))
	isInvalid(t, err, "IngestBlob")
	if n := s.Stats().Acked; n != 0 {
		t.Errorf("%d records are stored", n)
	}

	dataOnly := open(t, t.TempDir(), transporttest.NewFake(), soon())
	_, err = dataOnly.IngestBlob(t.Context(), p, blobAt("a.json"))
	isInvalid(t, err, "the transport takes the data itself only")
	if n := dataOnly.Stats().Acked; n != 0 {
		t.Errorf("%d records are stored", n)
	}
}

// A transport that would send the address as data does not get it, neither
// open nor sealed; the next process with the right one does.
func TestBlobsWaitForTheirTransport(t *testing.T) {
	for _, sealed := range []bool{false, true} {
		dir := t.TempDir()
		f := takesBlobs()
		f.Down(transporttest.Fail(transport.Transient))
		opts := soon()
		opts.Batch.MaxAge = time.Hour
		s, err := engine.Open(dir, f, opts)
		if err != nil {
			t.Fatal(err)
		}
		r, err := s.IngestBlob(t.Context(), telemetry, blobAt("a.json"))
		if err == nil && sealed {
			err = s.Flush(t.Context())
		}
		if err = errors.Join(err, s.Close()); err != nil {
			t.Fatal(err)
		}
		if wrong, err := engine.Open(dir, transporttest.NewFake(), soon()); !errors.Is(err, engine.ErrNoBlobs) {
			t.Errorf("sealed %t: %v", sealed, err)
			if err == nil {
				wrong.Close()
			}
		}
		s = open(t, dir, takesBlobs(), soon())
		drain(t, s)
		state(t, s, r, ingest.Succeeded)
		// What is settled is in nobody's way.
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		open(t, dir, transporttest.NewFake(), soon())
	}
}

// A dead letter has the address as its payload.
func TestBlobInTheDeadLetters(t *testing.T) {
	f := takesBlobs()
	f.Script(transporttest.Step{Fail: transporttest.Fail(transport.Malformed)})
	dir := t.TempDir()
	s := open(t, dir, f, soon())
	r, err := s.IngestBlob(t.Context(), telemetry, blobAt("a.json"))
	if err != nil {
		t.Fatal(err)
	}
	drain(t, s)
	st := state(t, s, r, ingest.DeadLettered)
	data, err := os.ReadFile(filepath.Join(dir, "dead", st.Batch.String()+".data.blob.json"))
	if err != nil || string(data) != `{"uri":"https://acc.blob.core.windows.net/c/a.json"}` {
		t.Errorf("%s, %v", data, err)
	}
}

// One blob that waits for its secret does not keep the others of its table
// waiting.
func TestOneHeldBlobNeverDelaysAnother(t *testing.T) {
	f := takesBlobs()
	f.Decide(func(d *transport.Delivery) (transporttest.Step, bool) {
		r := d.Payload.Open()
		defer r.Close()
		text := make([]byte, d.Payload.Size())
		if _, err := r.Read(text); err == nil && strings.Contains(string(text), "held") {
			return transporttest.Step{Fail: transporttest.Fail(transport.Held)}, true
		}
		return transporttest.Step{}, false
	})
	opts := soon()
	opts.Senders = 1
	s := open(t, t.TempDir(), f, opts)
	names := []string{"held1.json"}
	for range 20 {
		names = append(names, "good.json")
	}
	names = append(names, "held2.json", "good.json")
	for _, name := range names {
		if _, err := s.IngestBlob(t.Context(), telemetry, blobAt(name)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := f.WaitRows(ctx, transporttest.TableOf(telemetry), 21); err != nil {
		t.Fatalf("%d of 21 good blobs came through: %v", len(f.Kept()), err)
	}
}

package transporttest

import (
	"bytes"
	"compress/gzip"
	"slices"
	"strings"
	"testing"

	"kustospool/ingest"
	"kustospool/transport"
)

// refer is a parcel whose payload is the address of a blob that holds the
// records of another.
func (r *run) refer(t testing.TB, props ingest.Properties, blob ingest.Blob, of *parcel) *parcel {
	t.Helper()
	data, err := blob.Record()
	if err != nil {
		t.Fatalf("the harness's PutBlob gave no URI that could be stored: %v", err)
	}
	props.ByReference = true
	p := r.parcel(t, props, 1)
	p.data, p.batch.RawBytes = data, int64(len(data))
	p.records = of.records
	return p
}

// A batch by reference brings the blob's records in, as often as any batch
// would; a transport that takes data only refuses it, and does not ingest the
// address.
func testBlob(t *testing.T, r *run) {
	if !r.Transport.Capabilities().Blobs {
		p := r.refer(t, r.json(), ingest.Blob{URI: "https://account.blob.core.windows.net/c/b.json"}, r.parcel(t, r.json(), 1))
		if a := r.send(t, p, delivery{}); a.err == nil || a.class() == transport.Unknown || a.class().Destination() {
			t.Errorf("a batch by reference ends in %v, want a refusal", a.err)
		}
		r.settle(t)
		if rows := r.Rows(t, r.json()); len(rows) != 0 {
			t.Errorf("%d rows came of an address", len(rows))
		}
		return
	}
	if r.PutBlob == nil {
		t.Skip("the harness has no PutBlob")
	}
	for _, f := range []ingest.Format{ingest.JSON, ingest.CSV} {
		if !slices.Contains(r.h.Formats, f) {
			continue
		}
		props := ingest.Properties{Database: "Telemetry", Table: "Blobs" + string(f), Format: f}
		plain, zipped := r.parcel(t, props, 5), r.parcel(t, props, 5)
		var z bytes.Buffer
		w := gzip.NewWriter(&z)
		if _, err := w.Write(zipped.data); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		first := r.refer(t, props, ingest.Blob{URI: r.PutBlob(t, f.Extension(), plain.data), RawSize: int64(len(plain.data))}, plain)
		second := r.refer(t, props, ingest.Blob{URI: r.PutBlob(t, f.Extension()+".gz", z.Bytes())}, zipped)
		a := r.deliver(t, first, delivery{})
		if b := r.deliver(t, second, delivery{}); b.ack.BlobBytes < 0 || a.ack.BlobBytes != int64(len(plain.data)) {
			t.Errorf("the sizes of the blobs are %d and %d, want %d and one that may be unknown", a.ack.BlobBytes, b.ack.BlobBytes, len(plain.data))
		}
		r.wantOnly(t, props, plain, zipped)
		r.deliver(t, first, delivery{number: 2, progress: a.journal.Last()})
		r.atLeastOne(t, first)
	}
	// A blob that is not there is this batch's own fault: it is not tried for
	// ever, and no other waits for it.
	gone := r.refer(t, r.json(), ingest.Blob{URI: missing(r.PutBlob(t, ".json", []byte("{}")))}, r.parcel(t, r.json(), 1))
	a := r.send(t, gone, delivery{})
	class := a.class()
	if a.err == nil {
		if v, ok := r.verdict(t, gone, a.journal.Last()); ok && v.Failure != nil {
			class = v.Failure.Class
		}
	}
	if class != transport.Permanent {
		t.Errorf("a blob that is missing ends in class %v (%v), want permanent", class, a.err)
	}
	r.wantCopies(t, gone, 0)

	foreign := r.refer(t, r.json(), ingest.Blob{URI: "https://account.blob.core.windows.net/c/b.json"}, r.parcel(t, r.json(), 1))
	foreign.data = []byte(`{"uri":"https://account.blob.core.windows.net/c/b.json?sig=x"}`)
	foreign.batch.RawBytes = int64(len(foreign.data))
	if a := r.send(t, foreign, delivery{}); a.class() != transport.Permanent {
		t.Errorf("a payload that is no reference ends in %v, want permanent", a.err)
	}
}

// missing is the address of another blob than the one at uri.
func missing(uri string) string {
	address, access, found := strings.Cut(uri, ";")
	if found {
		access = ";" + access
	}
	return address + ".gone.json" + access
}

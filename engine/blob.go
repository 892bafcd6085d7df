package engine

import (
	"context"
	"fmt"
	"net/url"
	"path"
	"strings"

	"kustospool/ingest"
	"kustospool/transport"
)

// IngestBlob makes the order to ingest a blob durable. The blob stays where it
// is: the service fetches it when the order reaches it, and only then it shows
// whether the blob is there and can be read. Where p has no format the blob's
// name tells it ([ingest.FormatOf]).
//
// The order is a record like others: one receipt, a batch of its own, tagged,
// tracked, and dead-lettered when the blob is not to be had or the service
// cannot read it; its payload is then the blob's address. In Stats it counts
// as one record; while it waits with the bytes of the address, and in RawBytes
// with the size of the blob, where b.RawSize tells it, or the storage to a
// transport that asks: queued ingestion does, direct ingestion does not.
//
// b.URI must hold no secret ([ingest.Blob] says what is one): it is written to
// disk. The transport asks for secrets when it sends, by its BlobSecret. An
// order whose secret cannot be had waits, and those behind it go on.
//
// A caller that wants a Request.Key ingests a request of b.Record instead, with
// Properties.ByReference.
//
// Errors are those of Ingest, and one that matches [ingest.ErrInvalid] where the
// transport of p's table takes data only (Capabilities.Blobs). The network is not
// asked.
func (s *Spool) IngestBlob(ctx context.Context, p ingest.Properties, b ingest.Blob) (ingest.Receipt, error) {
	data, err := b.Record()
	if err != nil {
		return ingest.Receipt{}, err
	}
	if p.Format == "" {
		name := blobName(b.URI)
		f, ok := ingest.FormatOf(name)
		if !ok {
			return ingest.Receipt{}, &ingest.FieldError{Field: "format", Rule: fmt.Sprintf("must be given: the name %q does not tell it", name)}
		}
		p.Format = f
	}
	p.ByReference = true
	return s.Ingest(ctx, &ingest.Request{Properties: p, Data: data})
}

// IngestBlob is [Spool.IngestBlob] into the table.
func (t *Table) IngestBlob(ctx context.Context, b ingest.Blob) (ingest.Receipt, error) {
	return t.s.IngestBlob(ctx, t.p, b)
}

// blobName is the last element of a valid URI's path.
func blobName(uri string) string {
	address, _, _ := strings.Cut(uri, ";")
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return path.Base(u.Path)
}

var errDataOnly = &ingest.FieldError{Field: "byReference", Rule: "cannot be had: the transport takes the data itself only; queued, direct and managed ingestion take blobs"}

// canSend refuses a blob by reference that an earlier process took in and that a
// transport with these capabilities would send as if its address were the data.
func canSend(p *ingest.Properties, caps transport.Capabilities) error {
	if p.ByReference && !caps.Blobs {
		return fmt.Errorf("%w: one waits for table %s", ErrNoBlobs, p.Table)
	}
	return nil
}

package direct

import (
	"context"
	"fmt"
	"io"

	"kustospool/ingest"
	"kustospool/ingest/record"
	"kustospool/transport"
	"kustospool/transport/internal/kusto"
	"kustospool/transport/internal/staging"
)

// maxParts is how many blobs one command has at most.
const maxParts = 16

// part is a run of a payload's bytes that holds whole records.
type part struct{ from, size int64 }

// cuts divides a payload that is larger than MaxBlobBytes into parts of about
// that size; nil for one that goes as it is. Only formats of lines can be cut,
// behind a record. A header that the service is to pass over would be passed
// over in each part.
func (c *Client) cuts(ctx context.Context, d *transport.Delivery) ([]part, error) {
	p := &d.Batch.Properties
	size := d.Payload.Size()
	if size <= c.opts.MaxBlobBytes || !p.Concatenates() || p.Format == ingest.MultiJSON || p.IgnoreFirstRecord || p.IgnoreLastRecordIfInvalid {
		return nil, nil
	}
	target := max(c.opts.MaxBlobBytes, (size+maxParts-1)/maxParts)
	payload := d.Payload.Open()
	defer payload.Close()
	rule := p.Rule()
	rule.Unchecked = true // its end is all there is to find
	in := record.NewReader(payload, rule)
	var parts []part
	from, whole := int64(0), true
	for {
		piece, err := in.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read payload: %w", err)
		}
		if piece.Kind == record.Bad {
			whole = false // nobody knows where the service ends it; what follows stays together
		}
		at := in.Offset()
		if whole && at-from >= target && at < size {
			parts = append(parts, part{from, at - from})
			from = at
			if err := ctx.Err(); err != nil {
				return nil, &transport.Error{Op: "upload", Class: transport.Transient, Message: "not begun: " + err.Error(), Err: err}
			}
		}
		if piece.Fault != nil && piece.Fault.Fatal {
			return append(parts, part{from, size - from}), nil
		}
	}
	if at := in.Read(); at != size {
		return nil, fmt.Errorf("read payload: it ends after %d of %d bytes: %w", at, size, io.ErrUnexpectedEOF)
	}
	return append(parts, part{from, size - from}), nil
}

// uploadParts puts each part into a blob of its own, all in one container if
// that takes them, and returns the command that ingests them together. An
// attempt after this one uploads them again, to the same place.
func (c *Client) uploadParts(ctx context.Context, d *transport.Delivery, p *progress, containers []kusto.Resource, parts []part) (command string, wire int64, err error) {
	urls := make([]string, len(parts))
	last := staging.Blob{Host: p.Host, Container: p.Container} // the same one again, so that nothing is left behind twice
	for i, cut := range parts {
		piece := *d
		piece.Payload = section{d.Payload, cut}
		container, b, n, err := c.uploads.UploadAs(ctx, &piece, staging.PartName(d.Batch, i), containers, last, func(b staging.Blob) error {
			p.Blob = staging.Blob{Host: b.Host, Container: b.Container}
			if p.Blob == last {
				return nil
			}
			last = p.Blob
			if err := d.Journal.Note(ctx, p.encode()); err != nil {
				return fmt.Errorf("journal: %w", err)
			}
			return nil
		})
		if err != nil {
			return "", 0, err
		}
		urls[i] = container.Join(b.Blob)
		wire += n
	}
	return ingestInto(d.Batch, c.opts.Async, urls...), wire, nil
}

// section is one part of a payload, as a payload.
type section struct {
	whole transport.Payload
	part
}

// Size implements [transport.Payload].
func (s section) Size() int64 { return s.part.size }

// Open implements [transport.Payload]. The bytes before the part are read over
// with the first Read: a payload can be read from its beginning only.
func (s section) Open() io.ReadCloser {
	whole := s.whole.Open()
	return &sectionReader{whole: whole, skip: s.from, rest: io.LimitReader(whole, s.part.size)}
}

type sectionReader struct {
	whole io.ReadCloser
	skip  int64     // bytes before the part, not yet read over
	rest  io.Reader // the part, of whole
}

// Close implements [io.Closer].
func (r *sectionReader) Close() error { return r.whole.Close() }

// Read implements [io.Reader].
func (r *sectionReader) Read(b []byte) (int, error) {
	if r.skip > 0 {
		n, err := io.CopyN(io.Discard, r.whole, r.skip)
		r.skip -= n
		if err != nil {
			return 0, err
		}
	}
	return r.rest.Read(b)
}

package direct

import (
	"context"
	"fmt"
	"io"
	"slices"

	"kustospool/ingest"
	"kustospool/ingest/record"
	"kustospool/transport"
	"kustospool/transport/internal/kusto"
	"kustospool/transport/internal/upload"
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

// uploaded is a part that is in its blob.
type uploaded struct {
	Raw  int64  `json:"raw"` // the part's size: of a batch that is cut in another way it is another part
	ETag string `json:"etag"`
	Wire int64  `json:"wire"`
}

// uploadParts puts each part into a blob of its own, all in one container if
// that takes them, and returns the command that ingests them together. An
// attempt after this one finds the parts that have ended, and goes on with the
// one that has not; it does both in the same container only.
func (c *Client) uploadParts(ctx context.Context, d *transport.Delivery, p *progress, containers []kusto.Resource, parts []part) (command string, wire int64, err error) {
	urls := make([]string, len(parts))
	if len(p.Parts) > len(parts) || slices.ContainsFunc(p.Parts, func(u uploaded) bool { return u.Raw <= 0 }) {
		p.Parts = nil
	}
	for i, u := range p.Parts {
		if u.Raw != parts[i].size {
			p.Parts, p.Blocks = p.Parts[:i], ""
			break
		}
	}
	note, begun := c.noting(d, p), p.Blob
	done := p.Parts
	p.Parts = p.Parts[:0:0]
	for i, cut := range parts {
		piece := *d
		piece.Payload = section{d.Payload, cut}
		last := upload.Blob{Host: begun.Host, Container: begun.Container, Blob: upload.PartName(d.Batch, i)}
		switch {
		case i < len(done):
			last.ETag, last.Wire = done[i].ETag, done[i].Wire
		case i == len(done) && begun.Blob == last.Blob:
			last.Blocks = begun.Blocks
		}
		container, b, n, err := c.uploads.UploadAs(ctx, &piece, last.Blob, containers, last, note)
		if err != nil {
			return "", 0, err
		}
		urls[i] = container.Join(b.Blob)
		wire += n
		begun.Host, begun.Container = b.Host, b.Container // the next ones beside it
		p.Parts = append(p.Parts, uploaded{cut.size, b.ETag, b.Wire})
		if n > 0 {
			if err := note(ctx, b); err != nil {
				return "", 0, err
			}
		}
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

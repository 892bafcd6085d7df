package direct

import (
	"context"
	"errors"

	"kustospool/ingest"
	"kustospool/transport"
	"kustospool/transport/internal/kusto"
)

// refer is the command that ingests a blob by reference; it may hold a secret.
func (c *Client) refer(ctx context.Context, d *transport.Delivery) (command string, size int64, err error) {
	source, err := c.blobs.Resolve(ctx, d.Payload)
	if err != nil {
		return "", 0, err
	}
	return ingestInto(d.Batch, c.opts.Async, source.URL), source.RawSize, nil
}

// ofReference gives the error of a command the class that it has where the
// blob is the caller's.
func ofReference(b *ingest.Batch, err error) error {
	var e *transport.Error
	if !b.Properties.ByReference || !errors.As(err, &e) || e.Class == transport.Unknown {
		return err
	}
	other := *e
	other.Class = kusto.ReferenceClass(e.Code, e.Class)
	return &other
}

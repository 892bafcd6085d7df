package kustosim

import (
	"context"
	"io"
	"net/url"
)

// resource is a row of `.get ingestion resources`.
type resource struct {
	kind string // ResourceTypeName
	root string // StorageRoot, with its SAS
}

// reportQueue is one of the two cluster-wide report queues.
type reportQueue int

const (
	successQueue reportQueue = iota + 1
	failureQueue
)

// storage is what the DM and the ingestor need of storage, the built-in one or
// an external account.
type storage interface {
	// resources returns the rows a client is told, with fresh signatures.
	resources() ([]resource, error)
	// download opens a blob by the URI of a message; size is that of the blob
	// as stored. Its error has the code of the ingestion's failure.
	download(ctx context.Context, uri *url.URL) (body io.ReadCloser, size int64, bad *ingestError)
	// put stores a blob as somebody else would, beside what clients upload, and
	// returns its URI without a signature.
	put(ctx context.Context, name string, data []byte) (*url.URL, error)
	// signed is the URI of a blob with a signature of the service's own that
	// reads it; as it is where the blob is not of this storage.
	signed(uri *url.URL) (*url.URL, error)
	// remove deletes an ingested blob. A blob that cannot be deleted stays.
	remove(ctx context.Context, uri *url.URL) error
	// setStatus merges properties into the status entity of a message.
	setStatus(ctx context.Context, table *url.URL, key entityKey, props map[string]any) error
	// report puts a message, base64 already, on a report queue.
	report(ctx context.Context, queue reportQueue, text string) error
	// rotate replaces all containers and queues by new ones. The old ones, and
	// what is in them, are gone.
	rotate(ctx context.Context) error
	// close stops what the storage runs. Its ports are closed already.
	close() error
}

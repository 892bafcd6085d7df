package staging

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/klauspost/compress/gzip"

	"kustospool/ingest"
	"kustospool/transport"
	"kustospool/transport/internal/kusto"
)

// One upload stages blocks of BlockBytes, uploadBlocks of them at a time. A
// payload that fits in one block is one request. At most 50,000 blocks make a
// blob, 195 GiB, far more than a batch may have.
const (
	BlockBytes   = 4 << 20
	uploadBlocks = 2
	blockRetries = 2
)

// MaxContainers is how many containers one attempt tries, as the official
// clients do (protocol reference section 3.3).
const MaxContainers = 3

const opUpload = "upload"

// Options configure an [Uploader]; all but Credential must be set.
type Options struct {
	azcore.ClientOptions
	// Credential writes the blobs of containers without a SAS; nil otherwise.
	Credential       azcore.TokenCredential
	UploadTimeout    time.Duration // of one request of an upload
	RequestTimeout   time.Duration // of every other request
	CompressionLevel int           // gzip's
}

// Uploader uploads payloads. It is safe for concurrent use.
type Uploader struct {
	opts      Options
	wire      *kusto.Wire
	ingestion *kusto.Ingestion
	zippers   sync.Pool // of *gzip.Writer at opts.CompressionLevel
}

// New returns an uploader over what the service lends. A compression level
// that gzip does not know is a programming error and panics on first use.
func New(wire *kusto.Wire, ingestion *kusto.Ingestion, opts Options) *Uploader {
	u := &Uploader{opts: opts, wire: wire, ingestion: ingestion}
	u.zippers.New = func() any {
		z, err := gzip.NewWriterLevel(io.Discard, opts.CompressionLevel)
		if err != nil {
			panic("staging: a validated compression level is refused: " + err.Error())
		}
		return z
	}
	return u
}

// Storage returns the options for storage clients whose requests are tried
// 1+retries times, each for at most timeout.
func (u *Uploader) Storage(retries int32, timeout time.Duration) azcore.ClientOptions {
	o := u.opts.ClientOptions
	o.Transport = u.wire
	if retries == 0 {
		retries = -1 // zero is the SDK's "default", which is three
	}
	o.Retry = policy.RetryOptions{MaxRetries: retries, TryTimeout: timeout, RetryDelay: 300 * time.Millisecond, MaxRetryDelay: 3 * time.Second,
		// 429 and 503 ask for less: that is for the engine to obey, or for another account to take.
		StatusCodes: []int{http.StatusRequestTimeout, http.StatusInternalServerError, http.StatusBadGateway, http.StatusGatewayTimeout}}
	return o
}

// Failed classifies an error of a storage call, tells the ranking, and has the
// resources fetched again where storage refused them.
func (u *Uploader) Failed(ctx context.Context, op string, r kusto.Resource, err error, effect kusto.Effect, sent *kusto.Sent) *transport.Error {
	if ctx.Err() == nil { // the caller's end is not the account's fault
		u.ingestion.Ranking.Report(r.Account, false)
	}
	if kusto.StorageRefused(err) {
		u.ingestion.InvalidateResources()
		u.ingestion.InvalidateConfiguration()
	}
	return kusto.StorageFailure(op, err, effect, sent)
}

// Blob is where an upload is or was: names only, fit for a Journal.
type Blob struct {
	Host      string `json:"host,omitempty"`
	Container string `json:"container,omitempty"` // with the account before it where the host does not name one
	Blob      string `json:"blob,omitempty"`
	// What the upload left there; empty until it ended.
	ETag string `json:"etag,omitempty"`
	Wire int64  `json:"wire,omitempty"`
}

// Upload puts the batch's blob into one of the containers, unless last is
// there still, and returns the container, where the blob is and the bytes
// sent. note is called before each container is tried, with what is then
// intended; its error ends the upload and is returned as it is.
func (u *Uploader) Upload(ctx context.Context, d *transport.Delivery, containers []kusto.Resource, last Blob, note func(Blob) error) (kusto.Resource, Blob, int64, error) {
	return u.UploadAs(ctx, d, Name(d.Batch), containers, last, note)
}

// UploadAs is Upload of a blob that has another name than the batch's.
func (u *Uploader) UploadAs(ctx context.Context, d *transport.Delivery, name string, containers []kusto.Resource, last Blob, note func(Blob) error) (kusto.Resource, Blob, int64, error) {
	containers = u.ingestion.Ranking.Order(containers)
	if c, ok := kusto.Find(containers, last.Host, last.Container); ok {
		if u.there(ctx, c, last) {
			return c, last, 0, nil
		}
		// The same container again: the blob is overwritten instead of left behind twice.
		containers = slices.DeleteFunc(containers, func(r kusto.Resource) bool { return r.Same(c.Host, c.Path) })
		containers = slices.Insert(containers, 0, c)
	}
	var failure error
	for _, container := range containers[:min(len(containers), MaxContainers)] {
		b := Blob{Host: container.Host, Container: container.Path, Blob: name}
		if err := note(b); err != nil {
			return kusto.Resource{}, Blob{}, 0, err
		}
		err := u.put(ctx, d, container, &b)
		if err == nil {
			u.ingestion.Ranking.Report(container.Account, true)
			return container, b, b.Wire, nil
		}
		failure = err
		var e *transport.Error
		if !errors.As(err, &e) || e.Class == transport.Permanent || ctx.Err() != nil {
			break // the payload's own error, its size, or no time left
		}
	}
	return kusto.Resource{}, Blob{}, 0, failure
}

// put uploads the payload to one container. An error of the payload is
// returned wrapped and unclassified: it is not the destination's.
func (u *Uploader) put(ctx context.Context, d *transport.Delivery, container kusto.Resource, b *Blob) error {
	client, err := u.blob(container.Join(b.Blob), u.Storage(blockRetries, u.opts.UploadTimeout))
	if err != nil {
		return kusto.WireFailure(opUpload, err, kusto.NoEffect, nil)
	}
	var zip *gzip.Writer
	if d.Batch.Properties.Compressed() {
		zip = u.zippers.Get().(*gzip.Writer)
		defer u.zippers.Put(zip)
	}
	src := newSource(d.Payload, zip)
	defer src.Close()
	resp, err := client.UploadStream(ctx, src, &blockblob.UploadStreamOptions{BlockSize: BlockBytes, Concurrency: uploadBlocks})
	if src.failure != nil {
		return fmt.Errorf("read payload: %w", src.failure)
	}
	if err != nil {
		return u.Failed(ctx, opUpload, container, err, kusto.NoEffect, nil)
	}
	if resp.ETag != nil && len(*resp.ETag) <= maxETag {
		b.ETag = string(*resp.ETag)
	}
	b.Wire = src.wire
	return nil
}

// blob opens a blob by its address.
func (u *Uploader) blob(address string, o azcore.ClientOptions) (*blockblob.Client, error) {
	if u.opts.Credential != nil {
		return blockblob.NewClient(address, u.opts.Credential, &blockblob.ClientOptions{ClientOptions: o})
	}
	return blockblob.NewClientWithNoCredential(address, &blockblob.ClientOptions{ClientOptions: o})
}

// Pack writes the payload to w as it goes on the wire and returns the bytes
// written. An error of the payload is returned wrapped; one of w as it is.
func (u *Uploader) Pack(w io.Writer, p transport.Payload, compress bool) (int64, error) {
	var zip *gzip.Writer
	if compress {
		zip = u.zippers.Get().(*gzip.Writer)
		defer u.zippers.Put(zip)
	}
	src := newSource(p, zip)
	defer src.Close()
	n, err := io.Copy(w, src)
	if src.failure != nil {
		return 0, fmt.Errorf("read payload: %w", src.failure)
	}
	return n, err
}

// maxETag bounds what is remembered of a blob's version.
const maxETag = 128

// there reports whether the blob that an earlier attempt uploaded to the
// container is there unchanged. Any doubt, the lack of a right to look
// included, means that it is uploaded again.
func (u *Uploader) there(ctx context.Context, container kusto.Resource, b Blob) bool {
	if b.ETag == "" || b.Blob == "" {
		return false
	}
	client, err := u.blob(container.Join(b.Blob), u.Storage(0, u.opts.RequestTimeout))
	if err != nil {
		return false
	}
	p, err := client.GetProperties(ctx, nil)
	return err == nil && p.ETag != nil && string(*p.ETag) == b.ETag &&
		p.ContentLength != nil && *p.ContentLength == b.Wire
}

// maxNamePart bounds the database's and the table's share of a blob name.
const maxNamePart = 64

// Name is a batch's blob name: a function of the batch alone, so that a repeat
// overwrites with the same content. Its end tells the service format and
// compression (protocol reference section 4.3); what is before the batch id is
// for people.
func Name(b *ingest.Batch) string { return blobName(b, "") }

// PartName is the name of one of several blobs of a batch, from 0 on.
func PartName(b *ingest.Batch, part int) string { return blobName(b, fmt.Sprintf("-%02d", part)) }

func blobName(b *ingest.Batch, part string) string {
	p := &b.Properties
	name := "kustospool__" + nameText(p.Database) + "__" + nameText(p.Table) + "__" + b.ID.String() + part + p.Format.Extension()
	switch {
	case p.Compressed():
		name += ".gz"
	case p.ZipPattern != "":
		name += ".zip"
	}
	return name
}

// nameText keeps of a name what needs no escape in a URL.
func nameText(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_':
			return r
		}
		return '-'
	}, s[:min(len(s), maxNamePart)])
}

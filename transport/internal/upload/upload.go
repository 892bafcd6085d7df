package upload

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/klauspost/compress/gzip"

	"kustospool/transport"
	"kustospool/transport/internal/kusto"
)

// One upload has two buffers, and so at most two blocks under way.
const (
	uploadBlocks = 2
	blockRetries = 2
)

// The defaults of Options.
const (
	DefaultUpload  = 10 * time.Minute
	DefaultMinRate = 1 << 10
)

// MaxContainers is how many containers one attempt tries, as the official
// clients do (protocol reference section 3.3).
const MaxContainers = 3

const opUpload = "upload"

// WorthNoting reports whether an upload of so many bytes is to be noted in the
// journal when it has ended, so that an attempt after a failure between there
// and Commit does not repeat it. Below 1 MiB the repeat costs less than the note.
func WorthNoting(wire int64) bool { return wire >= 1<<20 }

// Options configure an [Uploader]; all but Credential must be set.
type Options struct {
	azcore.ClientOptions
	// Credential writes the blobs of containers without a SAS; nil otherwise.
	Credential       azcore.TokenCredential
	UploadTimeout    time.Duration // of one request of an upload, whatever its rate
	StallTimeout     time.Duration // without a block acknowledged, an upload ends
	MinRate          int64         // bytes a second, by which a block may be slower
	RequestTimeout   time.Duration // of every other request
	CompressionLevel int           // gzip's

	// MinBlock is the smallest block, a power of two from 1 KiB on, and BlockTime
	// how long a block should take. The defaults, for zero, are 64 KiB and 2 seconds.
	MinBlock  int
	BlockTime time.Duration
}

// Uploader uploads payloads. It is safe for concurrent use.
type Uploader struct {
	opts      Options
	wire      *kusto.Wire
	ingestion *kusto.Ingestion
	pace      pace
	zippers   sync.Pool // of *gzip.Writer at opts.CompressionLevel
	buffers   sync.Pool // of *[]byte for blocks
	counts    struct {
		resumed, again atomic.Int64 // uploads that went on, and that had to begin again
		kept           atomic.Int64 // bytes that were not sent again
	}
}

// New returns an uploader over what the service lends. A compression level
// that gzip does not know is a programming error and panics on first use.
func New(wire *kusto.Wire, ingestion *kusto.Ingestion, opts Options) *Uploader {
	u := &Uploader{opts: opts, wire: wire, ingestion: ingestion}
	u.pace.least, u.pace.time = cmp.Or(opts.MinBlock, minBlock), cmp.Or(opts.BlockTime, blockTime)
	u.pace.first = min(u.pace.least*(firstBlock/minBlock), BlockBytes) // the quotient first: an int may have 32 bits
	u.zippers.New = func() any {
		z, err := gzip.NewWriterLevel(io.Discard, opts.CompressionLevel)
		if err != nil {
			panic("upload: a validated compression level is refused: " + err.Error())
		}
		return z
	}
	return u
}

// Storage returns the options for storage clients whose requests are tried
// 1+retries times, each for at most timeout; 0 for as long as its context lasts.
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
	return u.ingestion.Secrets().StorageFailure(op, err, effect, sent)
}

// Blob is where an upload is or was: names only, fit for a Journal.
type Blob struct {
	Host      string `json:"host,omitempty"`
	Container string `json:"container,omitempty"` // with the account before it where the host does not name one
	Blob      string `json:"blob,omitempty"`
	// Blocks is what storage has acknowledged of an upload that did not end.
	Blocks string `json:"blocks,omitempty"`
	// What the upload left there; empty until it ended.
	ETag string `json:"etag,omitempty"`
	Wire int64  `json:"wire,omitempty"`
}

// Upload puts the batch's blob into one of the containers, unless last is
// there still, and returns the container, where the blob is and the bytes
// sent. An upload that last says was begun goes on where it broke off. note is
// called before each container is tried, with what is then intended, and as
// blocks are acknowledged; its error ends the upload and is returned as it is.
func (u *Uploader) Upload(ctx context.Context, d *transport.Delivery, containers []kusto.Resource, last Blob, note func(context.Context, Blob) error) (kusto.Resource, Blob, int64, error) {
	return u.UploadAs(ctx, d, Name(d.Batch), containers, last, note)
}

// UploadAs is Upload of a blob that has another name than the batch's.
func (u *Uploader) UploadAs(ctx context.Context, d *transport.Delivery, name string, containers []kusto.Resource, last Blob, note func(context.Context, Blob) error) (kusto.Resource, Blob, int64, error) {
	containers = u.ingestion.Ranking.Order(containers)
	if last.Blob != name { // of another blob: nothing of it is this one's
		last.ETag, last.Blocks = "", ""
	}
	begun := parseHistory(last.Blocks)
	if c, ok := kusto.Find(containers, last.Host, last.Container); ok {
		if u.there(ctx, c, last) {
			return c, last, 0, nil
		}
		// The same container again: the blob is overwritten instead of left behind twice.
		containers = slices.DeleteFunc(containers, func(r kusto.Resource) bool { return r.Same(c.Host, c.Path) })
		containers = slices.Insert(containers, 0, c)
		if begun.blocks() > 0 {
			u.counts.resumed.Add(1)
		}
	} else if begun.blocks() > 0 {
		u.counts.again.Add(1) // the container is not lent any more
		begun = history{}
	}
	var failure error
	for i, container := range containers[:min(len(containers), MaxContainers)] {
		b := Blob{Host: container.Host, Container: container.Path, Blob: name}
		if i == 0 {
			b.Blocks = begun.String() // empty where it is not to be read
		}
		if err := note(ctx, b); err != nil {
			return kusto.Resource{}, Blob{}, 0, err
		}
		err := u.put(ctx, d, container, &b, note)
		if err == nil {
			u.ingestion.Ranking.Report(container.Account, true)
			return container, b, b.Wire, nil
		}
		failure = err
		var e *transport.Error
		if !errors.As(err, &e) || e.Class == transport.Permanent || ctx.Err() != nil {
			break // the payload's own error, its size, or no time left
		}
		if e.Code == string(bloberror.InvalidBlockList) {
			break // said; the next attempt begins again, in the same place
		}
		if i+1 < len(containers) && u.stays(ctx, d, e, parseHistory(b.Blocks), containers[i+1]) {
			break
		}
	}
	return kusto.Resource{}, Blob{}, 0, failure
}

// stayAttempts is for how many attempts without another block an upload stays
// with a container that gives trouble.
const stayAttempts = 3

// stays decides whether an upload that broke off leaves what it has in its
// container for the next attempt, or begins again in another one. A container
// that is gone is left at once; an account that does not answer only where
// another one does, since it is the link that breaks most.
func (u *Uploader) stays(ctx context.Context, d *transport.Delivery, e *transport.Error, done history, next kusto.Resource) bool {
	if done.blocks() == 0 {
		return false
	}
	leaves := e.Code == string(bloberror.ContainerNotFound) || e.Code == string(bloberror.ContainerBeingDeleted)
	if !leaves && d.Attempt-done.attempt >= stayAttempts {
		leaves = e.Code != "" || u.answers(ctx, next) // a code is in every reply of storage
	}
	if leaves {
		u.counts.again.Add(1)
	}
	return !leaves
}

// answers reports whether a container's account can be reached; what it says
// does not matter.
func (u *Uploader) answers(ctx context.Context, container kusto.Resource) bool {
	client, err := u.blob(container.Join("answers"), u.Storage(0, u.opts.RequestTimeout))
	if err != nil {
		return false
	}
	_, err = client.GetProperties(ctx, nil)
	var reply *azcore.ResponseError
	return err == nil || errors.As(err, &reply)
}

// zipper lends a compressor; putZipper takes it back, with no hold on what it wrote to.
func (u *Uploader) zipper() *gzip.Writer { return u.zippers.Get().(*gzip.Writer) }

func (u *Uploader) putZipper(z *gzip.Writer) {
	z.Reset(io.Discard)
	u.zippers.Put(z)
}

// buffer lends a buffer of at least size bytes. It is given back when the
// request that carried it has ended its loan ([kusto.Body.End]).
func (u *Uploader) buffer(size int) *[]byte {
	if b, ok := u.buffers.Get().(*[]byte); ok && len(*b) >= size {
		return b
	}
	b := make([]byte, size)
	return &b
}

func (u *Uploader) putBuffer(b *[]byte) { u.buffers.Put(b) }

// Figures are for [transport.Gauged]: uploads_resumed, uploads_begun_again (the
// blocks or their container were gone, or the bytes had changed) and
// upload_bytes_kept, which did not have to be sent again. None before the first.
func (u *Uploader) Figures() []transport.Figure {
	resumed, again := u.counts.resumed.Load(), u.counts.again.Load()
	if resumed+again == 0 {
		return nil
	}
	return []transport.Figure{{Name: "uploads_resumed", Value: resumed}, {Name: "uploads_begun_again", Value: again},
		{Name: "upload_bytes_kept", Value: u.counts.kept.Load()}}
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
		zip = u.zipper()
		defer u.putZipper(zip)
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

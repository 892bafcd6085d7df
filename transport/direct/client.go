package direct

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"kustospool/ingest"
	"kustospool/transport"
	"kustospool/transport/budget"
	"kustospool/transport/internal/kusto"
	"kustospool/transport/internal/reference"
	"kustospool/transport/internal/upload"
)

// Limits of a batch: of a blob the largest source that the official clients
// send (protocol reference section 4.4), of inline data what one command text
// should carry.
const (
	maxBlobBytes   = 4 << 30
	maxInlineBytes = 4 << 20
)

const opCapacity, opIngest, opResolve = "capacity", "ingest command", "look for the batch"

// ClientOptions configure a [Client]. Nil and the zero value are the defaults.
type ClientOptions struct {
	// ClientOptions are the Azure SDK's. Its Transport carries every request,
	// to Kusto and to storage. Its Retry is not used.
	azcore.ClientOptions

	// Budget bounds what passes; nil for no bound. It counts at the connections of
	// the client's own: a Transport of your own dials through Budget.Conn by itself.
	// One meter is for all clients of a destination.
	Budget *budget.Meter

	// App names the application in the service's traces; "kustospool" by default.
	App string

	// AllowHosts are hosts, or domains with a leading dot, outside the known
	// Kusto domains to which a token may be sent, and for which it may be made.
	AllowHosts []string

	// BlobSecret gives access to blobs that were ingested by reference; see the
	// option of the queued client.
	BlobSecret func(ctx context.Context, blob string) (string, error)

	// MinRate, UploadTimeout and StallTimeout bound how slow an upload may be and
	// how long it may stand still; see the options of the queued client. Defaults
	// 1 KiB/s, 10 minutes and 1 minute; at least 1 and a second.
	MinRate       int64
	UploadTimeout time.Duration
	StallTimeout  time.Duration

	// RequestTimeout bounds every other request but a command. Default 1
	// minute; at least a second.
	RequestTimeout time.Duration

	// CommandTimeout bounds one ingestion command. Default 10 minutes; at least
	// a second. A command that takes longer is Unknown, so be generous.
	CommandTimeout time.Duration

	// CompressionLevel is gzip's, 1 (fastest) to 9. Default 2.
	CompressionLevel int

	// TrackInterval is how long the engine waits between two questions about
	// the same batch of unknown outcome. Default 5 seconds; at least 10
	// milliseconds.
	TrackInterval time.Duration

	// Share is the part of the cluster's capacity for ingestions that this
	// client may use, over 0 to 1. Default 0.75; at least one command.
	Share float64

	// Limit is shared with other clients of the same cluster; Share is not used
	// then. Nil is a limit of the client's own.
	Limit *Limit

	// SlotWait is how long a Send waits for a free slot before it returns
	// Throttled. Default 30 seconds; at least 10 milliseconds.
	SlotWait time.Duration

	// Inline puts the data into the command instead of a blob: for a cluster
	// without a data management service. A batch then has at most 4 MiB, of a
	// line format, in UTF-8.
	Inline bool

	// Async has commands answer with an operation at once, and asks for its
	// state: for batches that take longer than a connection lives. An outcome
	// then comes with the next question, TrackInterval later at the latest. Not
	// with Inline.
	Async bool

	// MaxBlobBytes is the raw size from which on a batch of a line format is
	// uploaded as several blobs of about that size, which one command ingests
	// in parallel: at most 16. Default 1 GiB; at least 64 KiB.
	MaxBlobBytes int64
}

func (o *ClientOptions) withDefaults() ClientOptions {
	var c ClientOptions
	if o != nil {
		c = *o
	}
	c.UploadTimeout = cmp.Or(c.UploadTimeout, upload.DefaultUpload)
	c.StallTimeout = cmp.Or(c.StallTimeout, kusto.DefaultStall)
	c.RequestTimeout = cmp.Or(c.RequestTimeout, time.Minute)
	c.CommandTimeout = cmp.Or(c.CommandTimeout, 10*time.Minute)
	c.TrackInterval = cmp.Or(c.TrackInterval, 5*time.Second)
	c.SlotWait = cmp.Or(c.SlotWait, 30*time.Second)
	c.MinRate = cmp.Or(c.MinRate, upload.DefaultMinRate)
	c.CompressionLevel = cmp.Or(c.CompressionLevel, 2)
	c.Share = cmp.Or(c.Share, 0.75)
	c.MaxBlobBytes = cmp.Or(c.MaxBlobBytes, 1<<30)
	return c
}

func (o *ClientOptions) validate() (errs []error) {
	for _, f := range []struct {
		name     string
		v, least time.Duration
	}{{"UploadTimeout", o.UploadTimeout, time.Second}, {"StallTimeout", o.StallTimeout, time.Second}, {"RequestTimeout", o.RequestTimeout, time.Second}, {"CommandTimeout", o.CommandTimeout, time.Second},
		{"TrackInterval", o.TrackInterval, 10 * time.Millisecond}, {"SlotWait", o.SlotWait, 10 * time.Millisecond}} {
		if f.v < f.least {
			errs = append(errs, &ingest.FieldError{Field: f.name, Value: f.v.String(), Rule: "must be at least " + f.least.String()})
		}
	}
	if o.MinRate < 1 {
		errs = append(errs, &ingest.FieldError{Field: "MinRate", Value: fmt.Sprint(o.MinRate), Rule: "must be at least 1"})
	}
	if o.CompressionLevel < 1 || o.CompressionLevel > 9 {
		errs = append(errs, &ingest.FieldError{Field: "CompressionLevel", Value: fmt.Sprint(o.CompressionLevel), Rule: "must be 1 to 9"})
	}
	if err := checkShare(o.Share); err != nil {
		errs = append(errs, err)
	}
	if o.MaxBlobBytes < 64<<10 {
		errs = append(errs, &ingest.FieldError{Field: "MaxBlobBytes", Value: fmt.Sprint(o.MaxBlobBytes), Rule: "must be at least 65536"})
	}
	if o.Async && o.Inline {
		errs = append(errs, &ingest.FieldError{Field: "Async", Value: "true", Rule: "must not be set with Inline: the service runs inline commands at once only"})
	}
	return errs
}

// Client is the transport of ingestion commands for one cluster. It is safe
// for concurrent use, as [transport.Transport] says.
type Client struct {
	opts      ClientOptions
	service   *kusto.Service
	ingestion *kusto.Ingestion
	uploads   *upload.Uploader
	blobs     *reference.Resolver
	limiter   *limiter
	underWay  underWay
	forbidden atomic.Int64 // looks that the role did not allow
}

var (
	_ transport.Transport = (*Client)(nil)
	_ transport.Tracker   = (*Client)(nil)
	_ io.Closer           = (*Client)(nil)
)

// NewClient prepares a client; nothing is sent, so it works offline. endpoint
// is the cluster's URL, with or without "ingest-" before its host. cred is any
// credential of azidentity; nil means none, which only a cluster on this
// machine accepts. All violated rules are reported at once; the error matches
// [ingest.ErrInvalid].
func NewClient(endpoint string, cred azcore.TokenCredential, opts *ClientOptions) (*Client, error) {
	c := &Client{opts: opts.withDefaults()}
	errs := c.opts.validate()
	service, err := kusto.NewService(endpoint, cred, &kusto.Options{
		ClientOptions: c.opts.ClientOptions, App: c.opts.App, AllowHosts: c.opts.AllowHosts, Meter: c.opts.Budget,
		Timeouts: kusto.Timeouts{Stall: c.opts.StallTimeout},
	})
	if err != nil {
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	c.service, c.ingestion = service, kusto.NewIngestion(service)
	c.uploads = upload.New(service.Wire(), c.ingestion, upload.Options{ClientOptions: c.opts.ClientOptions,
		UploadTimeout: c.opts.UploadTimeout, StallTimeout: c.opts.StallTimeout, MinRate: c.opts.MinRate, RequestTimeout: c.opts.RequestTimeout, CompressionLevel: c.opts.CompressionLevel})
	c.blobs = &reference.Resolver{Wire: service.Wire(), Secrets: service.Secrets(), Secret: c.opts.BlobSecret, Timeout: c.opts.RequestTimeout, NoProbe: true} // a command needs no size
	if c.opts.Limit == nil {
		c.opts.Limit = &Limit{newLimiter(c.opts.Share)}
	}
	c.limiter = c.opts.Limit.of
	c.limiter.askBy(c.capacity)
	c.underWay.slots = make(map[ingest.BatchID]heldSlot)
	return c, nil
}

// Capabilities: the service skips a repeat of a tagged batch; a batch has at
// most 4 GiB, or 4 MiB inline; blobs are taken by reference.
func (c *Client) Capabilities() transport.Capabilities {
	if c.opts.Inline {
		return transport.Capabilities{ExactlyOnce: true, MaxBatchBytes: maxInlineBytes, Blobs: true}
	}
	return transport.Capabilities{ExactlyOnce: true, MaxBatchBytes: maxBlobBytes, Blobs: true}
}

// Close closes idle connections. The client has no goroutine to stop.
func (c *Client) Close() error {
	c.service.Wire().CloseIdle()
	return nil
}

// capacity asks the cluster for its capacity for ingestions (protocol
// reference section 8.5).
func (c *Client) capacity(ctx context.Context) (int, error) {
	tables, err := c.service.Mgmt(ctx, kusto.Call{Op: opCapacity, Engine: true, Command: ".show capacity ingestions"})
	if err != nil {
		return 0, err
	}
	t := &tables[0]
	for i := range t.Rows {
		if n, err := strconv.Atoi(t.Text(i, "Total")); err == nil && n > 0 {
			return n, nil
		}
	}
	return 0, &transport.Error{Op: opCapacity, Class: transport.Transient, Message: "the reply names no total"}
}

package queued

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
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

// maxBatchBytes is the largest source the official clients send without being
// told to ignore the limit (protocol reference section 4.4).
const maxBatchBytes = 4 << 30

// Protocol is how a client asks the service to ingest an uploaded blob.
type Protocol uint8

const (
	// Auto is what the service's configuration prefers. A service that cannot
	// be asked, or does not have the REST API, is served by queue; and so it is
	// for five minutes after a request over REST that failed, because queues
	// work while data management is down. A table goes by queue where the
	// credential may not ask for outcomes over REST, which Auto finds out first,
	// or was refused there; it is asked again after five minutes.
	Auto Protocol = iota
	// Queue is a message on an Azure queue (the protocol's version 1).
	Queue
	// REST is a request to the data management endpoint (version 2, which
	// Microsoft calls a preview). It has no idempotency key either. A batch whose
	// outcome is wanted and could not be asked for is Held, and not sent.
	REST
)

// ClientOptions configure a [Client]. Nil and the zero value are the defaults.
type ClientOptions struct {
	// ClientOptions are the Azure SDK's. Its Transport carries every request,
	// to Kusto and to storage. Its Retry is not used: what may be repeated, and
	// how often, is part of this package's promise.
	azcore.ClientOptions

	// App names the application in the service's traces; "kustospool" by default.
	App string

	// AllowHosts are hosts, or domains with a leading dot, outside the known
	// Kusto domains to which a token may be sent, and for which it may be made.
	AllowHosts []string

	// Protocol is Auto by default.
	Protocol Protocol

	// Outcomes is where outcomes of batches sent by queue are learned; StatusTable
	// by default. The report queues are shared by all clients of a cluster: read
	// what PeekReports and TakeReports mean for the others.
	Outcomes Outcomes

	// Storage is where blobs go; nil means the containers that the service lends.
	Storage *Storage

	// BlobSecret returns what gives the service access to the blob at an address
	// that was ingested by reference and says nothing of it ([ingest.Blob]): a
	// SAS, or whatever its storage wants for a query, with or without the
	// question mark; or a suffix that begins with a semicolon, ";token=..."
	// say, as [StorageToken] makes one. Empty is for a blob that everybody may
	// read, and so is nil for all of them. It is called for each attempt, so
	// that what has expired is replaced; the result goes into the message and
	// nowhere else. It should be valid until the service has read the blob. It
	// has RequestTimeout for its answer. An error holds the blob back, not
	// others, and its text is not repeated.
	BlobSecret func(ctx context.Context, blob string) (string, error)

	// SkipBlobProbe: do not ask storage for the size of a blob by reference
	// whose raw size is not known. The service then finds out, and ingests the
	// blob by itself.
	SkipBlobProbe bool

	// Budget bounds what passes; nil for no bound. It counts at the connections of
	// the client's own: a Transport of your own dials through Budget.Conn by itself.
	// One meter is for all clients of a destination.
	Budget *budget.Meter

	// An upload goes on for as long as storage acknowledges blocks of it at
	// MinRate or more, in bytes a second; default 1 KiB/s, at least 1. Its size
	// and the time that it takes are bounded by nothing. The blocks are cut so
	// that one takes about two seconds, from 64 KiB to 4 MiB.
	MinRate int64

	// UploadTimeout bounds one request of an upload, one block, whatever its
	// rate. Default 10 minutes; at least a second.
	UploadTimeout time.Duration

	// The timeouts of the stages of one request, whatever it is. A Transport of
	// your own bounds all but the last by itself. Each is at least a second.
	//
	// ConnectTimeout bounds the connection to one address, default 30 seconds;
	// TLSTimeout the handshake, default 15 seconds. A request that these end
	// never left.
	//
	// HeaderTimeout bounds the time from a request's last byte to its reply's
	// first, default RequestTimeout; an enqueue that it ends is Unknown.
	//
	// StallTimeout is how long a request or a reply may stand still, with bytes
	// left to move, and for how long an upload of which a block has arrived goes
	// on trying while none does. What has arrived is kept for the next attempt.
	// Default 1 minute.
	ConnectTimeout time.Duration
	TLSTimeout     time.Duration
	HeaderTimeout  time.Duration
	StallTimeout   time.Duration

	// RequestTimeout bounds every other request. Default 1 minute; at least a
	// second. An enqueue that takes longer is Unknown, so be generous.
	RequestTimeout time.Duration

	// CompressionLevel is gzip's, 1 (fastest) to 9. Default 2, measured to be
	// both fast and small on telemetry.
	CompressionLevel int

	// TrackInterval is how long the engine waits between two questions about
	// the same batch. Default 5 seconds; at least 10 milliseconds.
	TrackInterval time.Duration
}

func (o *ClientOptions) withDefaults() ClientOptions {
	var c ClientOptions
	if o != nil {
		c = *o
	}
	c.UploadTimeout = cmp.Or(c.UploadTimeout, upload.DefaultUpload)
	c.MinRate = cmp.Or(c.MinRate, upload.DefaultMinRate)
	c.RequestTimeout = cmp.Or(c.RequestTimeout, time.Minute)
	c.ConnectTimeout = cmp.Or(c.ConnectTimeout, kusto.DefaultConnect)
	c.TLSTimeout = cmp.Or(c.TLSTimeout, kusto.DefaultTLS)
	c.HeaderTimeout = cmp.Or(c.HeaderTimeout, c.RequestTimeout)
	c.StallTimeout = cmp.Or(c.StallTimeout, kusto.DefaultStall)
	c.TrackInterval = cmp.Or(c.TrackInterval, 5*time.Second)
	c.CompressionLevel = cmp.Or(c.CompressionLevel, 2)
	return c
}

func (o *ClientOptions) validate() (errs []error) {
	atLeast := func(field string, v, least time.Duration) {
		if v < least {
			errs = append(errs, &ingest.FieldError{Field: field, Value: v.String(), Rule: "must be at least " + least.String()})
		}
	}
	atLeast("UploadTimeout", o.UploadTimeout, time.Second)
	atLeast("RequestTimeout", o.RequestTimeout, time.Second)
	atLeast("ConnectTimeout", o.ConnectTimeout, time.Second)
	atLeast("TLSTimeout", o.TLSTimeout, time.Second)
	atLeast("HeaderTimeout", o.HeaderTimeout, time.Second)
	atLeast("StallTimeout", o.StallTimeout, time.Second)
	atLeast("TrackInterval", o.TrackInterval, 10*time.Millisecond)
	if o.MinRate < 1 {
		errs = append(errs, &ingest.FieldError{Field: "MinRate", Value: fmt.Sprint(o.MinRate), Rule: "must be at least 1"})
	}
	if o.CompressionLevel < 1 || o.CompressionLevel > 9 {
		errs = append(errs, &ingest.FieldError{Field: "CompressionLevel", Value: fmt.Sprint(o.CompressionLevel), Rule: "must be 1 to 9"})
	}
	if o.Protocol > REST {
		errs = append(errs, &ingest.FieldError{Field: "Protocol", Value: fmt.Sprint(o.Protocol), Rule: "must be Auto, Queue or REST"})
	}
	if o.Outcomes > TakeReports {
		errs = append(errs, &ingest.FieldError{Field: "Outcomes", Value: fmt.Sprint(o.Outcomes), Rule: "must be StatusTable, PeekReports or TakeReports"})
	}
	return errs
}

// Client is the queued transport for one cluster. It is safe for concurrent
// use, as [transport.Transport] says.
type Client struct {
	opts       ClientOptions
	service    *kusto.Service
	ingestion  *kusto.Ingestion
	uploads    *upload.Uploader
	references *reference.Resolver
	reports    *reports // nil: outcomes are learned from the status table
	own        *ownStorage
	now        func() time.Time

	together together

	// restAgain is when Auto asks over REST again, in Unix nanoseconds.
	restAgain atomic.Int64
	rights    rights
	forbidden atomic.Int64 // operations that the role did not allow to look at
}

var (
	_ transport.Transport = (*Client)(nil)
	_ transport.Tracker   = (*Client)(nil)
	_ transport.Gauged    = (*Client)(nil)
	_ io.Closer           = (*Client)(nil)
)

// NewClient prepares a client; nothing is sent, so it works offline. endpoint
// is the cluster's address in any spelling that [kustospool/transport/address]
// reads, such as either service's URL. cred is any credential of azidentity; nil means none, which only a cluster on this
// machine (a simulator) accepts. All violated rules are reported at once; the
// error matches [ingest.ErrInvalid].
func NewClient(endpoint string, cred azcore.TokenCredential, opts *ClientOptions) (*Client, error) {
	return newClient(endpoint, cred, opts, time.Now)
}

// newClient is NewClient with the clock that decides what is stale.
func newClient(endpoint string, cred azcore.TokenCredential, opts *ClientOptions, now func() time.Time) (*Client, error) {
	c := &Client{opts: opts.withDefaults(), now: now}
	errs := c.opts.validate()
	service, err := kusto.NewService(endpoint, cred, &kusto.Options{
		ClientOptions: c.opts.ClientOptions, App: c.opts.App, AllowHosts: c.opts.AllowHosts, Meter: c.opts.Budget,
		Timeouts: kusto.Timeouts{Connect: c.opts.ConnectTimeout, TLS: c.opts.TLSTimeout, Headers: c.opts.HeaderTimeout, Stall: c.opts.StallTimeout},
	})
	if err != nil {
		errs = append(errs, err)
	}
	if c.opts.Storage != nil {
		c.own, err = newOwnStorage(c.opts.Storage, err == nil && service.Cluster().Loopback)
		if err != nil {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	c.service, c.ingestion = service, kusto.NewIngestionAt(service, now)
	so := upload.Options{ClientOptions: c.opts.ClientOptions,
		UploadTimeout: c.opts.UploadTimeout, StallTimeout: c.opts.StallTimeout, MinRate: c.opts.MinRate, RequestTimeout: c.opts.RequestTimeout, CompressionLevel: c.opts.CompressionLevel}
	if c.own != nil && c.own.cred != nil {
		so.Credential = service.Guarded(c.own.cred)
	}
	c.uploads = upload.New(service.Wire(), c.ingestion, so)
	if c.opts.Outcomes != StatusTable {
		c.reports = newReports(c.opts.Outcomes == TakeReports, c.reportQueue, now)
	}
	c.references = &reference.Resolver{Wire: service.Wire(), Secrets: service.Secrets(), Secret: c.opts.BlobSecret, Timeout: c.opts.RequestTimeout, NoProbe: c.opts.SkipBlobProbe}
	return c, nil
}

// Capabilities: the service skips a repeat of a tagged batch; a batch has at
// most 4 GiB; blobs are taken by reference.
func (c *Client) Capabilities() transport.Capabilities {
	return transport.Capabilities{ExactlyOnce: true, MaxBatchBytes: maxBatchBytes, Blobs: true}
}

// Figures are of uploads that broke off, once there were any: uploads_resumed,
// uploads_begun_again (what storage had of them was gone, or the bytes had
// changed), and upload_bytes_kept, which were not sent again; and
// lookups_forbidden, questions for outcomes over REST that the credential's role
// did not allow, once there were any. With them are those of the budget
// ([budget.Meter.Figures]).
func (c *Client) Figures() []transport.Figure {
	figures := append(c.uploads.Figures(), c.opts.Budget.Figures()...)
	if n := c.forbidden.Load(); n > 0 {
		figures = append(figures, transport.Figure{Name: "lookups_forbidden", Value: n})
	}
	return figures
}

// Close closes idle connections. The client has no goroutine to stop.
func (c *Client) Close() error {
	c.service.Wire().CloseIdle()
	return nil
}

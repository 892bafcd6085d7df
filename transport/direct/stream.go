package direct

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"kustospool/ingest"
	"kustospool/transport"
	"kustospool/transport/internal/kusto"
	"kustospool/transport/internal/upload"
)

// MaxStreamBytes is the largest batch of a [StreamingClient], measured before
// compression, as the service does (protocol reference section 9.2).
const MaxStreamBytes = 4 << 20

// streamFormats are the formats of streaming ingestion, in its own spelling
// (protocol reference section 9.1).
var streamFormats = map[ingest.Format]string{
	ingest.CSV: "Csv", ingest.TSV: "Tsv", ingest.SCSV: "SCsv", ingest.SOHSV: "SOHsv", ingest.PSV: "Psv",
	ingest.JSON: "Json", ingest.MultiJSON: "MultiJson", ingest.Avro: "Avro",
}

// StreamingClient is the transport of streaming ingestion for one cluster. It
// is at-least-once. It is safe for concurrent use.
type StreamingClient struct {
	opts    ClientOptions
	service *kusto.Service
	pack    *upload.Uploader
}

var (
	_ transport.Transport = (*StreamingClient)(nil)
	_ io.Closer           = (*StreamingClient)(nil)
)

// NewStreamingClient prepares a client; nothing is sent. Its arguments and
// errors are those of [NewClient]; of the options it uses RequestTimeout (for
// one stream), CompressionLevel, App and AllowHosts.
func NewStreamingClient(endpoint string, cred azcore.TokenCredential, opts *ClientOptions) (*StreamingClient, error) {
	c, err := NewClient(endpoint, cred, opts)
	if err != nil {
		return nil, err
	}
	return &StreamingClient{opts: c.opts, service: c.service, pack: c.uploads}, nil
}

// Capabilities: a repeat is not skipped, and a batch has at most 4 MiB.
func (c *StreamingClient) Capabilities() transport.Capabilities {
	return transport.Capabilities{MaxBatchBytes: MaxStreamBytes}
}

// Close closes idle connections. The client has no goroutine to stop.
func (c *StreamingClient) Close() error {
	c.service.Wire().CloseIdle()
	return nil
}

// CanStream says why a batch of these properties, guarantee and size cannot be
// streamed; nil when it can. The class of the error is Held: another transport
// may well take the batch. Only the size is Malformed, since halves fit.
func CanStream(b *ingest.Batch, size int64) *transport.Error {
	p := &b.Properties
	why := ""
	switch {
	case p.ByReference:
		why = "streaming ingestion takes the data itself, not the address of a blob; queued and direct ingestion take that"
	case b.Guarantee == ingest.ExactlyOnce:
		why = "streaming ingestion is at-least-once; the table wants exactly-once, which queued or direct ingestion keeps"
	case streamFormats[p.Format] == "":
		why = fmt.Sprintf("streaming ingestion does not take the format %s", p.Format)
	case p.Mapping != "":
		why = "streaming ingestion takes a mapping by its name only"
	case len(p.Tags) > 0, len(p.IngestIfNotExists) > 0:
		why = "streaming ingestion knows no tags"
	case !p.CreationTime.IsZero(), p.Validation != nil, p.ZipPattern != "", p.IgnoreFirstRecord, p.IgnoreLastRecordIfInvalid,
		p.ExtendSchema, p.RecreateSchema, p.IngestionTimePolicy != nil, p.Folder != "":
		why = "streaming ingestion knows no ingestion property but the format and the mapping's name"
	case size > MaxStreamBytes:
		return &transport.Error{Op: "stream", Class: transport.Malformed, Code: "413",
			Message: fmt.Sprintf("the batch has %d bytes, a stream takes %d", size, MaxStreamBytes)}
	default:
		return nil
	}
	return &transport.Error{Op: "stream", Class: transport.Held, Code: kusto.CodeStreamingOff, Message: why}
}

// untraceable marks a stream whose outcome is unknown: the service keeps no
// record of a stream that could be asked for.
func untraceable(err error) error {
	e, ok := errors.AsType[*transport.Error](err)
	if !ok || e.Class != transport.Unknown {
		return err
	}
	marked := *e
	marked.Untraceable = true
	return &marked
}

// Send makes one attempt: one stream, after Journal.Commit. The Ack is
// Succeeded. An error of the class Unknown is Untraceable.
func (c *StreamingClient) Send(ctx context.Context, d *transport.Delivery) (transport.Ack, error) {
	secrets := c.service.Secrets()
	defer secrets.Repanic()
	ack, err := c.send(ctx, d)
	return ack, secrets.Seal(err)
}

func (c *StreamingClient) send(ctx context.Context, d *transport.Delivery) (transport.Ack, error) {
	if d.Payload.Size() <= 0 {
		return transport.Ack{}, &transport.Error{Op: "send", Class: transport.Permanent, Code: "Empty", Message: "the batch has no bytes; the service refuses an empty stream"}
	}
	if e := transport.CheckNames(d.Batch); e != nil {
		return transport.Ack{}, e
	}
	if e := CanStream(d.Batch, d.Payload.Size()); e != nil {
		return transport.Ack{}, e
	}
	// The body is this call's alone and is never used again, so it does not matter
	// that net/http may read it for longer than the call lasts.
	var body bytes.Buffer
	gzip := d.Batch.Properties.Compressed()
	wire, err := c.pack.Pack(&body, d.Payload, gzip)
	if err != nil {
		return transport.Ack{}, err
	}
	id := kusto.NewRequestID()
	if err := d.Journal.Commit(ctx, progress{Version: streamProgress, Requests: []string{id}}.mark()); err != nil {
		return transport.Ack{}, fmt.Errorf("journal: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return transport.Ack{}, &transport.Error{Op: "stream", Class: transport.Transient, Message: "not begun: " + err.Error(), Err: err}
	}
	sctx, cancel := context.WithTimeout(ctx, c.opts.RequestTimeout)
	defer cancel()
	if err := c.service.Stream(sctx, kusto.StreamCall{Database: d.Batch.Properties.Database, Table: d.Batch.Properties.Table,
		Format: streamFormats[d.Batch.Properties.Format], Mapping: d.Batch.Properties.MappingReference,
		Body: bytes.NewReader(body.Bytes()), Gzip: gzip, RequestID: id}); err != nil {
		return transport.Ack{}, untraceable(err)
	}
	return transport.Ack{State: ingest.Succeeded, WireBytes: wire}, nil
}

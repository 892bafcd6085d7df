package direct

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"kustospool/ingest"
	"kustospool/transport"
	"kustospool/transport/internal/kusto"
	"kustospool/transport/internal/upload"
)

// Send makes one attempt, as [transport.Transport] says: upload, slot,
// command. It runs at most one command, after Journal.Commit. Its Ack is
// Succeeded, Skipped where the batch was found in the table, or, of an async
// command, Accepted.
func (c *Client) Send(ctx context.Context, d *transport.Delivery) (transport.Ack, error) {
	secrets := c.service.Secrets()
	defer secrets.Repanic()
	sealed := *d
	sealed.Journal = secrets.Journal(d.Journal)
	ack, err := c.send(ctx, &sealed)
	return ack, secrets.Seal(err)
}

func (c *Client) send(ctx context.Context, d *transport.Delivery) (transport.Ack, error) {
	if d.Payload.Size() <= 0 {
		return transport.Ack{}, &transport.Error{Op: "send", Class: transport.Permanent, Code: "Empty", Message: "the batch has no bytes; the service refuses an empty blob"}
	}
	if e := transport.CheckNames(d.Batch); e != nil {
		return transport.Ack{}, e
	}
	p := decodeProgress(d.Progress)
	if len(p.Requests) > 0 {
		// An earlier command may have been carried out. What the cluster knows
		// of it counts more than another one.
		v, err := c.verdict(ctx, transport.Pending{Batch: d.Batch, Progress: d.Progress})
		if err != nil {
			return transport.Ack{}, ofTable(err)
		}
		c.underWay.ended(d.Batch.ID, seenVerdict(v))
		switch {
		case v.State.Ingested():
			return transport.Ack{State: ingest.Skipped}, nil
		case v.State == ingest.Accepted:
			return transport.Ack{State: ingest.Accepted}, nil // its operation is under way still
		case v.Failure != nil && v.Failure.Code == statePartial:
			return transport.Ack{}, v.Failure
		}
	}
	var command string
	var wire, blob int64
	var err error
	if d.Batch.Properties.ByReference {
		command, blob, err = c.refer(ctx, d)
	} else if c.opts.Inline {
		command, err = c.inline(d)
		wire = d.Payload.Size()
	} else {
		command, wire, err = c.upload(ctx, d, &p)
	}
	if err != nil {
		return transport.Ack{}, err
	}
	c.underWay.expire(time.Now())
	s, err := c.limiter.acquire(ctx, c.opts.SlotWait)
	if err != nil {
		return transport.Ack{}, err
	}
	kept := false
	defer func() {
		if !kept { // the HTTP client is the caller's, and panicked
			s.release(neither)
		}
	}()
	ack, err := c.run(ctx, d, &p, command)
	kept = true
	if err == nil && ack.State == ingest.Accepted && d.Batch.Confirm == ingest.ConfirmIngested {
		c.underWay.hold(d.Batch.ID, s, time.Now()) // Track will see it end
	} else {
		s.release(seen(err))
	}
	ack.WireBytes, ack.BlobBytes = wire, blob
	return ack, err
}

// ofTable holds a batch back, and not all of the cluster's, when the cluster
// refuses to say what became of its earlier command.
func ofTable(err error) error {
	var e *transport.Error
	if !kusto.Refused(err) || !errors.As(err, &e) {
		return err
	}
	held := *e
	held.Class = transport.Held
	return &held
}

// seen is what the end of a command says of the capacity.
func seen(err error) result {
	var e *transport.Error
	switch {
	case err == nil:
		return passed
	case errors.As(err, &e) && e.Class == transport.Throttled:
		return refused
	}
	return neither
}

// run sends the command, in exactly one HTTP attempt.
func (c *Client) run(ctx context.Context, d *transport.Delivery, p *progress, command string) (transport.Ack, error) {
	id := "KSP.ingest;" + uuid.NewString()
	p.Requests, p.Operation = append(p.Requests, id), ""
	if err := d.Journal.Commit(ctx, p.encode()); err != nil {
		return transport.Ack{}, fmt.Errorf("journal: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return transport.Ack{}, &transport.Error{Op: opIngest, Class: transport.Transient, Message: "not begun: " + err.Error(), Err: err}
	}
	cctx, cancel := context.WithTimeout(ctx, c.opts.CommandTimeout)
	defer cancel()
	tables, err := c.service.Mgmt(cctx, kusto.Call{Op: opIngest, Engine: true, Database: d.Batch.Properties.Database,
		Command: command, Effect: kusto.HasEffect, RequestID: id})
	if err != nil {
		var re *kusto.RESTError
		if errors.As(err, &re) && kusto.FailureOutcome(re.Code, "Permanent").State == ingest.Skipped {
			return transport.Ack{State: ingest.Skipped}, nil
		}
		return transport.Ack{}, ofReference(d.Batch, err)
	}
	if c.opts.Async {
		return c.accepted(ctx, d, p, &tables[0], id)
	}
	return c.read(ctx, d.Batch, &tables[0], id, len(p.Requests) > 1)
}

const noExtent = "00000000-0000-0000-0000-000000000000"

// partial is why a batch that was ingested in part is not repeated: the service
// would skip it by its tag, or double the part.
const partial = "the command ended with errors and some of its rows are in the table; compare it with the dead letter"

// read judges the command's reply: one row for each extent it made (protocol
// reference section 8.1). None made means that a tag stopped it, or that the
// data had no records; the table's extents tell which. Where nobody may look at
// them, it was the tag if there was an earlier command, as again says.
func (c *Client) read(ctx context.Context, b *ingest.Batch, t *kusto.Table, id string, again bool) (transport.Ack, error) {
	made, errs := false, false
	for i := range t.Rows {
		flag := strings.ToLower(t.Text(i, "HasErrors"))
		errs = errs || flag == "true" || flag == "1"
		extent := t.Text(i, "ExtentId")
		made = made || extent != "" && extent != noExtent
	}
	switch {
	case made && errs:
		return transport.Ack{}, &transport.Error{Op: opIngest, Class: transport.Permanent, Code: statePartial, RequestID: id, Message: partial}
	case errs:
		return transport.Ack{}, &transport.Error{Op: opIngest, Class: transport.Unknown, Code: "HasErrors", RequestID: id,
			Message: "the command ended with errors and names no extent"}
	}
	if made {
		return transport.Ack{State: ingest.Succeeded}, nil
	}
	if b.IngestBy() != "" {
		there, err := c.tagged(ctx, b)
		if kusto.Forbidden(err) {
			there, err = again, nil
		}
		if err != nil {
			return transport.Ack{}, &transport.Error{Op: opIngest, Class: transport.Unknown, RequestID: id,
				Message: "the command made no extent, and whether the batch was there before cannot be learned", Err: err}
		}
		if there {
			return transport.Ack{State: ingest.Skipped}, nil
		}
	}
	if len(b.Properties.IngestIfNotExists) > 0 {
		return transport.Ack{State: ingest.Skipped}, nil
	}
	return transport.Ack{}, &transport.Error{Op: opIngest, Class: transport.Malformed, Code: "NoExtent", RequestID: id,
		Message: "the command found no record to ingest"}
}

// upload puts the batch's blob into a container and returns the command that
// ingests it, a secret, and the bytes sent.
func (c *Client) upload(ctx context.Context, d *transport.Delivery, p *progress) (command string, wire int64, err error) {
	rctx, cancel := context.WithTimeout(ctx, c.opts.RequestTimeout)
	resources, err := c.ingestion.Resources(rctx)
	cancel()
	if err != nil {
		return "", 0, err
	}
	if cuts, err := c.cuts(ctx, d); err != nil {
		return "", 0, err
	} else if len(cuts) > 1 {
		return c.uploadParts(ctx, d, p, resources.Containers, cuts)
	}
	p.Parts = nil
	container, b, wire, err := c.uploads.Upload(ctx, d, resources.Containers, p.Blob, c.noting(d, p))
	if err != nil {
		return "", 0, err
	}
	p.Blob = b
	if upload.WorthNoting(wire) {
		if err := d.Journal.Note(ctx, p.encode()); err != nil {
			return "", 0, fmt.Errorf("journal: %w", err)
		}
	}
	return ingestInto(d.Batch, c.opts.Async, container.Join(b.Blob)), wire, nil
}

// noting is what writes an upload's intents and its progress to the journal,
// where they are not there yet.
func (c *Client) noting(d *transport.Delivery, p *progress) func(context.Context, upload.Blob) error {
	noted := d.Progress
	return func(ctx context.Context, b upload.Blob) error {
		p.Blob = b
		note := p.encode()
		if bytes.Equal(note, noted) {
			return nil
		}
		if err := d.Journal.Note(ctx, note); err != nil {
			return fmt.Errorf("journal: %w", err)
		}
		noted = note
		return nil
	}
}

// inline is the command that carries the batch's data.
func (c *Client) inline(d *transport.Delivery) (string, error) {
	refuse := func(rule string) (string, error) {
		return "", &transport.Error{Op: opIngest, Class: transport.Permanent, Code: "Inline", Message: "inline ingestion " + rule}
	}
	switch {
	case d.Payload.Size() > maxInlineBytes:
		return "", &transport.Error{Op: opIngest, Class: transport.Malformed, Code: "Inline", Message: "inline ingestion takes at most 4 MiB in a batch"}
	case !d.Batch.Properties.Concatenates():
		return refuse("takes line formats only")
	}
	var buf bytes.Buffer
	buf.Grow(int(d.Payload.Size()))
	if _, err := c.uploads.Pack(&buf, d.Payload, false); err != nil {
		return "", err
	}
	// A command is JSON text: what is not UTF-8 would arrive as something else.
	if !utf8.Valid(buf.Bytes()) {
		return refuse("takes UTF-8 only")
	}
	return ingestInline(d.Batch, buf.String()), nil
}

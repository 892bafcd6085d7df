package queued

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"kustospool/ingest"
	"kustospool/transport"
	"kustospool/transport/internal/kusto"
)

const opSubmit = "submit"

// submit asks over REST for the blob to be ingested, in exactly one HTTP
// attempt. The post is no more idempotent than a queue's. The operation's id
// comes with the reply and is noted at once, with whatever time that takes: it
// is the only way to ask about the batch. A crash before that leaves an
// attempt whose outcome is unknown. tracked says that there is an operation.
func (a *attempt) submit(ctx context.Context, container kusto.Resource) (tracked bool, err error) {
	s := submitted{Attempt: a.d.Attempt, Request: kusto.NewRequestID()}
	a.progress.Stage = stageSubmit
	a.progress = a.progress.submit(s)
	if err := a.commit(ctx); err != nil {
		return false, err
	}
	if err := ctx.Err(); err != nil {
		return false, &transport.Error{Op: opSubmit, Class: transport.Transient, Message: "not begun: " + err.Error(), Err: err}
	}
	return a.post(ctx, container, s)
}

// post is the one HTTP attempt for one blob.
func (a *attempt) post(ctx context.Context, container kusto.Resource, s submitted) (tracked bool, err error) {
	operation, err := a.request(ctx, []kusto.SubmittedBlob{{URL: a.blobURL(container), SourceID: a.d.Batch.ID.String(), RawSize: a.rawSize()}},
		submitProperties(a.d.Batch), s.Request)
	if err != nil {
		return false, err
	}
	return a.submittedAs(ctx, s, operation)
}

// request posts blobs of the batch's table.
func (a *attempt) request(ctx context.Context, blobs []kusto.SubmittedBlob, properties map[string]any, id string) (operation string, err error) {
	p := &a.d.Batch.Properties
	rctx, cancel := context.WithTimeout(ctx, a.opts.RequestTimeout)
	defer cancel()
	operation, err = a.ingestion.Submit(rctx, &kusto.Submission{Database: p.Database, Table: p.Table, Blobs: blobs,
		Created: time.Now().UTC().Format(time.RFC3339Nano), Properties: properties}, id)
	if err != nil {
		a.submitFailed(ctx, err)
	}
	return operation, err
}

// submittedAs notes the operation of an attempt.
func (a *attempt) submittedAs(ctx context.Context, s submitted, operation string) (tracked bool, err error) {
	if len(operation) > maxText {
		return false, &transport.Error{Op: opSubmit, Class: transport.Unknown, Message: "the operation's id is too long to keep", RequestID: s.Request}
	}
	if s.Operation = operation; operation == "" {
		return false, nil
	}
	a.progress = a.progress.submit(s)
	if err := a.d.Journal.Note(context.WithoutCancel(ctx), a.progress.encode()); err != nil {
		return false, fmt.Errorf("journal: %w", err)
	}
	return true, nil
}

// submitFailed makes Auto go by queue for a while.
func (a *attempt) submitFailed(ctx context.Context, err error) {
	if kusto.StatusOf(err) == http.StatusNotFound {
		a.ingestion.InvalidateConfiguration() // perhaps the API is gone
	}
	if kusto.Forbidden(err) {
		a.rights.note(tableOf(a.d.Batch), false, a.now())
	}
	if e := asError(err); ctx.Err() == nil && e != nil && (e.Class == transport.Transient || e.Class == transport.Unknown) {
		a.pauseREST()
	}
}

// submitProperties is section 7.2 of the protocol reference: what a message
// has, with arrays for the tags and without what the queue alone needs.
func submitProperties(b *ingest.Batch) map[string]any {
	p := additionalProperties(b, "")
	for _, key := range []string{"authorizationContext", "ingestionMappingType"} {
		delete(p, key)
	}
	tags, unless := tagsOf(b)
	if len(tags) > 0 {
		p["tags"] = tags
	}
	if len(unless) > 0 {
		p["ingestIfNotExists"] = unless
	}
	p["enableTracking"] = b.Confirm != ingest.ConfirmAccepted
	p["skipBatching"] = b.Properties.FlushImmediately
	p["deleteAfterDownload"] = b.Properties.DeleteBlobOnSuccess
	p["ignoreSizeLimit"] = b.Properties.IgnoreSizeLimit
	return p
}

package queued

import (
	"context"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue/v2"

	"kustospool/transport"
	"kustospool/transport/internal/kusto"
)

const opEnqueue = "enqueue"

// enqueue posts the message, in exactly one HTTP attempt to one queue. Put
// Message is not idempotent: each copy that storage takes is ingested
// (protocol reference section 5.2). taken is when the queue took it, by its own
// clock; zero where it did not say.
func (a *attempt) enqueue(ctx context.Context, text string) (taken time.Time, err error) {
	if err := ctx.Err(); err != nil {
		return taken, &transport.Error{Op: opEnqueue, Class: transport.Transient, Message: "not begun: " + err.Error(), Err: err}
	}
	client, err := azqueue.NewQueueClientWithNoCredential(a.queue.URL(),
		&azqueue.ClientOptions{ClientOptions: a.uploads.Storage(0, a.opts.RequestTimeout)})
	if err != nil {
		return taken, a.service.Secrets().WireFailure(opEnqueue, err, kusto.NoEffect, nil)
	}
	wctx, sent := kusto.Watch(ctx)
	reply, err := client.EnqueueMessage(wctx, text, nil)
	if err != nil {
		return taken, a.uploads.Failed(ctx, opEnqueue, a.queue, err, kusto.HasEffect, sent)
	}
	a.ingestion.Ranking.Report(a.queue.Account, true)
	if len(reply.Messages) == 1 && reply.Messages[0].InsertionTime != nil {
		taken = *reply.Messages[0].InsertionTime
	}
	return taken, nil
}

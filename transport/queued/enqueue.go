package queued

import (
	"context"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue/v2"

	"kustospool/transport"
	"kustospool/transport/internal/kusto"
)

const opEnqueue = "enqueue"

// enqueue posts the message, in exactly one HTTP attempt to one queue. Put
// Message is not idempotent: each copy that storage takes is ingested
// (protocol reference section 5.2).
func (a *attempt) enqueue(ctx context.Context, text string) error {
	if err := ctx.Err(); err != nil {
		return &transport.Error{Op: opEnqueue, Class: transport.Transient, Message: "not begun: " + err.Error(), Err: err}
	}
	client, err := azqueue.NewQueueClientWithNoCredential(a.queue.URL(),
		&azqueue.ClientOptions{ClientOptions: a.uploads.Storage(0, a.opts.RequestTimeout)})
	if err != nil {
		return kusto.WireFailure(opEnqueue, err, kusto.NoEffect, nil)
	}
	wctx, sent := kusto.Watch(ctx)
	if _, err := client.EnqueueMessage(wctx, text, nil); err != nil {
		return a.uploads.Failed(ctx, opEnqueue, a.queue, err, kusto.HasEffect, sent)
	}
	a.ingestion.Ranking.Report(a.queue.Account, true)
	return nil
}

package queued

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue/v2"
	"golang.org/x/sync/errgroup"

	"kustospool/ingest"
	"kustospool/transport"
	"kustospool/transport/internal/kusto"
)

// One question is one request to the status table. The table is shared by all
// clients of a cluster, so few are under way at once.
const (
	trackAtMost     = 64
	trackConcurrent = 8
	// A table that does not answer is not asked about every batch in turn.
	trackFailures = 8
)

// Cadence is ClientOptions.TrackInterval and 64.
func (c *Client) Cadence() (time.Duration, int) { return c.opts.TrackInterval, trackAtMost }

// Track reads the status rows of batches, and the operations of those that
// were submitted over REST. A batch is left out where these say nothing yet,
// and where it has none. Accepted is reported when a row shows that the service has the
// message. The error is a *[transport.Error], the first of those met; the
// verdicts beside it hold. After 8 errors the batches not yet asked about are
// left for the next call; a database whose operations the service refuses to
// show costs the others nothing, and of its batches that went over REST the
// verdict is Unknown: nobody may ask about them.
func (c *Client) Track(ctx context.Context, pending []transport.Pending) ([]transport.Verdict, error) {
	secrets := c.service.Secrets()
	defer secrets.Repanic()
	verdicts, err := c.track(ctx, pending)
	secrets.SealVerdicts(verdicts)
	return verdicts, secrets.Seal(err)
}

func (c *Client) track(ctx context.Context, pending []transport.Pending) ([]transport.Verdict, error) {
	tables, err := c.statusTables(ctx, pending)
	if err != nil {
		return nil, err
	}
	reported, reportErr := c.reported(ctx, pending)
	var (
		failures atomic.Int32
		mu       sync.Mutex
		// mu guards the following.
		verdicts, quiet []transport.Verdict // quiet: nothing can be said
	)
	var group errgroup.Group
	group.SetLimit(trackConcurrent)
	for _, p := range pending {
		if p.Batch.Confirm == ingest.ConfirmAccepted {
			continue
		}
		group.Go(func() error {
			if failures.Load() >= trackFailures {
				return nil
			}
			var v transport.Verdict
			err := transport.Guard("looking for an outcome", func() (err error) { // the HTTP client and the credential are the caller's
				v, err = c.verdict(ctx, tables, reported[p.Batch.ID], p)
				return err
			})
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				if v.State == ingest.Unknown {
					verdicts = append(verdicts, v)
				}
				if !kusto.Refused(err) {
					failures.Add(1)
				}
				return err
			}
			switch {
			case v.State != 0:
				verdicts = append(verdicts, v)
			case reportErr == nil:
				quiet = append(quiet, v)
			}
			return nil
		})
	}
	if err = group.Wait(); err == nil {
		err = reportErr
	}
	for _, v := range verdicts {
		if v.State != ingest.Accepted && len(reported[v.Batch]) > 0 {
			c.reports.handedOut(reported[v.Batch])
		}
	}
	if err != nil {
		verdicts = append(verdicts, quiet...)
	}
	return verdicts, err
}

// reported is what the report queues say, where this client reads them and one
// of the batches was sent for it.
func (c *Client) reported(ctx context.Context, pending []transport.Pending) (map[ingest.BatchID][]*report, error) {
	if c.reports == nil {
		return nil, nil
	}
	asked := make(map[ingest.BatchID]bool)
	for _, p := range pending {
		if p.Batch.Confirm != ingest.ConfirmAccepted && decodeProgress(p.Progress).Reports {
			asked[p.Batch.ID] = true
		}
	}
	if len(asked) == 0 {
		return nil, nil
	}
	rctx, cancel := context.WithTimeout(ctx, c.opts.RequestTimeout)
	resources, err := c.ingestion.Resources(rctx)
	cancel()
	if err != nil {
		return nil, err
	}
	return c.reports.read(ctx, slices.Concat(resources.Successes, resources.Failures), asked, func(q kusto.Resource, err error) *transport.Error {
		return c.uploads.Failed(ctx, opReports, q, err, kusto.NoEffect, nil)
	})
}

// statusTables are the status tables, where one of the batches needs them.
func (c *Client) statusTables(ctx context.Context, pending []transport.Pending) ([]kusto.Resource, error) {
	needed := func(p transport.Pending) bool {
		pr := decodeProgress(p.Progress)
		return p.Batch.Confirm != ingest.ConfirmAccepted && (len(pr.Attempts) > 0 || len(pr.Submits) == 0) && !(c.reports != nil && pr.Reports)
	}
	if !slices.ContainsFunc(pending, needed) {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.opts.RequestTimeout)
	defer cancel()
	resources, err := c.ingestion.Resources(ctx)
	if err != nil {
		return nil, err
	}
	return resources.StatusTables, nil
}

// reportQueue opens a report queue.
func (c *Client) reportQueue(q kusto.Resource) (*azqueue.QueueClient, error) {
	return azqueue.NewQueueClientWithNoCredential(q.URL(), &azqueue.ClientOptions{ClientOptions: c.uploads.Storage(1, c.opts.RequestTimeout)})
}

// verdict asks about one batch; its State is 0 where nothing can be said, and
// Unknown, beside the refusal, where nobody may ask.
func (c *Client) verdict(ctx context.Context, tables []kusto.Resource, reported []*report, p transport.Pending) (transport.Verdict, error) {
	v := transport.Verdict{Batch: p.Batch.ID}
	pr := decodeProgress(p.Progress)
	if c.reports != nil && pr.Reports {
		tables = nil
	}
	rows, refused, err := c.found(ctx, tables, reported, p.Batch, pr)
	if err != nil {
		return v, err
	}
	o, r := judge(rows, pr.latest())
	if v.State = o.State; o.State == 0 && refused != nil {
		v.State = ingest.Unknown
		return v, refused
	}
	if o.State == ingest.DeadLettered {
		if r.Code == kusto.InvalidToken {
			c.ingestion.InvalidateToken()
		}
		code := r.Code
		if code == "" {
			code = r.Status
		}
		class := o.Class
		if p.Batch.Properties.ByReference {
			class = kusto.ReferenceClass(r.Code, class)
		}
		v.Failure = &transport.Error{Op: "ingestion", Class: class, Code: c.service.Secrets().Words(code), Message: c.service.Secrets().Words(r.Details)}
	}
	return v, nil
}

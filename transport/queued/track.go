package queued

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

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

// Track reads the status rows of batches. A batch is left out where its rows
// say nothing yet, where it has none, and where the cluster has no status
// table. Accepted is reported when a row shows that the service has the
// message. The error is a *[transport.Error], the first of those met; the
// verdicts beside it hold. After 8 errors the batches not yet asked about are
// left for the next call.
func (c *Client) Track(ctx context.Context, pending []transport.Pending) ([]transport.Verdict, error) {
	rctx, cancel := context.WithTimeout(ctx, c.opts.RequestTimeout)
	resources, err := c.ingestion.Resources(rctx)
	cancel()
	if err != nil {
		return nil, err
	}
	if len(resources.StatusTables) == 0 {
		return nil, nil
	}
	var (
		failures atomic.Int32
		mu       sync.Mutex
		// mu guards the following.
		verdicts []transport.Verdict
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
			v, err := c.verdict(ctx, resources.StatusTables, p)
			if err != nil {
				failures.Add(1)
				return err
			}
			if v.State == 0 {
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			verdicts = append(verdicts, v)
			return nil
		})
	}
	err = group.Wait()
	return verdicts, err
}

// verdict asks about one batch; its State is 0 where nothing can be said.
func (c *Client) verdict(ctx context.Context, tables []kusto.Resource, p transport.Pending) (transport.Verdict, error) {
	v := transport.Verdict{Batch: p.Batch.ID}
	for _, table := range tables {
		rows, err := c.rows(ctx, table, p.Batch.ID)
		if err != nil {
			return v, err
		}
		if len(rows) == 0 {
			continue
		}
		o, r := judge(rows, decodeProgress(p.Progress).latest())
		v.State = o.State
		if o.State == ingest.DeadLettered {
			if r.Code == kusto.InvalidToken {
				c.ingestion.InvalidateToken()
			}
			code := r.Code
			if code == "" {
				code = r.Status
			}
			v.Failure = &transport.Error{Op: "ingestion", Class: o.Class, Code: kusto.Words(code), Message: kusto.Words(r.Details)}
		}
		return v, nil
	}
	return v, nil
}

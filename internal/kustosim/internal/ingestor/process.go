package ingestor

import (
	"context"
	"time"

	"github.com/google/uuid"

	"kustospool/internal/kustosim/internal/fault"
	"kustospool/internal/kustosim/internal/parse"
	"kustospool/internal/kustosim/internal/stats"
)

// process ingests a sealed batch, blob by blob, and reports each.
func (g *Ingestor) process(ctx context.Context, b *batch) {
	operation := uuid.NewString()
	seen := make(map[string]bool, len(b.items))
	for _, in := range b.items {
		if ctx.Err() != nil {
			return
		}
		in.operation = operation
		if seen[in.source()] {
			g.fail(ctx, in, parse.Permanentf("BlobAlreadyReceived_BlobAlreadyFoundInBatch", "the blob is in this batch already"))
			continue
		}
		seen[in.source()] = true
		g.ingest(ctx, in)
	}
}

func (g *Ingestor) ingest(ctx context.Context, in *ingestion) {
	if in.Tracked != nil {
		in.Tracked.Begin()
	}
	struck := g.strike(in, fault.FailTransient, fault.FailExhausted, fault.FailPermanent, fault.LeavePending, fault.Hold)
	if struck != nil {
		switch struck.Kind {
		case fault.LeavePending:
			return
		case fault.Hold:
			g.mu.Lock()
			g.mu.held = append(g.mu.held, in)
			g.mu.Unlock()
			return
		}
		if !struck.AfterCommit {
			g.failOrRetry(ctx, in, faultFailure(struck), struck.Report)
			return
		}
	}
	hit, bad := g.commit(ctx, in)
	switch {
	case bad != nil:
		g.failOrRetry(ctx, in, bad, false)
	case struck != nil:
		g.failOrRetry(ctx, in, faultFailure(struck), struck.Report)
	case hit != "":
		g.skip(ctx, in, hit)
	default:
		if !in.RetainBlobOnSuccess {
			if err := g.storage.Remove(ctx, in.blob); err != nil {
				g.Log.Debug("an ingested blob could not be deleted", "source", in.source())
			}
		}
		g.succeed(ctx, in)
	}
}

// commit loads a blob and adds its rows as one extent. hit is the tag that
// stopped it, if one did, looked for before the download. Ingestions have turns,
// so nothing can come between that look and the commit.
func (g *Ingestor) commit(ctx context.Context, in *ingestion) (hit string, bad *parse.Error) {
	g.turn.Lock()
	defer g.turn.Unlock()
	p, bad := g.schema(in)
	if bad != nil {
		return "", bad
	}
	if hit, skipped := g.Catalog.Tagged(in.DatabaseName, in.TableName, in.notExists); skipped {
		return hit, nil
	}
	t, bad := p.target(in)
	if bad != nil {
		return "", bad
	}
	rows, bad := g.load(ctx, in, t)
	if bad != nil {
		return "", bad
	}
	_, bad = g.add(in, rows, p.change(in, t))
	return "", bad
}

// failOrRetry ends an ingestion as failed, or comes back to it if the failure
// is transient.
func (g *Ingestor) failOrRetry(ctx context.Context, in *ingestion, bad *parse.Error, report bool) {
	if bad.Status != parse.Transient {
		g.fail(ctx, in, bad)
		return
	}
	g.Stats.Add(func(s *stats.Stats) { s.Retried++ })
	if report {
		g.report(ctx, in, failed(bad), true)
		in.reported = true
	}
	g.mu.Lock()
	g.mu.later = append(g.mu.later, delayed{in, time.Now().Add(g.RetryEvery)})
	g.mu.Unlock()
}

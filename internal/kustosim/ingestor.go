package kustosim

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// ingestor is the DM's aggregation and the engine's ingestion. One goroutine,
// run, does everything in the order of arrival.
type ingestor struct {
	opts    *Options
	catalog *catalog
	issuer  *issuer
	stats   *statsBook
	change  *change
	log     *slog.Logger
	storage storage
	faults  ingestFaultSet
	web     *http.Client // for Options.BlobHosts

	wake chan struct{} // holds a token when mu has news for run

	turn sync.Mutex // held by whoever checks tags and commits: run, a command, a stream

	mu struct {
		sync.Mutex
		inbox []arrival    // in the order they came
		later []delayed    // transient failures, in the order they come due
		held  []*ingestion // struck by Hold
	}

	// Used by run only.
	open  map[string]*batch
	order []*batch // open ones, oldest first
	ready []*batch // sealed
}

// arrival is a queue message's text, or a message that came over REST.
type arrival struct {
	text    string
	message *message
}

type delayed struct {
	in  *ingestion
	due time.Time
}

// batch is an aggregation of blobs with the same properties.
type batch struct {
	key    string
	items  []*ingestion
	bytes  int64
	due    time.Time
	sealed string // the reason, "" while open
}

func newIngestor(s *Sim) *ingestor {
	return &ingestor{opts: &s.opts, catalog: s.catalog, issuer: s.issuer, stats: s.stats, change: &s.change, log: s.opts.Logger, web: newWeb(),
		wake: make(chan struct{}, 1), open: make(map[string]*batch)}
}

func (g *ingestor) poke() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// deliver hands the text of a queue message over. It never blocks.
func (g *ingestor) deliver(text string) {
	g.mu.Lock()
	g.mu.inbox = append(g.mu.inbox, arrival{text: text})
	g.mu.Unlock()
	g.poke()
}

// submit hands over a message that came over REST. It never blocks.
func (g *ingestor) submit(m *message) {
	g.mu.Lock()
	g.mu.inbox = append(g.mu.inbox, arrival{message: m})
	g.mu.Unlock()
	g.poke()
}

// release lets the held ingestions go on; those that a fault still holds come
// back.
func (g *ingestor) release() {
	g.mu.Lock()
	for _, in := range g.mu.held {
		g.mu.later = append(g.mu.later, delayed{in, time.Time{}})
	}
	g.mu.held = nil
	g.mu.Unlock()
	g.poke()
}

// run works until ctx ends. What is not ingested by then is lost.
func (g *ingestor) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		for _, a := range g.takeInbox() {
			g.admit(ctx, a)
		}
		next := g.sealDue(time.Now())
		if len(g.ready) > 0 {
			b := g.ready[0]
			g.ready = g.ready[1:]
			g.process(ctx, b)
			g.change.notify()
			continue
		}
		timer.Reset(next)
		select {
		case <-g.wake:
		case <-timer.C:
		case <-ctx.Done():
		}
	}
}

func (g *ingestor) takeInbox() []arrival {
	g.mu.Lock()
	defer g.mu.Unlock()
	arrived := g.mu.inbox
	g.mu.inbox = nil
	return arrived
}

// sealDue moves what has come due to ready and returns the time to the next.
func (g *ingestor) sealDue(now time.Time) time.Duration {
	next := time.Hour
	g.mu.Lock()
	rest := g.mu.later[:0]
	for _, d := range g.mu.later {
		if d.due.After(now) {
			rest = append(rest, d)
			next = min(next, d.due.Sub(now))
			continue
		}
		g.ready = append(g.ready, &batch{items: []*ingestion{d.in}})
	}
	clear(g.mu.later[len(rest):])
	g.mu.later = rest
	g.mu.Unlock()

	for len(g.order) > 0 && (g.order[0].sealed != "" || !g.order[0].due.After(now)) {
		g.seal(g.order[0], "Time")
		g.order = g.order[1:]
	}
	if len(g.order) > 0 {
		next = min(next, g.order[0].due.Sub(now))
	}
	return next
}

func (g *ingestor) seal(b *batch, reason string) {
	if b.sealed != "" {
		return
	}
	b.sealed = reason
	delete(g.open, b.key)
	g.ready = append(g.ready, b)
	g.stats.add(func(s *Stats) { s.Batches[reason]++ })
}

// admit validates one message and puts it into a batch.
func (g *ingestor) admit(ctx context.Context, a arrival) {
	g.stats.add(func(s *Stats) { s.MessagesTaken++ })
	defer g.change.notify()
	m, bad := a.message, (*ingestError)(nil)
	if m == nil {
		m, bad = decodeMessage(a.text)
	}
	if m == nil {
		g.stats.add(func(s *Stats) { s.Failed[bad.code]++ })
		g.log.Debug("a message is corrupted and cannot be reported", "code", bad.code)
		return
	}
	in := &ingestion{message: m, operation: newGUID()}
	if bad == nil && !m.submitted && !g.issuer.validToken(m.property("authorizationContext"), time.Now()) {
		bad = permanent("BadRequest_InvalidKustoIdentityToken", "the authorizationContext is not a valid identity token")
	}
	if bad == nil {
		in, bad = understand(m)
	}
	if bad == nil {
		_, _, bad = g.schema(in)
	}
	if bad != nil {
		g.fail(ctx, in, bad)
		return
	}
	copies := 1
	if f := g.faults.strike(in, Duplicate); f != nil {
		copies += max(f.Copies, 1)
	}
	for range copies {
		another := *in
		g.aggregate(&another)
	}
}

func (g *ingestor) schema(in *ingestion) ([]Column, *mapping, *ingestError) {
	return g.catalog.schema(in.DatabaseName, in.TableName, in.kind, in.mappingName, g.opts.AutoCreate, g.opts.AutoCreate && len(g.opts.Databases) == 0)
}

func (g *ingestor) aggregate(in *ingestion) {
	if reason := in.single(); reason != "" {
		g.seal(&batch{items: []*ingestion{in}}, reason)
		return
	}
	key, policy := in.batchKey(), g.batching(in.DatabaseName, in.TableName)
	b := g.open[key]
	if b == nil {
		b = &batch{key: key, due: time.Now().Add(policy.time)}
		g.open[key] = b
		g.order = append(g.order, b)
	}
	b.items = append(b.items, in)
	b.bytes += in.RawDataSize.value
	switch {
	case bool(in.FlushImmediately):
		g.seal(b, "FlushImmediately")
	case len(b.items) >= policy.items:
		g.seal(b, "Count")
	case b.bytes >= policy.bytes:
		g.seal(b, "Size")
	}
}

// process ingests a sealed batch, blob by blob, and reports each.
func (g *ingestor) process(ctx context.Context, b *batch) {
	operation := newGUID()
	seen := make(map[string]bool, len(b.items))
	for _, in := range b.items {
		if ctx.Err() != nil {
			return
		}
		in.operation = operation
		if seen[in.source()] {
			g.fail(ctx, in, permanent("BlobAlreadyReceived_BlobAlreadyFoundInBatch", "the blob is in this batch already"))
			continue
		}
		seen[in.source()] = true
		g.ingest(ctx, in)
	}
}

func (g *ingestor) ingest(ctx context.Context, in *ingestion) {
	if in.tracked != nil {
		in.tracked.begin()
	}
	fault := g.faults.strike(in, FailTransient, FailExhausted, FailPermanent, LeavePending, Hold)
	if fault != nil {
		switch fault.Kind {
		case LeavePending:
			return
		case Hold:
			g.mu.Lock()
			g.mu.held = append(g.mu.held, in)
			g.mu.Unlock()
			return
		}
		if !fault.AfterCommit {
			g.failOrRetry(ctx, in, fault.failure(), fault.Report)
			return
		}
	}
	hit, bad := g.commit(ctx, in)
	switch {
	case bad != nil:
		g.failOrRetry(ctx, in, bad, false)
	case fault != nil:
		g.failOrRetry(ctx, in, fault.failure(), fault.Report)
	case hit != "":
		g.skip(ctx, in, hit)
	default:
		if !in.RetainBlobOnSuccess {
			if err := g.storage.remove(ctx, in.blob); err != nil {
				g.log.Debug("an ingested blob could not be deleted", "source", in.source())
			}
		}
		g.succeed(ctx, in)
	}
}

// commit loads a blob and adds its rows as one extent. hit is the tag that
// stopped it, if one did, looked for before the download. Ingestions have turns,
// so nothing can come between that look and the commit.
func (g *ingestor) commit(ctx context.Context, in *ingestion) (hit string, bad *ingestError) {
	g.turn.Lock()
	defer g.turn.Unlock()
	columns, reference, bad := g.schema(in)
	if bad != nil {
		return "", bad
	}
	if hit, skipped := g.catalog.tagged(in.DatabaseName, in.TableName, in.notExists); skipped {
		return hit, nil
	}
	items := in.mapping
	if reference != nil {
		items = reference.items
	}
	t, bad := newTarget(columns, items, in)
	if bad != nil {
		return "", bad
	}
	rows, bad := g.load(ctx, in, t)
	if bad != nil {
		return "", bad
	}
	_, bad = g.add(in, rows)
	return "", bad
}

// failOrRetry ends an ingestion as failed, or comes back to it if the failure
// is transient.
func (g *ingestor) failOrRetry(ctx context.Context, in *ingestion, bad *ingestError, report bool) {
	if bad.status != Transient {
		g.fail(ctx, in, bad)
		return
	}
	g.stats.add(func(s *Stats) { s.Retried++ })
	if report {
		g.report(ctx, in, failed(bad), true)
		in.reported = true
	}
	g.mu.Lock()
	g.mu.later = append(g.mu.later, delayed{in, time.Now().Add(g.opts.RetryEvery)})
	g.mu.Unlock()
}

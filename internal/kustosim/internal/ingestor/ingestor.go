package ingestor

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/google/uuid"

	"kustospool/internal/kustosim/internal/catalog"
	"kustospool/internal/kustosim/internal/fault"
	"kustospool/internal/kustosim/internal/parse"
	"kustospool/internal/kustosim/internal/stats"
	"kustospool/internal/kustosim/internal/storage"
	"kustospool/internal/wake"
)

// Config is what an ingestor works with.
type Config struct {
	Catalog *catalog.Catalog
	Tokens  *Tokens
	Stats   *stats.Book
	Notify  func() // called after every effect
	Log     *slog.Logger

	// MayIngest: the principal of a message may ingest into a table.
	MayIngest func(principal, db, table string) bool

	Batch             catalog.Batching // of tables without a policy
	AutoCreate        bool             // unknown tables
	AnyDatabase       bool             // and unknown databases
	RetryEvery        time.Duration    // pause before a transient failure is repeated
	MaxBlobBytes      int64            // of a blob, raw
	TagHitAsFailed    bool
	FailMalformedJSON bool
	BlobAccess        []string // what may stand behind a URI's semicolon
	BlobHosts         []string // web servers, host:port
}

// Storage is what the ingestor needs of storage, in memory or an external
// account.
type Storage interface {
	// Download opens a blob by the URI of a message; size is that of the blob
	// as stored. The error is a *storage.Error, storage.ErrBlobURI or one of a storage
	// that did not answer.
	Download(ctx context.Context, uri *url.URL) (body io.ReadCloser, size int64, err error)
	// Signed is the URI of a blob with a signature of the service's own that
	// reads it; as it is where the blob is not of this storage.
	Signed(uri *url.URL) (*url.URL, error)
	// Remove deletes an ingested blob. A blob that cannot be deleted stays.
	Remove(ctx context.Context, uri *url.URL) error
	// SetStatus merges properties into the status entity of a message.
	SetStatus(ctx context.Context, table *url.URL, key storage.EntityKey, props map[string]any) error
	// Report puts a message, base64 already, on a report queue.
	Report(ctx context.Context, queue storage.ReportQueue, text string) error
}

// Ingestor is the DM's aggregation and the engine's ingestion. One goroutine,
// run, does everything in the order of arrival.
type Ingestor struct {
	Config
	storage Storage
	faults  fault.IngestSet
	web     *http.Client // for BlobHosts

	wake wake.Signal // raised when mu has news for run

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
	message *Message
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

// New makes an ingestor. It needs a storage before anything is to be
// ingested, and somebody to call run.
func New(c Config) *Ingestor {
	return &Ingestor{Config: c, web: newWeb(), wake: wake.New(), open: make(map[string]*batch)}
}

// Attach tells where blobs come from and reports go to. It is called once,
// before run.
func (g *Ingestor) Attach(storage Storage) { g.storage = storage }

// AddFault puts a fault on the ingestion into a table; an empty database or
// table means any. The returned function ends it; ending it twice is allowed.
func (g *Ingestor) AddFault(db, table string, f fault.IngestFault) (remove func()) {
	end := g.faults.Add(db, table, f)
	return func() {
		end()
		g.release()
		g.Notify()
	}
}

func (g *Ingestor) poke() { g.wake.Raise() }

// Deliver hands the text of a queue message over. It never blocks.
func (g *Ingestor) Deliver(text string) {
	g.mu.Lock()
	g.mu.inbox = append(g.mu.inbox, arrival{text: text})
	g.mu.Unlock()
	g.poke()
}

// Submit hands over a message that came over REST. It never blocks.
func (g *Ingestor) Submit(m *Message) {
	g.mu.Lock()
	g.mu.inbox = append(g.mu.inbox, arrival{message: m})
	g.mu.Unlock()
	g.poke()
}

// release lets the held ingestions go on; those that a fault still holds come
// back.
func (g *Ingestor) release() {
	g.mu.Lock()
	for _, in := range g.mu.held {
		g.mu.later = append(g.mu.later, delayed{in, time.Time{}})
	}
	g.mu.held = nil
	g.mu.Unlock()
	g.poke()
}

// Run works until ctx ends. What is not ingested by then is lost.
func (g *Ingestor) Run(ctx context.Context) {
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
			g.Notify()
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

func (g *Ingestor) takeInbox() []arrival {
	g.mu.Lock()
	defer g.mu.Unlock()
	arrived := g.mu.inbox
	g.mu.inbox = nil
	return arrived
}

// sealDue moves what has come due to ready and returns the time to the next.
func (g *Ingestor) sealDue(now time.Time) time.Duration {
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

func (g *Ingestor) seal(b *batch, reason string) {
	if b.sealed != "" {
		return
	}
	b.sealed = reason
	delete(g.open, b.key)
	g.ready = append(g.ready, b)
	g.Stats.Add(func(s *stats.Stats) { s.Batches[reason]++ })
}

// permits checks who sent a message.
func (g *Ingestor) permits(m *Message) *parse.Error {
	principal, ok := g.Tokens.Holder(m.property("authorizationContext"), time.Now())
	switch {
	case !ok:
		return parse.Permanentf("BadRequest_InvalidKustoIdentityToken", "the authorizationContext is not a valid identity token")
	case principal != "" && !g.MayIngest(principal, m.DatabaseName, m.TableName):
		// https://learn.microsoft.com/azure/data-explorer/error-codes
		return parse.Permanentf("Forbidden", "the principal may not ingest into the table")
	}
	return nil
}

// admit validates one message and puts it into a batch.
func (g *Ingestor) admit(ctx context.Context, a arrival) {
	g.Stats.Add(func(s *stats.Stats) { s.MessagesTaken++ })
	defer g.Notify()
	m, bad := a.message, (*parse.Error)(nil)
	if m == nil {
		m, bad = decodeMessage(a.text)
	}
	if m == nil {
		g.Stats.Add(func(s *stats.Stats) { s.Failed[bad.Code]++ })
		g.Log.Debug("a message is corrupted and cannot be reported", "code", bad.Code)
		return
	}
	in := &ingestion{Message: m, operation: uuid.NewString()}
	if bad == nil && !m.Submitted { // what was submitted over REST was looked at there
		bad = g.permits(m)
	}
	if bad == nil {
		in, bad = understand(m)
	}
	if bad == nil {
		in.queued = true
		_, bad = g.schema(in)
	}
	if bad != nil {
		g.fail(ctx, in, bad)
		return
	}
	copies := 1
	if f := g.strike(in, fault.Duplicate); f != nil {
		copies += max(f.Copies, 1)
	}
	for range copies {
		another := *in
		g.aggregate(&another)
	}
}

// place is where the rows of an ingestion go.
type place struct {
	columns []parse.Column      // none: without a schema
	mapping []parse.MappingItem // none: by position or by name
	create  bool                // the table is not there and the mapping makes it
}

// schema finds the table and the mapping of an ingestion. A queued one whose
// mapping has a datatype for every column creates the table
// (https://learn.microsoft.com/kusto/management/mappings).
func (g *Ingestor) schema(in *ingestion) (p place, bad *parse.Error) {
	creates := parse.Creates(in.mapping)
	if !in.queued {
		creates = nil
	}
	columns, reference, bad := g.Catalog.Schema(in.DatabaseName, in.TableName, in.kind, in.mappingName, g.AutoCreate && creates == nil, g.AnyDatabase)
	switch {
	case bad != nil && bad.Code == "BadRequest_TableNotExist" && creates != nil:
		return place{creates, in.mapping, true}, nil
	case bad != nil:
		return place{}, bad
	case reference != nil:
		return place{columns, reference.Items, false}, nil
	}
	return place{columns, in.mapping, false}, nil
}

// target is how the data of an ingestion becomes rows there. Queued ingestion
// adds the columns that the mapping tells and the table lacks (the same page);
// commands do where extend_schema says so, which is documented for other commands.
func (p *place) target(in *ingestion) (*parse.Target, *parse.Error) {
	return parse.NewTarget(p.columns, p.mapping, parse.Rules{Table: in.TableName, Source: in.source(), Lenient: in.lenientCSV, Extend: in.queued || in.extendSchema})
}

// change is what the rows need of the table.
func (p *place) change(in *ingestion, t *parse.Target) catalog.Change {
	c := catalog.Change{Create: p.create, Columns: t.Added(), Folder: in.property("folder")}
	if p.create {
		c.Columns = p.columns
	}
	return c
}

// policy is the batching policy of an ingestion's table.
func (g *Ingestor) policy(in *ingestion) catalog.Batching {
	if b, ok := g.Catalog.BatchingOf(in.DatabaseName, in.TableName); ok {
		return b
	}
	return g.Batch
}

func (g *Ingestor) aggregate(in *ingestion) {
	if reason := in.single(); reason != "" {
		g.seal(&batch{items: []*ingestion{in}}, reason)
		return
	}
	key, policy := in.batchKey(), g.policy(in)
	b := g.open[key]
	if b == nil {
		b = &batch{key: key, due: time.Now().Add(policy.Time)}
		g.open[key] = b
		g.order = append(g.order, b)
	}
	b.items = append(b.items, in)
	b.bytes += in.RawDataSize.value
	switch {
	case bool(in.FlushImmediately):
		g.seal(b, "FlushImmediately")
	case len(b.items) >= policy.Items:
		g.seal(b, "Count")
	case b.bytes >= policy.Bytes:
		g.seal(b, "Size")
	}
}

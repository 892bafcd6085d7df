package kustosim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"kustospool/internal/kustosim/internal/catalog"
	"kustospool/internal/kustosim/internal/endpoint"
	"kustospool/internal/kustosim/internal/fault"
	"kustospool/internal/kustosim/internal/ingestor"
	"kustospool/internal/kustosim/internal/mgmt"
	"kustospool/internal/kustosim/internal/port"
	"kustospool/internal/kustosim/internal/stats"
	"kustospool/internal/kustosim/internal/storage"
)

// ErrClosed is returned by [Sim.Wait] after [Sim.Close].
var ErrClosed = errors.New("kustosim: closed")

// Sim is a running simulator. Its methods are safe for concurrent use.
type Sim struct {
	opts     Options
	change   change
	catalog  *catalog.Catalog
	issuer   *storage.Issuer
	tokens   *ingestor.Tokens
	grants   *endpoint.Grants
	stats    *stats.Book
	faults   *fault.Set
	storage  anyStorage
	ingestor *ingestor.Ingestor
	manager  *mgmt.Manager

	kusto     *port.Listener
	listeners []opened // all of them; written by Start only

	done    chan struct{} // closed by Close
	cancel  context.CancelFunc
	running sync.WaitGroup // the ingestor
	once    sync.Once
	closed  error
}

// opened is a port of the simulator and the host whose faults strike it.
type opened struct {
	*port.Listener
	host Host
}

// anyStorage is the whole of a storage, the built-in one or an external account.
type anyStorage interface {
	ingestor.Storage
	mgmt.Resources
	// Put stores a blob as somebody else would, beside what clients upload, and
	// returns its URI without a signature.
	Put(ctx context.Context, name string, data []byte) (*url.URL, error)
	// Rotate replaces all containers and queues by new ones. The old ones, and
	// what is in them, are gone.
	Rotate(ctx context.Context) error
	// Close stops what the storage runs. Its ports are closed already.
	Close() error
}

// Start runs a simulator. Nil options are the defaults. The error is about the
// options, a port that cannot be had or, with external storage, an account
// that does not answer. Close must be called to end it.
func Start(o *Options) (*Sim, error) {
	opts, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	ip, _, err := net.SplitHostPort(opts.Listen)
	if err != nil {
		return nil, fmt.Errorf("kustosim: Listen: %w", err)
	}
	s := &Sim{opts: opts, catalog: catalog.New(opts.Databases), issuer: storage.NewIssuer(opts.SASLifetime), tokens: ingestor.NewTokens(opts.TokenLifetime),
		grants: endpoint.NewGrants(opts.Token, opts.Principals, opts.TableRoles),
		stats:  stats.NewBook(), done: make(chan struct{})}
	s.catalog.Aging = catalog.Aging{Merge: opts.MergeExtents, Tags: opts.TagRetention, Extents: opts.ExtentRetention}
	s.faults = fault.NewSet(fault.Settings{MaxBody: opts.MaxBlobBytes, Done: s.done, Count: s.countRequest, Notify: s.change.notify})
	s.ingestor = ingestor.New(s.ingestorConfig())
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	if s.storage, err = s.openStorage(ctx, ip); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.ingestor.Attach(s.storage)
	s.manager = mgmt.New(s.managerConfig())
	s.running.Add(1)
	go func() {
		defer s.running.Done()
		s.ingestor.Run(ctx)
	}()
	s.kusto, err = s.listen(DM, opts.Listen, endpoint.New(s.endpointConfig()).Handler())
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// listen opens a port of the simulator.
func (s *Sim) listen(host Host, addr string, handler http.Handler) (*port.Listener, error) {
	l, err := port.Listen(addr, s.opts.Hosts, handler)
	if err != nil {
		return nil, fmt.Errorf("kustosim: listening for %s: %w", host, err)
	}
	s.listeners = append(s.listeners, opened{l, host})
	return l, nil
}

// Endpoint is the URL of the DM and the engine: http://127.0.0.1:port.
func (s *Sim) Endpoint() string { return "http://" + s.kusto.Addr }

// Close ends the simulator: ports, connections and goroutines are gone when it
// returns, and so are the rows. External containers, queues and tables are
// deleted. It may be called more than once.
func (s *Sim) Close() error {
	s.once.Do(func() {
		close(s.done)
		s.cancel()
		var errs []error
		for _, l := range s.listeners {
			errs = append(errs, l.Close())
		}
		if s.manager != nil {
			s.manager.Wait()
		}
		s.running.Wait()
		if s.storage != nil {
			errs = append(errs, s.storage.Close())
		}
		s.closed = errors.Join(errs...)
	})
	return s.closed
}

// CreateTable makes a table, and its database. Without columns the table has
// no schema and takes any document. Creating an equal table again is allowed;
// the error is [ErrTableExists], or about a name or type.
func (s *Sim) CreateTable(db, table string, columns ...Column) error {
	return s.catalog.Create(db, table, columns, false)
}

// DropTable removes a table with its rows, mappings and tags, and reports
// whether it was there.
func (s *Sim) DropTable(db, table string) bool { return s.catalog.DropTable(db, table) }

// DropTag removes a tag, prefix included, from all extents of a table, as a
// retention policy or an operator would.
func (s *Sim) DropTag(db, table, tag string) { s.catalog.DropTag(db, table, tag) }

// MergeExtents merges the extents of a table: those with the same set of drop-by:
// tags become one with the tags of all of them, as the service does sooner or
// later.
func (s *Sim) MergeExtents(db, table string) {
	s.catalog.Merge(db, table)
	s.change.notify()
}

// ExpireTags takes the ingest-by: tags of a table's extents away, as a retention
// policy does.
func (s *Sim) ExpireTags(db, table string) {
	s.catalog.ExpireTags(db, table)
	s.change.notify()
}

// ExpireExtents takes the extents of a table away with their rows, as a retention
// policy does.
func (s *Sim) ExpireExtents(db, table string) {
	s.catalog.ExpireExtents(db, table)
	s.change.notify()
}

// CreateMapping makes an ingestion mapping of a kind ("json", "csv", "avro",
// in any case), or replaces it. The error is [ErrTableNotFound] or about the
// JSON.
func (s *Sim) CreateMapping(db, table, kind, name, mappingJSON string) error {
	return s.catalog.CreateMapping(db, table, kind, name, mappingJSON)
}

// SetStreaming turns the streaming policy of a table on or off.
func (s *Sim) SetStreaming(db, table string, on bool) error {
	if !s.catalog.SetStreaming(db, table, on) {
		return ErrTableNotFound
	}
	return nil
}

// Rows returns the rows of a table in the order of their commit; none if there
// is no such table. The rows must not be changed.
func (s *Sim) Rows(db, table string) []Row { return s.catalog.Rows(db, table) }

// Count is the number of rows of a table.
func (s *Sim) Count(db, table string) int { return s.catalog.Count(db, table) }

// Columns returns the columns of a table, none without a schema; ok is false if
// there is no such table.
func (s *Sim) Columns(db, table string) (columns []Column, ok bool) {
	return s.catalog.Columns(db, table)
}

// Extents describes what was ingested into a table, in the order of commit.
func (s *Sim) Extents(db, table string) []Extent { return s.catalog.Extents(db, table) }

// Blobs lists what is in the built-in storage as account/container/blob,
// sorted; with external storage nothing.
func (s *Sim) Blobs() []string {
	b, ok := s.storage.(*storage.Builtin)
	if !ok {
		return nil
	}
	return b.BlobNames()
}

// PutBlob stores a blob that no client of the simulator uploaded, under a name
// without a leading slash, and returns its URI without a signature. A client
// can then have it ingested where it is. Data must not be changed afterwards.
func (s *Sim) PutBlob(ctx context.Context, name string, data []byte) (uri string, err error) {
	u, err := s.storage.Put(ctx, name, data)
	if err != nil {
		return "", err
	}
	return u.String(), nil
}

// BlobSAS returns the query that reads the blob at a URI, without its question
// mark. The error is about the URI.
func (s *Sim) BlobSAS(uri string) (string, error) {
	u, err := url.Parse(uri)
	if err != nil {
		return "", errors.New("kustosim: not the URI of a blob")
	}
	if u, err = s.storage.Signed(u); err != nil {
		return "", err
	}
	return u.RawQuery, nil
}

// Rotate replaces the containers and queues by new ones: the old URIs answer
// 404, and what was uploaded and not yet ingested is gone.
func (s *Sim) Rotate(ctx context.Context) error { return s.storage.Rotate(ctx) }

// ForgetBlocks drops the blocks that were put and not committed, as storage does
// after a week. With external storage it has no effect.
func (s *Sim) ForgetBlocks() {
	if b, ok := s.storage.(*storage.Builtin); ok {
		b.ForgetBlocks()
	}
}

// ExpireSAS makes every SAS handed out so far invalid (403). With external
// storage it has no effect, as the account's key makes them.
func (s *Sim) ExpireSAS() { s.issuer.Expire() }

// ExpireTokens makes every identity token handed out so far invalid.
func (s *Sim) ExpireTokens() { s.tokens.Expire() }

// IssueToken returns a fresh identity token, as `.get kusto identity token`
// does.
func (s *Sim) IssueToken() string { return s.tokens.Issue("", time.Now()) }

// Stats returns a copy of the counters.
func (s *Sim) Stats() Stats { return s.stats.Snapshot() }

// PeakIngestions is the most ingestion commands that were under way at once.
func (s *Sim) PeakIngestions() int { return s.manager.Peak() }

// CommandsUnderWay is how many ingestion commands have begun and not ended.
func (s *Sim) CommandsUnderWay() int { return s.manager.UnderWay() }

// Fault puts a fault in force and returns what ends it. Ending it twice is
// allowed. Faults strike HTTP requests only; the simulator's own ingestion
// reads storage without them.
func (s *Sim) Fault(host Host, f Fault) (remove func()) {
	end := s.faults.Add(host, f)
	if f.Kind == Refuse {
		s.eachListener(host, (*port.Listener).Refuse)
	}
	return func() {
		if end() && f.Kind == Refuse {
			s.eachListener(host, (*port.Listener).ListenAgain)
		}
		s.change.notify()
	}
}

func (s *Sim) eachListener(host Host, do func(*port.Listener)) {
	for _, l := range s.listeners {
		if host.Covers(l.host) || l.host == DM && host == Engine {
			do(l.Listener)
		}
	}
}

// IngestFault puts a fault on the ingestion into a table; an empty database or
// table means any. The returned function ends it; ending it twice is allowed.
func (s *Sim) IngestFault(db, table string, f IngestFault) (remove func()) {
	return s.ingestor.AddFault(db, table, f)
}

// anyDatabase reports whether unknown databases are created on first use.
func (s *Sim) anyDatabase() bool { return s.opts.AutoCreate && len(s.opts.Databases) == 0 }

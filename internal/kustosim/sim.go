package kustosim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"
)

// ErrClosed is returned by [Sim.Wait] after [Sim.Close].
var ErrClosed = errors.New("kustosim: closed")

// Sim is a running simulator. Its methods are safe for concurrent use.
type Sim struct {
	opts       Options
	catalog    *catalog
	issuer     *issuer
	stats      *statsBook
	faults     faultSet
	operations operations
	commands   commandLog
	change     change
	ingestor   *ingestor
	storage    storage

	kusto     *listener
	listeners []*listener // all of them; written by Start only

	done    chan struct{} // closed by Close
	cancel  context.CancelFunc
	running sync.WaitGroup // the ingestor
	once    sync.Once
	closed  error
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
	s := &Sim{opts: opts, catalog: newCatalog(opts.Databases), issuer: newIssuer(opts.SASLifetime, opts.TokenLifetime),
		stats: newStatsBook(), done: make(chan struct{}),
		operations: operations{byID: make(map[string]*operation)}}
	s.ingestor = newIngestor(s)
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	if s.storage, err = s.openStorage(ctx, ip); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.ingestor.storage = s.storage
	s.running.Add(1)
	go func() {
		defer s.running.Done()
		s.ingestor.run(ctx)
	}()
	if s.kusto, err = listen(DM, opts.Listen, s.kustoHandler()); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.listeners = append(s.listeners, s.kusto)
	return s, nil
}

func (s *Sim) openStorage(ctx context.Context, ip string) (storage, error) {
	if s.opts.Storage != nil {
		e, err := newExternalStorage(ctx, s, ip)
		if err != nil {
			return nil, err
		}
		return e, nil
	}
	b, err := newBuiltinStorage(s, ip)
	if err != nil {
		return nil, err
	}
	return b, nil
}

// listenStorage opens a port for one storage service and puts the host's
// faults before it.
func (s *Sim) listenStorage(host Host, svc service, ip string, handler http.Handler) (addr string, err error) {
	l, err := listen(host, net.JoinHostPort(ip, "0"), s.withFaults(svc, func(r *http.Request) (Host, string) { return host, r.URL.Path }, handler))
	if err != nil {
		return "", err
	}
	s.listeners = append(s.listeners, l)
	return l.addr, nil
}

// Endpoint is the URL of the DM and the engine: http://127.0.0.1:port.
func (s *Sim) Endpoint() string { return "http://" + s.kusto.addr }

// Close ends the simulator: ports, connections and goroutines are gone when it
// returns, and so are the rows. External containers, queues and tables are
// deleted. It may be called more than once.
func (s *Sim) Close() error {
	s.once.Do(func() {
		close(s.done)
		s.cancel()
		var errs []error
		for _, l := range s.listeners {
			errs = append(errs, l.close())
		}
		s.running.Wait()
		if s.storage != nil {
			errs = append(errs, s.storage.close())
		}
		s.closed = errors.Join(errs...)
	})
	return s.closed
}

// CreateTable makes a table, and its database. Without columns the table has
// no schema and takes any document. Creating an equal table again is allowed;
// the error is [ErrTableExists], or about a name or type.
func (s *Sim) CreateTable(db, table string, columns ...Column) error {
	return s.catalog.create(db, table, columns, false)
}

// DropTable removes a table with its rows, mappings and tags, and reports
// whether it was there.
func (s *Sim) DropTable(db, table string) bool { return s.catalog.dropTable(db, table) }

// DropTag removes a tag, prefix included, from all extents of a table, as a
// retention policy or an operator would.
func (s *Sim) DropTag(db, table, tag string) { s.catalog.dropTag(db, table, tag) }

// CreateMapping makes an ingestion mapping of a kind ("json", "csv", "avro",
// in any case), or replaces it. The error is [ErrTableNotFound] or about the
// JSON.
func (s *Sim) CreateMapping(db, table, kind, name, mappingJSON string) error {
	return s.catalog.createMapping(db, table, kind, name, mappingJSON)
}

// Rows returns the rows of a table in the order of their commit; none if there
// is no such table. The rows must not be changed.
func (s *Sim) Rows(db, table string) []Row { return s.catalog.rows(db, table) }

// Count is the number of rows of a table.
func (s *Sim) Count(db, table string) int { return s.catalog.count(db, table) }

// Extents describes what was ingested into a table, in the order of commit.
func (s *Sim) Extents(db, table string) []Extent { return s.catalog.extents(db, table) }

// Blobs lists what is in the built-in storage as account/container/blob,
// sorted; with external storage nothing.
func (s *Sim) Blobs() []string {
	b, ok := s.storage.(*builtinStorage)
	if !ok {
		return nil
	}
	return slices.Sorted(slices.Values(b.blobNames()))
}

// PutBlob stores a blob that no client of the simulator uploaded, under a name
// without a leading slash, and returns its URI without a signature. A client
// can then have it ingested where it is. Data must not be changed afterwards.
func (s *Sim) PutBlob(ctx context.Context, name string, data []byte) (uri string, err error) {
	u, err := s.storage.put(ctx, name, data)
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
	if u, err = s.storage.signed(u); err != nil {
		return "", err
	}
	return u.RawQuery, nil
}

// Rotate replaces the containers and queues by new ones: the old URIs answer
// 404, and what was uploaded and not yet ingested is gone.
func (s *Sim) Rotate(ctx context.Context) error { return s.storage.rotate(ctx) }

// ForgetBlocks drops the blocks that were put and not committed, as storage does
// after a week. With external storage it has no effect.
func (s *Sim) ForgetBlocks() {
	if b, ok := s.storage.(*builtinStorage); ok {
		for _, a := range b.accounts {
			a.blobs.forgetBlocks()
		}
	}
}

// ExpireSAS makes every SAS handed out so far invalid (403). With external
// storage it has no effect, as the account's key makes them.
func (s *Sim) ExpireSAS() { s.issuer.expireSAS() }

// ExpireTokens makes every identity token handed out so far invalid.
func (s *Sim) ExpireTokens() { s.issuer.expireTokens() }

// IssueToken returns a fresh identity token, as `.get kusto identity token`
// does.
func (s *Sim) IssueToken() string { return s.issuer.newToken(time.Now()) }

// anyDatabase reports whether unknown databases are created on first use.
func (s *Sim) anyDatabase() bool { return s.opts.AutoCreate && len(s.opts.Databases) == 0 }

// resourceRows answers `.get ingestion resources`.
func (s *Sim) resourceRows() (*dataset, *kustoError) {
	list, err := s.storage.resources()
	if err != nil {
		return nil, kustoErrorOf(http.StatusInternalServerError)
	}
	if s.opts.UnknownResource {
		list = append(list, resource{"SimulatedFutureResource", "https://localhost/future?sig=none"})
	}
	set := &dataset{columns: []Column{{"ResourceTypeName", "string"}, {"StorageRoot", "string"}}}
	for _, r := range list {
		set.rows = append(set.rows, []any{r.kind, r.root})
	}
	return set, nil
}

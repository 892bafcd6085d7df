package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	blobsas "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue/v2"
	queuesas "github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue/v2/sas"
	"github.com/google/uuid"

	"kustospool/internal/kustosim/internal/fault"
	"kustospool/internal/kustosim/internal/stats"
)

const (
	pollEvery       = 20 * time.Millisecond // between looks at empty queues
	pollHidden      = 60                    // seconds a message is invisible while it is taken
	externalTimeout = 30 * time.Second
)

var (
	ErrBlobURI         = errors.New("kustosim: not the URI of a blob")
	errNoAnswer        = errors.New("kustosim: storage did not answer")
	errAccountNotFound = &Error{http.StatusNotFound, "AccountNotFound", "no such storage account"}
)

// External is a storage account outside the simulator, reached through
// ports of the simulator's own. Every start uses new containers, queues and
// tables, so that simulators can share the account.
type External struct {
	account string
	key     string
	id      string // of this start, in every name
	units   int
	issuer  *Issuer
	stats   *stats.Book
	deliver func(string)

	// base are the services themselves, proxied what clients are told; both
	// with the account in their path.
	base    map[Service]*url.URL
	proxied map[Service]*url.URL
	http    *http.Client

	blobs  *azblob.Client
	queues *azqueue.ServiceClient
	tables *aztables.ServiceClient

	polling sync.WaitGroup
	stop    context.CancelFunc

	taken map[string]bool // ids of messages taken and perhaps not deleted; used by poll only

	mu struct {
		sync.Mutex
		generation int
	}
}

// NewExternal signs in to the account, makes this start's containers,
// queues and tables, and opens the ports. The error is about the account or a
// port.
func NewExternal(ctx context.Context, o *ExternalStorage, s Config) (*External, error) {
	e := &External{account: o.Account, key: o.Key, id: strings.ReplaceAll(uuid.NewString(), "-", "")[:12], units: s.Accounts, issuer: s.Issuer,
		stats: s.Stats, deliver: s.Deliver, base: make(map[Service]*url.URL), proxied: make(map[Service]*url.URL)}
	e.taken = make(map[string]bool)
	e.http = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}, Timeout: externalTimeout}
	if err := e.open(ctx, o, s); err != nil {
		e.http.CloseIdleConnections()
		return nil, err
	}
	pollCtx, stop := context.WithCancel(ctx)
	e.stop = stop
	e.polling.Add(1)
	go func() {
		defer e.polling.Done()
		e.poll(pollCtx)
	}()
	return e, nil
}

// open opens the ports, signs in and makes the containers, queues and tables.
func (e *External) open(ctx context.Context, o *ExternalStorage, s Config) error {
	for _, svc := range []struct {
		Service
		host fault.Host
		text string
	}{{BlobService, fault.Blob, o.BlobURL}, {QueueService, fault.Queue, o.QueueURL}, {TableService, fault.Table, o.TableURL}} {
		base, err := url.Parse(svc.text)
		if err != nil || base.Host == "" {
			return fmt.Errorf("kustosim: Storage: the %s URL is not one", svc.Service)
		}
		if strings.Trim(base.Path, "/") == "" {
			base.Path = "/" + o.Account
		}
		base.Path = strings.TrimRight(base.Path, "/")
		e.base[svc.Service] = base
		addr, err := s.Listen(svc.host.Account(0), svc.Service, e.proxy(base))
		if err != nil {
			return err
		}
		proxied := *base
		proxied.Scheme, proxied.Host = "http", addr
		e.proxied[svc.Service] = &proxied
	}
	if err := e.connect(); err != nil {
		return err
	}
	return e.create(ctx)
}

// proxy forwards to the account. A SAS covers the path and not the host, so it
// is valid on both sides.
func (e *External) proxy(base *url.URL) http.Handler {
	return &httputil.ReverseProxy{
		Transport: e.http.Transport,
		ErrorLog:  log.New(io.Discard, "", 0),
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = base.Scheme, base.Host, base.Host
		},
		ModifyResponse: e.posted,
		ErrorHandler:   func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
}

func (e *External) options() azcore.ClientOptions {
	return azcore.ClientOptions{Transport: e.http, Retry: policy.RetryOptions{MaxRetries: 3, RetryDelay: 50 * time.Millisecond}}
}

func (e *External) connect() error {
	blobKey, err := azblob.NewSharedKeyCredential(e.account, e.key)
	if err != nil {
		return fmt.Errorf("kustosim: Storage: %w", err)
	}
	queueKey, err := azqueue.NewSharedKeyCredential(e.account, e.key)
	if err != nil {
		return fmt.Errorf("kustosim: Storage: %w", err)
	}
	tableKey, err := aztables.NewSharedKeyCredential(e.account, e.key)
	if err != nil {
		return fmt.Errorf("kustosim: Storage: %w", err)
	}
	if e.blobs, err = azblob.NewClientWithSharedKeyCredential(e.base[BlobService].String(), blobKey, &azblob.ClientOptions{ClientOptions: e.options()}); err != nil {
		return fmt.Errorf("kustosim: Storage: %w", err)
	}
	if e.queues, err = azqueue.NewServiceClientWithSharedKeyCredential(e.base[QueueService].String(), queueKey, &azqueue.ClientOptions{ClientOptions: e.options()}); err != nil {
		return fmt.Errorf("kustosim: Storage: %w", err)
	}
	if e.tables, err = aztables.NewServiceClientWithSharedKey(e.base[TableService].String(), tableKey, &aztables.ClientOptions{ClientOptions: e.options()}); err != nil {
		return fmt.Errorf("kustosim: Storage: %w", err)
	}
	return nil
}

// unit names the nth container and queue of the current generation.
func (e *External) unit(n int) string {
	return e.id + "-" + strconv.Itoa(e.mu.generation) + "-" + strconv.Itoa(n)
}

func (e *External) container(n int) string { return "ingestdata-" + e.unit(n) }
func (e *External) queue(n int) string     { return "ready-" + e.unit(n) }
func (e *External) reportQueue(q ReportQueue) string {
	if q == SuccessQueue {
		return "successful-" + e.id
	}
	return "failed-" + e.id
}
func (e *External) table() string { return "ingestionsstatus" + e.id }

func (e *External) create(ctx context.Context) error {
	if err := e.createUnits(ctx); err != nil {
		return err
	}
	for _, q := range []ReportQueue{SuccessQueue, FailureQueue} {
		if _, err := e.queues.CreateQueue(ctx, e.reportQueue(q), nil); err != nil {
			return fmt.Errorf("kustosim: Storage: creating a queue: %w", err)
		}
	}
	if _, err := e.tables.CreateTable(ctx, e.table(), nil); err != nil {
		return fmt.Errorf("kustosim: Storage: creating the status table: %w", err)
	}
	return nil
}

func (e *External) createUnits(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for n := range e.units {
		if _, err := e.blobs.CreateContainer(ctx, e.container(n), nil); err != nil {
			return fmt.Errorf("kustosim: Storage: creating a container: %w", err)
		}
		if _, err := e.queues.CreateQueue(ctx, e.queue(n), nil); err != nil {
			return fmt.Errorf("kustosim: Storage: creating a queue: %w", err)
		}
	}
	return nil
}

func (e *External) deleteUnits(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	var errs []error
	for n := range e.units {
		_, err1 := e.blobs.DeleteContainer(ctx, e.container(n), nil)
		_, err2 := e.queues.DeleteQueue(ctx, e.queue(n), nil)
		errs = append(errs, err1, err2)
	}
	return errors.Join(errs...)
}

// Rotate replaces the containers and ready queues; what was in them is gone.
func (e *External) Rotate(ctx context.Context) error {
	if err := e.deleteUnits(ctx); err != nil {
		return fmt.Errorf("kustosim: Storage: rotating: %w", err)
	}
	e.mu.Lock()
	e.mu.generation++
	e.mu.Unlock()
	return e.createUnits(ctx)
}

// Resources are the rows that a client is told, with fresh signatures of the
// account's key.
func (e *External) Resources() ([]Resource, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	blobKey, err1 := azblob.NewSharedKeyCredential(e.account, e.key)
	queueKey, err2 := azqueue.NewSharedKeyCredential(e.account, e.key)
	tableKey, err3 := aztables.NewSharedKeyCredential(e.account, e.key)
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, fmt.Errorf("kustosim: Storage: %w", err)
	}
	start, end := time.Now().Add(-5*time.Minute).UTC(), time.Now().Add(e.issuer.lifetime).UTC()
	queueRoot := func(name, perms string) (string, error) {
		q, err := queuesas.QueueSignatureValues{Protocol: queuesas.ProtocolHTTPSandHTTP, StartTime: start, ExpiryTime: end, Permissions: perms, QueueName: name}.SignWithSharedKey(queueKey)
		return e.proxied[QueueService].String() + "/" + name + "?" + q.Encode(), err
	}
	var list []Resource
	for n := range e.units {
		q, err := blobsas.BlobSignatureValues{Protocol: blobsas.ProtocolHTTPSandHTTP, StartTime: start, ExpiryTime: end, Permissions: ContainerRights, ContainerName: e.container(n)}.SignWithSharedKey(blobKey)
		if err != nil {
			return nil, fmt.Errorf("kustosim: Storage: signing: %w", err)
		}
		queue, err := queueRoot(e.queue(n), queuePermissions)
		if err != nil {
			return nil, fmt.Errorf("kustosim: Storage: signing: %w", err)
		}
		list = append(list, Resource{"SecuredReadyForAggregationQueue", queue},
			Resource{"TempStorage", e.proxied[BlobService].String() + "/" + e.container(n) + "?" + q.Encode()})
	}
	failure, err1 := queueRoot(e.reportQueue(FailureQueue), reportPermissions)
	success, err2 := queueRoot(e.reportQueue(SuccessQueue), reportPermissions)
	table, err3 := aztables.SASSignatureValues{Protocol: aztables.SASProtocolHTTPSandHTTP, StartTime: start, ExpiryTime: end, Permissions: tablePermissions, TableName: e.table()}.Sign(tableKey)
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, fmt.Errorf("kustosim: Storage: signing: %w", err)
	}
	return append(list, Resource{"FailedIngestionsQueue", failure}, Resource{"SuccessfulIngestionsQueue", success},
		Resource{"IngestionsStatusTable", e.proxied[TableService].String() + "/" + e.table() + "?" + table}), nil
}

// own turns a URI a client was told into one of the account itself, so that
// faults do not strike the simulator's own reads.
func (e *External) own(svc Service, uri *url.URL) string {
	u := *uri
	if u.Host == e.proxied[svc].Host {
		u.Scheme, u.Host = e.base[svc].Scheme, e.base[svc].Host
	}
	return u.String()
}

// Put stores a blob beside what clients upload and returns its URI, unsigned.
func (e *External) Put(ctx context.Context, name string, data []byte) (*url.URL, error) {
	e.mu.Lock()
	container := e.container(0)
	e.mu.Unlock()
	if _, err := e.blobs.UploadBuffer(ctx, container, name, data, nil); err != nil {
		return nil, fmt.Errorf("kustosim: Storage: storing a blob: %w", err)
	}
	return e.proxied[BlobService].JoinPath(container, name), nil
}

// Signed is the URI with a signature that reads it, or as it is where it is of no
// blob of the account.
func (e *External) Signed(uri *url.URL) (*url.URL, error) {
	u := *uri
	if u.Host != e.proxied[BlobService].Host {
		return &u, nil
	}
	key, err := azblob.NewSharedKeyCredential(e.account, e.key)
	if err != nil {
		return nil, fmt.Errorf("kustosim: Storage: %w", err)
	}
	container, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(u.Path, e.proxied[BlobService].Path), "/"), "/")
	q, err := blobsas.BlobSignatureValues{Protocol: blobsas.ProtocolHTTPSandHTTP, StartTime: time.Now().Add(-5 * time.Minute).UTC(),
		ExpiryTime: time.Now().Add(e.issuer.lifetime).UTC(), Permissions: "r", ContainerName: container}.SignWithSharedKey(key)
	u.RawQuery = q.Encode()
	return &u, err
}

// Download opens a blob by a signed URI. The error is an *Error, ErrBlobURI, or
// that the account did not answer.
func (e *External) Download(ctx context.Context, uri *url.URL) (io.ReadCloser, int64, error) {
	if uri.Host != e.proxied[BlobService].Host && uri.Host != e.base[BlobService].Host {
		return nil, 0, errAccountNotFound
	}
	client, err := blockblob.NewClientWithNoCredential(e.own(BlobService, uri), &blockblob.ClientOptions{ClientOptions: e.options()})
	if err != nil {
		return nil, 0, ErrBlobURI
	}
	reply, err := client.DownloadStream(ctx, nil)
	if err != nil {
		var refused *azcore.ResponseError
		if errors.As(err, &refused) {
			return nil, 0, &Error{Status: refused.StatusCode, Code: refused.ErrorCode}
		}
		return nil, 0, errNoAnswer
	}
	size := int64(-1)
	if reply.ContentLength != nil {
		size = *reply.ContentLength
	}
	return reply.Body, size, nil
}

// Remove deletes a blob by a signed URI.
func (e *External) Remove(ctx context.Context, uri *url.URL) error {
	client, err := blockblob.NewClientWithNoCredential(e.own(BlobService, uri), &blockblob.ClientOptions{ClientOptions: e.options()})
	if err != nil {
		return ErrBlobURI
	}
	if _, err = client.Delete(ctx, nil); err != nil {
		return errors.New("kustosim: storage did not delete the blob")
	}
	e.stats.Add(func(s *stats.Stats) { s.BlobsDeleted++ })
	return nil
}

// SetStatus merges properties into an entity of the status table.
func (e *External) SetStatus(ctx context.Context, table *url.URL, key EntityKey, props map[string]any) error {
	u := *table
	if strings.Trim(strings.TrimPrefix(u.Path, e.base[TableService].Path), "/") == "" {
		u.Path = strings.TrimRight(u.Path, "/") + "/" + u.Query().Get("tn")
	}
	client, err := aztables.NewClientWithNoCredential(e.own(TableService, &u), &aztables.ClientOptions{ClientOptions: e.options()})
	if err != nil {
		return errUnknownTable
	}
	props["PartitionKey"], props["RowKey"] = key.Partition, key.Row
	text, err := json.Marshal(props)
	if err != nil {
		return fmt.Errorf("kustosim: status entity: %w", err)
	}
	if _, err := client.UpsertEntity(ctx, text, &aztables.UpsertEntityOptions{UpdateMode: aztables.UpdateModeMerge}); err != nil {
		return errors.New("kustosim: storage did not take the status")
	}
	return nil
}

// Report puts a message on a report queue.
func (e *External) Report(ctx context.Context, queue ReportQueue, text string) error {
	_, err := e.queues.NewQueueClient(e.reportQueue(queue)).EnqueueMessage(ctx, text, nil)
	return err
}

// Close ends the polling and deletes what this start has made.
func (e *External) Close() error {
	e.stop()
	e.polling.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), externalTimeout)
	defer cancel()
	err := e.deleteUnits(ctx)
	for _, q := range []ReportQueue{SuccessQueue, FailureQueue} {
		_, err1 := e.queues.DeleteQueue(ctx, e.reportQueue(q), nil)
		err = errors.Join(err, err1)
	}
	_, err1 := e.tables.DeleteTable(ctx, e.table(), nil)
	e.http.CloseIdleConnections()
	return errors.Join(err, err1)
}

package kustosim

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

	"kustospool/internal/kustosim/internal/stats"

	"kustospool/internal/kustosim/internal/fault"

	"github.com/google/uuid"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	blobsas "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue/v2"
	queuesas "github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue/v2/sas"
)

const (
	pollEvery       = 20 * time.Millisecond // between looks at empty queues
	pollHidden      = 60                    // seconds a message is invisible while it is taken
	externalTimeout = 30 * time.Second
)

var (
	errBlobURI         = errors.New("kustosim: not the URI of a blob")
	errNoAnswer        = errors.New("kustosim: storage did not answer")
	errAccountNotFound = &storageError{http.StatusNotFound, "AccountNotFound", "no such storage account"}
)

// externalStorage is a storage account outside the simulator, reached through
// ports of the simulator's own. Every start uses new containers, queues and
// tables, so that simulators can share the account.
type externalStorage struct {
	account string
	key     string
	id      string // of this start, in every name
	units   int
	issuer  *issuer
	stats   *stats.Book
	deliver func(string)

	// base are the services themselves, proxied what clients are told; both
	// with the account in their path.
	base    map[service]*url.URL
	proxied map[service]*url.URL
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

// newExternalStorage signs in to the account, makes this start's containers,
// queues and tables, and opens the ports. The error is about the account or a
// port.
func newExternalStorage(ctx context.Context, o *ExternalStorage, s storageConfig) (*externalStorage, error) {
	e := &externalStorage{account: o.Account, key: o.Key, id: strings.ReplaceAll(uuid.NewString(), "-", "")[:12], units: s.accounts, issuer: s.issuer,
		stats: s.stats, deliver: s.deliver, base: make(map[service]*url.URL), proxied: make(map[service]*url.URL)}
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
func (e *externalStorage) open(ctx context.Context, o *ExternalStorage, s storageConfig) error {
	for _, svc := range []struct {
		service
		host fault.Host
		text string
	}{{blobService, fault.Blob, o.BlobURL}, {queueService, fault.Queue, o.QueueURL}, {tableService, fault.Table, o.TableURL}} {
		base, err := url.Parse(svc.text)
		if err != nil || base.Host == "" {
			return fmt.Errorf("kustosim: Storage: the %s URL is not one", svc.service)
		}
		if strings.Trim(base.Path, "/") == "" {
			base.Path = "/" + o.Account
		}
		base.Path = strings.TrimRight(base.Path, "/")
		e.base[svc.service] = base
		addr, err := s.listen(svc.host.Account(0), svc.service, e.proxy(base))
		if err != nil {
			return err
		}
		proxied := *base
		proxied.Scheme, proxied.Host = "http", addr
		e.proxied[svc.service] = &proxied
	}
	if err := e.connect(); err != nil {
		return err
	}
	return e.create(ctx)
}

// proxy forwards to the account. A SAS covers the path and not the host, so it
// is valid on both sides.
func (e *externalStorage) proxy(base *url.URL) http.Handler {
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

// posted counts the messages that a queue has taken, before anybody hears of it.
func (e *externalStorage) posted(reply *http.Response) error {
	if reply.StatusCode == http.StatusCreated && reply.Request.Method == http.MethodPost && strings.HasSuffix(reply.Request.URL.Path, "/messages") {
		e.stats.Add(func(s *stats.Stats) { s.MessagesPosted++ })
	}
	return nil
}

func (e *externalStorage) options() azcore.ClientOptions {
	return azcore.ClientOptions{Transport: e.http, Retry: policy.RetryOptions{MaxRetries: 3, RetryDelay: 50 * time.Millisecond}}
}

func (e *externalStorage) connect() error {
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
	if e.blobs, err = azblob.NewClientWithSharedKeyCredential(e.base[blobService].String(), blobKey, &azblob.ClientOptions{ClientOptions: e.options()}); err != nil {
		return fmt.Errorf("kustosim: Storage: %w", err)
	}
	if e.queues, err = azqueue.NewServiceClientWithSharedKeyCredential(e.base[queueService].String(), queueKey, &azqueue.ClientOptions{ClientOptions: e.options()}); err != nil {
		return fmt.Errorf("kustosim: Storage: %w", err)
	}
	if e.tables, err = aztables.NewServiceClientWithSharedKey(e.base[tableService].String(), tableKey, &aztables.ClientOptions{ClientOptions: e.options()}); err != nil {
		return fmt.Errorf("kustosim: Storage: %w", err)
	}
	return nil
}

// unit names the nth container and queue of the current generation.
func (e *externalStorage) unit(n int) string {
	return e.id + "-" + strconv.Itoa(e.mu.generation) + "-" + strconv.Itoa(n)
}

func (e *externalStorage) container(n int) string { return "ingestdata-" + e.unit(n) }
func (e *externalStorage) queue(n int) string     { return "ready-" + e.unit(n) }
func (e *externalStorage) reportQueue(q reportQueue) string {
	if q == successQueue {
		return "successful-" + e.id
	}
	return "failed-" + e.id
}
func (e *externalStorage) table() string { return "ingestionsstatus" + e.id }

func (e *externalStorage) create(ctx context.Context) error {
	if err := e.createUnits(ctx); err != nil {
		return err
	}
	for _, q := range []reportQueue{successQueue, failureQueue} {
		if _, err := e.queues.CreateQueue(ctx, e.reportQueue(q), nil); err != nil {
			return fmt.Errorf("kustosim: Storage: creating a queue: %w", err)
		}
	}
	if _, err := e.tables.CreateTable(ctx, e.table(), nil); err != nil {
		return fmt.Errorf("kustosim: Storage: creating the status table: %w", err)
	}
	return nil
}

func (e *externalStorage) createUnits(ctx context.Context) error {
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

func (e *externalStorage) deleteUnits(ctx context.Context) error {
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

func (e *externalStorage) rotate(ctx context.Context) error {
	if err := e.deleteUnits(ctx); err != nil {
		return fmt.Errorf("kustosim: Storage: rotating: %w", err)
	}
	e.mu.Lock()
	e.mu.generation++
	e.mu.Unlock()
	return e.createUnits(ctx)
}

func (e *externalStorage) resources() ([]resource, error) {
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
		return e.proxied[queueService].String() + "/" + name + "?" + q.Encode(), err
	}
	var list []resource
	for n := range e.units {
		q, err := blobsas.BlobSignatureValues{Protocol: blobsas.ProtocolHTTPSandHTTP, StartTime: start, ExpiryTime: end, Permissions: containerPermissions, ContainerName: e.container(n)}.SignWithSharedKey(blobKey)
		if err != nil {
			return nil, fmt.Errorf("kustosim: Storage: signing: %w", err)
		}
		queue, err := queueRoot(e.queue(n), queuePermissions)
		if err != nil {
			return nil, fmt.Errorf("kustosim: Storage: signing: %w", err)
		}
		list = append(list, resource{"SecuredReadyForAggregationQueue", queue},
			resource{"TempStorage", e.proxied[blobService].String() + "/" + e.container(n) + "?" + q.Encode()})
	}
	failure, err1 := queueRoot(e.reportQueue(failureQueue), reportPermissions)
	success, err2 := queueRoot(e.reportQueue(successQueue), reportPermissions)
	table, err3 := aztables.SASSignatureValues{Protocol: aztables.SASProtocolHTTPSandHTTP, StartTime: start, ExpiryTime: end, Permissions: tablePermissions, TableName: e.table()}.Sign(tableKey)
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, fmt.Errorf("kustosim: Storage: signing: %w", err)
	}
	return append(list, resource{"FailedIngestionsQueue", failure}, resource{"SuccessfulIngestionsQueue", success},
		resource{"IngestionsStatusTable", e.proxied[tableService].String() + "/" + e.table() + "?" + table}), nil
}

// own turns a URI a client was told into one of the account itself, so that
// faults do not strike the simulator's own reads.
func (e *externalStorage) own(svc service, uri *url.URL) string {
	u := *uri
	if u.Host == e.proxied[svc].Host {
		u.Scheme, u.Host = e.base[svc].Scheme, e.base[svc].Host
	}
	return u.String()
}

func (e *externalStorage) put(ctx context.Context, name string, data []byte) (*url.URL, error) {
	e.mu.Lock()
	container := e.container(0)
	e.mu.Unlock()
	if _, err := e.blobs.UploadBuffer(ctx, container, name, data, nil); err != nil {
		return nil, fmt.Errorf("kustosim: Storage: storing a blob: %w", err)
	}
	return e.proxied[blobService].JoinPath(container, name), nil
}

func (e *externalStorage) signed(uri *url.URL) (*url.URL, error) {
	u := *uri
	if u.Host != e.proxied[blobService].Host {
		return &u, nil
	}
	key, err := azblob.NewSharedKeyCredential(e.account, e.key)
	if err != nil {
		return nil, fmt.Errorf("kustosim: Storage: %w", err)
	}
	container, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(u.Path, e.proxied[blobService].Path), "/"), "/")
	q, err := blobsas.BlobSignatureValues{Protocol: blobsas.ProtocolHTTPSandHTTP, StartTime: time.Now().Add(-5 * time.Minute).UTC(),
		ExpiryTime: time.Now().Add(e.issuer.lifetime).UTC(), Permissions: "r", ContainerName: container}.SignWithSharedKey(key)
	u.RawQuery = q.Encode()
	return &u, err
}

func (e *externalStorage) download(ctx context.Context, uri *url.URL) (io.ReadCloser, int64, error) {
	if uri.Host != e.proxied[blobService].Host && uri.Host != e.base[blobService].Host {
		return nil, 0, errAccountNotFound
	}
	client, err := blockblob.NewClientWithNoCredential(e.own(blobService, uri), &blockblob.ClientOptions{ClientOptions: e.options()})
	if err != nil {
		return nil, 0, errBlobURI
	}
	reply, err := client.DownloadStream(ctx, nil)
	if err != nil {
		var refused *azcore.ResponseError
		if errors.As(err, &refused) {
			return nil, 0, &storageError{status: refused.StatusCode, code: refused.ErrorCode}
		}
		return nil, 0, errNoAnswer
	}
	size := int64(-1)
	if reply.ContentLength != nil {
		size = *reply.ContentLength
	}
	return reply.Body, size, nil
}

func (e *externalStorage) remove(ctx context.Context, uri *url.URL) error {
	client, err := blockblob.NewClientWithNoCredential(e.own(blobService, uri), &blockblob.ClientOptions{ClientOptions: e.options()})
	if err != nil {
		return errBlobURI
	}
	if _, err = client.Delete(ctx, nil); err != nil {
		return errors.New("kustosim: storage did not delete the blob")
	}
	e.stats.Add(func(s *stats.Stats) { s.BlobsDeleted++ })
	return nil
}

func (e *externalStorage) setStatus(ctx context.Context, table *url.URL, key entityKey, props map[string]any) error {
	u := *table
	if strings.Trim(strings.TrimPrefix(u.Path, e.base[tableService].Path), "/") == "" {
		u.Path = strings.TrimRight(u.Path, "/") + "/" + u.Query().Get("tn")
	}
	client, err := aztables.NewClientWithNoCredential(e.own(tableService, &u), &aztables.ClientOptions{ClientOptions: e.options()})
	if err != nil {
		return errUnknownTable
	}
	props["PartitionKey"], props["RowKey"] = key.partition, key.row
	text, err := json.Marshal(props)
	if err != nil {
		return fmt.Errorf("kustosim: status entity: %w", err)
	}
	if _, err := client.UpsertEntity(ctx, text, &aztables.UpsertEntityOptions{UpdateMode: aztables.UpdateModeMerge}); err != nil {
		return errors.New("kustosim: storage did not take the status")
	}
	return nil
}

func (e *externalStorage) report(ctx context.Context, queue reportQueue, text string) error {
	_, err := e.queues.NewQueueClient(e.reportQueue(queue)).EnqueueMessage(ctx, text, nil)
	return err
}

// poll takes messages off the ready queues until ctx ends.
func (e *externalStorage) poll(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		taken := 0
		for n := range e.units {
			e.mu.Lock()
			name := e.queue(n)
			e.mu.Unlock()
			taken += e.take(ctx, name)
		}
		if taken > 0 {
			timer.Reset(0)
		} else {
			timer.Reset(pollEvery)
		}
	}
}

// take moves the messages at the head of one queue to the ingestor. A message
// whose deletion fails comes up again and is known by its id.
func (e *externalStorage) take(ctx context.Context, name string) int {
	queue := e.queues.NewQueueClient(name)
	count, hidden := int32(maxReceive), int32(pollHidden)
	reply, err := queue.DequeueMessages(ctx, &azqueue.DequeueMessagesOptions{NumberOfMessages: &count, VisibilityTimeout: &hidden})
	if err != nil {
		return 0
	}
	for _, m := range reply.Messages {
		if m.MessageID == nil || m.PopReceipt == nil || m.MessageText == nil {
			continue
		}
		if !e.taken[*m.MessageID] {
			e.deliver(*m.MessageText)
			e.taken[*m.MessageID] = true
		}
		if _, err := queue.DeleteMessage(ctx, *m.MessageID, *m.PopReceipt, nil); err == nil {
			delete(e.taken, *m.MessageID)
		}
	}
	return len(reply.Messages)
}

// close ends the polling and deletes what this start has made.
func (e *externalStorage) close() error {
	e.stop()
	e.polling.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), externalTimeout)
	defer cancel()
	err := e.deleteUnits(ctx)
	for _, q := range []reportQueue{successQueue, failureQueue} {
		_, err1 := e.queues.DeleteQueue(ctx, e.reportQueue(q), nil)
		err = errors.Join(err, err1)
	}
	_, err1 := e.tables.DeleteTable(ctx, e.table(), nil)
	e.http.CloseIdleConnections()
	return errors.Join(err, err1)
}

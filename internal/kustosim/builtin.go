package kustosim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Permissions of what `.get ingestion resources` hands out. The protocol
// reference, section 16, calls them an assumption.
const (
	containerPermissions = "racwdl"
	queuePermissions     = "a"
	reportPermissions    = "rp"
	tablePermissions     = "raud"
)

// builtinStorage is storage in memory: accounts of three services each, every
// service on a port of its own.
type builtinStorage struct {
	issuer *issuer

	// Written before the first request, then only read.
	accounts []*builtinAccount

	mu struct {
		sync.Mutex
		generation int // of the resource names
	}
}

type builtinAccount struct {
	name   string
	blobs  *blobAccount
	queues *queueAccount
	tables *tableAccount
	roots  map[service]*url.URL // under which clients know it, without a slash at the end
}

// newBuiltinStorage makes the accounts and opens their ports on ip.
func newBuiltinStorage(s *Sim, ip string) (*builtinStorage, error) {
	b := &builtinStorage{issuer: s.issuer}
	for n := range s.opts.Accounts {
		name := "simstorage" + strconv.Itoa(n)
		a := &builtinAccount{
			name:   name,
			blobs:  newBlobAccount(name, s.opts.MaxBlobBytes, s.issuer, s.stats),
			queues: newQueueAccount(name, s.issuer, s.stats, func(text string) { s.ingestor.deliver(text) }),
			tables: newTableAccount(name, s.issuer, s.stats),
			roots:  make(map[service]*url.URL),
		}
		b.accounts = append(b.accounts, a)
	}
	b.create()
	for n, a := range b.accounts {
		for _, l := range []struct {
			svc     service
			host    Host
			handler http.Handler
		}{
			{blobService, Blob.Account(n), a.blobs},
			{queueService, Queue.Account(n), a.queues},
			{tableService, Table.Account(n), a.tables},
		} {
			addr, err := s.listenStorage(l.host, l.svc, ip, l.handler)
			if err != nil {
				return nil, err
			}
			if a.roots[l.svc], err = s.opts.storageRoot(l.host, a.name, addr); err != nil {
				return nil, err
			}
		}
	}
	return b, nil
}

func (b *builtinStorage) names(n int) (container, queue string) {
	suffix := strconv.Itoa(n)
	if b.mu.generation > 0 {
		suffix += "-" + strconv.Itoa(b.mu.generation)
	}
	return "ingestdata-" + suffix, "readyforaggregation-secured-" + suffix
}

const (
	statusTable      = "ingestionsstatus0"
	successQueueName = "successful-ingestions"
	failureQueueName = "failed-ingestions"
)

func (b *builtinStorage) create() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for n, a := range b.accounts {
		container, queue := b.names(n)
		a.blobs.createContainer(container)
		a.queues.createQueue(queue, true)
	}
	if b.mu.generation == 0 {
		first := b.accounts[0]
		first.queues.createQueue(successQueueName, false)
		first.queues.createQueue(failureQueueName, false)
		first.tables.createTable(statusTable)
	}
}

func (b *builtinStorage) rotate(context.Context) error {
	b.mu.Lock()
	for n, a := range b.accounts {
		container, queue := b.names(n)
		a.blobs.dropContainer(container)
		a.queues.dropQueue(queue)
	}
	b.mu.generation++
	b.mu.Unlock()
	b.create()
	return nil
}

func (b *builtinStorage) resources() ([]resource, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	root := func(svc service, a *builtinAccount, name, perms string) string {
		return a.roots[svc].String() + "/" + name + "?" + b.issuer.sign(svc, a.name, name, perms, now)
	}
	var list []resource
	for n, a := range b.accounts {
		container, queue := b.names(n)
		list = append(list,
			resource{"SecuredReadyForAggregationQueue", root(queueService, a, queue, queuePermissions)},
			resource{"TempStorage", root(blobService, a, container, containerPermissions)})
	}
	a := b.accounts[0]
	return append(list,
		resource{"FailedIngestionsQueue", root(queueService, a, failureQueueName, reportPermissions)},
		resource{"SuccessfulIngestionsQueue", root(queueService, a, successQueueName, reportPermissions)},
		resource{"IngestionsStatusTable", root(tableService, a, statusTable, tablePermissions)}), nil
}

// find resolves a URI that a client was given, or built from one: the account
// of a service, the container or table, and what comes behind it. It returns nil
// where the URI is of no account.
func (b *builtinStorage) find(svc service, uri *url.URL) (a *builtinAccount, resource, rest string) {
	for _, a := range b.accounts {
		root := a.roots[svc]
		if path, ok := strings.CutPrefix(uri.Path, root.Path+"/"); ok && uri.Host == root.Host {
			resource, rest, _ = strings.Cut(path, "/")
			return a, resource, rest
		}
	}
	return nil, "", ""
}

// locate checks the URI of a blob and its signature for a permission.
func (b *builtinStorage) locate(uri *url.URL, permission string) (a *builtinAccount, container, name string, err *storageError) {
	a, container, name = b.find(blobService, uri)
	if a == nil {
		return nil, "", "", &storageError{http.StatusNotFound, "AccountNotFound", "no such storage account"}
	}
	return a, container, name, b.issuer.check(blobService, a.name, container, uri.Query(), permission, time.Now())
}

// ownContainer is for blobs that no client uploaded.
const ownContainer = "userdata"

func (b *builtinStorage) put(_ context.Context, name string, data []byte) (*url.URL, error) {
	a := b.accounts[0]
	a.blobs.place(ownContainer, name, data)
	u := *a.roots[blobService]
	u.Path += "/" + ownContainer + "/" + name
	return &u, nil
}

func (b *builtinStorage) signed(uri *url.URL) (*url.URL, error) {
	u := *uri
	if a, container, _ := b.find(blobService, uri); a != nil {
		u.RawQuery = b.issuer.sign(blobService, a.name, container, "r", time.Now())
	}
	return &u, nil
}

func (b *builtinStorage) download(_ context.Context, uri *url.URL) (io.ReadCloser, int64, *ingestError) {
	a, container, name, err := b.locate(uri, "r")
	if err == nil {
		var found *blob
		if found, err = a.blobs.find(container, name); err == nil {
			return io.NopCloser(found.reader()), found.size, nil
		}
	}
	return nil, 0, downloadError(err.status, err.code)
}

// downloadError turns a storage reply into the code an ingestion fails with.
func downloadError(status int, code string) *ingestError {
	switch {
	case code == "AccountNotFound":
		return permanent("Download_AccountNotFound", "the storage account of the blob was not found")
	case status == http.StatusNotFound:
		return permanent("Download_SourceNotFound", "the blob was not found (%s)", code)
	case status == http.StatusForbidden, status == http.StatusUnauthorized, status == http.StatusConflict:
		return permanent("Download_Forbidden", "the blob could not be read (%s)", code)
	case status >= 500 || status == http.StatusTooManyRequests:
		return transient("Download_UnknownError", "storage answered %d (%s)", status, code)
	default:
		return permanent("Download_BadRequest", "storage answered %d (%s)", status, code)
	}
}

func (b *builtinStorage) remove(_ context.Context, uri *url.URL) error {
	a, container, name, err := b.locate(uri, "d")
	if err == nil {
		err = a.blobs.delete(container, name)
	}
	if err != nil {
		return err
	}
	a.blobs.stats.add(func(s *Stats) { s.BlobsDeleted++ })
	return nil
}

var errUnknownTable = errors.New("kustosim: the status table of the message is not one of the simulator's")

// setStatus upserts, as the service may have to write a row that the client
// did not insert.
func (b *builtinStorage) setStatus(_ context.Context, table *url.URL, key entityKey, props map[string]any) error {
	if !strings.HasSuffix(table.Path, "/") {
		slashed := *table // Node leaves the table out of the path
		slashed.Path += "/"
		table = &slashed
	}
	a, name, _ := b.find(tableService, table)
	if a == nil {
		return errUnknownTable
	}
	if name == "" {
		name = table.Query().Get("tn")
	}
	if err := b.issuer.check(tableService, a.name, name, table.Query(), "u", time.Now()); err != nil {
		return err
	}
	encoded := make(map[string]json.RawMessage, len(props))
	for k, v := range props {
		text, err := json.Marshal(v)
		if err != nil {
			return fmt.Errorf("kustosim: status property %s: %w", k, err)
		}
		encoded[k] = text
	}
	if _, err := a.tables.write(name, key, encoded, mergeEntity, ""); err != nil {
		return err
	}
	return nil
}

func (b *builtinStorage) report(_ context.Context, queue reportQueue, text string) error {
	name := successQueueName
	if queue == failureQueue {
		name = failureQueueName
	}
	b.accounts[0].queues.post(name, text)
	return nil
}

func (b *builtinStorage) close() error { return nil }

// blobNames lists account/container/blob of everything stored.
func (b *builtinStorage) blobNames() []string {
	var names []string
	for _, a := range b.accounts {
		for _, name := range a.blobs.names() {
			names = append(names, strings.Join([]string{a.name, name}, "/"))
		}
	}
	return names
}

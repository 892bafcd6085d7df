package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"kustospool/internal/kustosim/internal/fault"
	"kustospool/internal/kustosim/internal/stats"
)

// Permissions of what `.get ingestion resources` hands out. The protocol
// reference, section 16, calls them an assumption. Which each operation needs is
// in https://learn.microsoft.com/rest/api/storageservices/create-service-sas.
const (
	ContainerRights   = "racwdl" // unless Config.Rights says otherwise
	queuePermissions  = "a"
	reportPermissions = "rp"
	tablePermissions  = "raud"
)

// Builtin is storage in memory: accounts of three services each, every
// service on a port of its own.
type Builtin struct {
	issuer *Issuer
	rights string // of signatures for containers

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
	roots  map[Service]*url.URL // under which clients know it, without a slash at the end
}

// NewBuiltin makes the accounts and opens their ports. The error is that
// of a port.
func NewBuiltin(s Config) (*Builtin, error) {
	b := &Builtin{issuer: s.Issuer, rights: s.Rights}
	for n := range s.Accounts {
		name := "simstorage" + strconv.Itoa(n)
		a := &builtinAccount{
			name:   name,
			blobs:  newBlobAccount(name, s.MaxBytes, s.MaxBlocks, s.Issuer, s.Stats),
			queues: newQueueAccount(name, s.Issuer, s.Stats, s.Deliver),
			tables: newTableAccount(name, s.Issuer, s.Stats),
			roots:  make(map[Service]*url.URL),
		}
		b.accounts = append(b.accounts, a)
	}
	b.create()
	for n, a := range b.accounts {
		for _, l := range []struct {
			svc     Service
			host    fault.Host
			handler http.Handler
		}{
			{BlobService, fault.Blob.Account(n), a.blobs},
			{QueueService, fault.Queue.Account(n), a.queues},
			{TableService, fault.Table.Account(n), a.tables},
		} {
			addr, err := s.Listen(l.host, l.svc, l.handler)
			if err != nil {
				return nil, err
			}
			if a.roots[l.svc], err = s.Root(l.host, a.name, addr); err != nil {
				return nil, err
			}
		}
	}
	return b, nil
}

func (b *Builtin) names(n int) (container, queue string) {
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

func (b *Builtin) create() {
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

// Rotate replaces the containers and ready queues; what was in them is gone.
func (b *Builtin) Rotate(context.Context) error {
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

// Resources are the rows that a client is told, with fresh signatures.
func (b *Builtin) Resources() ([]Resource, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	root := func(svc Service, a *builtinAccount, name, perms string) string {
		return a.roots[svc].String() + "/" + name + "?" + b.issuer.Sign(svc, a.name, name, perms, now)
	}
	var list []Resource
	for n, a := range b.accounts {
		container, queue := b.names(n)
		list = append(list,
			Resource{"SecuredReadyForAggregationQueue", root(QueueService, a, queue, queuePermissions)},
			Resource{"TempStorage", root(BlobService, a, container, b.rights)})
	}
	a := b.accounts[0]
	return append(list,
		Resource{"FailedIngestionsQueue", root(QueueService, a, failureQueueName, reportPermissions)},
		Resource{"SuccessfulIngestionsQueue", root(QueueService, a, successQueueName, reportPermissions)},
		Resource{"IngestionsStatusTable", root(TableService, a, statusTable, tablePermissions)}), nil
}

// find resolves a URI that a client was given, or built from one: the account
// of a service, the container or table, and what comes behind it. It returns nil
// where the URI is of no account.
func (b *Builtin) find(svc Service, uri *url.URL) (a *builtinAccount, resource, rest string) {
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
func (b *Builtin) locate(uri *url.URL, permission string) (a *builtinAccount, container, name string, err *Error) {
	a, container, name = b.find(BlobService, uri)
	if a == nil {
		return nil, "", "", errAccountNotFound
	}
	if container != ownContainer {
		permission = ContainerRights // any: the service needs no right of the client in its own containers
	}
	return a, container, name, b.issuer.check(BlobService, a.name, container, uri.Query(), permission, time.Now())
}

// ownContainer is for blobs that no client uploaded.
const ownContainer = "userdata"

// Put stores a blob beside what clients upload and returns its URI, unsigned.
func (b *Builtin) Put(_ context.Context, name string, data []byte) (*url.URL, error) {
	a := b.accounts[0]
	a.blobs.place(ownContainer, name, data)
	u := *a.roots[BlobService]
	u.Path += "/" + ownContainer + "/" + name
	return &u, nil
}

// Signed is the URI with a signature that reads it, or as it is where it is of no
// blob of this storage.
func (b *Builtin) Signed(uri *url.URL) (*url.URL, error) {
	u := *uri
	if a, container, _ := b.find(BlobService, uri); a != nil {
		u.RawQuery = b.issuer.Sign(BlobService, a.name, container, "r", time.Now())
	}
	return &u, nil
}

// Download opens a blob by a signed URI. The error is an *Error.
func (b *Builtin) Download(_ context.Context, uri *url.URL) (io.ReadCloser, int64, error) {
	a, container, name, err := b.locate(uri, "r")
	if err == nil {
		var found *blob
		if found, err = a.blobs.find(container, name); err == nil {
			return io.NopCloser(found.reader()), found.size, nil
		}
	}
	return nil, 0, err
}

// Remove deletes a blob by a signed URI.
func (b *Builtin) Remove(_ context.Context, uri *url.URL) error {
	a, container, name, err := b.locate(uri, "d")
	if err == nil {
		err = a.blobs.delete(container, name)
	}
	if err != nil {
		return err
	}
	a.blobs.stats.Add(func(s *stats.Stats) { s.BlobsDeleted++ })
	return nil
}

var errUnknownTable = errors.New("kustosim: the status table of the message is not one of the simulator's")

// SetStatus upserts, as the service may have to write a row that the client
// did not insert.
func (b *Builtin) SetStatus(_ context.Context, table *url.URL, key EntityKey, props map[string]any) error {
	if !strings.HasSuffix(table.Path, "/") {
		slashed := *table // Node leaves the table out of the path
		slashed.Path += "/"
		table = &slashed
	}
	a, name, _ := b.find(TableService, table)
	if a == nil {
		return errUnknownTable
	}
	if name == "" {
		name = table.Query().Get("tn")
	}
	if err := b.issuer.check(TableService, a.name, name, table.Query(), "u", time.Now()); err != nil {
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

// Report puts a message on a report queue.
func (b *Builtin) Report(_ context.Context, queue ReportQueue, text string) error {
	name := successQueueName
	if queue == FailureQueue {
		name = failureQueueName
	}
	b.accounts[0].queues.post(name, text)
	return nil
}

// Close has nothing to stop.
func (b *Builtin) Close() error { return nil }

// BlobNames lists account/container/blob of everything stored, sorted.
func (b *Builtin) BlobNames() []string {
	var names []string
	for _, a := range b.accounts {
		for _, name := range a.blobs.names() {
			names = append(names, strings.Join([]string{a.name, name}, "/"))
		}
	}
	slices.Sort(names)
	return names
}

// AddQueue makes a queue of the first account that keeps its messages.
func (b *Builtin) AddQueue(name string) { b.accounts[0].queues.createQueue(name, false) }

// ForgetBlocks drops the blocks that were put and not committed.
func (b *Builtin) ForgetBlocks() {
	for _, a := range b.accounts {
		a.blobs.forgetBlocks()
	}
}

package storage

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"kustospool/internal/kustosim/internal/port"
	"kustospool/internal/kustosim/internal/stats"
)

// blob is a committed block blob. Its blocks are never changed in place.
type blob struct {
	blocks   []block
	size     int64
	etag     string
	modified time.Time
	created  time.Time
	content  string            // Content-Type
	metadata map[string]string // lower-case names
}

type block struct {
	id   string
	data []byte
}

func (b *blob) reader() io.Reader {
	readers := make([]io.Reader, len(b.blocks))
	for i, block := range b.blocks {
		readers[i] = bytes.NewReader(block.data)
	}
	return io.MultiReader(readers...)
}

// blobAccount is the blob service of one account: containers of block blobs.
type blobAccount struct {
	account   string
	maxBytes  int64
	maxBlocks int
	issuer    *Issuer
	stats     *stats.Book

	mu struct {
		sync.Mutex
		containers map[string]*container
		etags      int64
	}
}

type container struct {
	blobs  map[string]*blob
	staged map[string]map[string][]byte // blob name -> block id -> uncommitted data
}

func newBlobAccount(account string, maxBytes int64, maxBlocks int, i *Issuer, stats *stats.Book) *blobAccount {
	a := &blobAccount{account: account, maxBytes: maxBytes, maxBlocks: maxBlocks, issuer: i, stats: stats}
	a.mu.containers = make(map[string]*container)
	return a
}

func (a *blobAccount) createContainer(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mu.containers[name] = &container{blobs: make(map[string]*blob), staged: make(map[string]map[string][]byte)}
}

func (a *blobAccount) dropContainer(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.mu.containers, name)
}

// names lists the committed blobs as container/name.
func (a *blobAccount) names() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var names []string
	for c, cont := range a.mu.containers {
		for b := range cont.blobs {
			names = append(names, c+"/"+b)
		}
	}
	return names
}

// place stores a blob without a request, in a container that it makes.
func (a *blobAccount) place(containerName, name string, data []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.mu.containers[containerName]
	if c == nil {
		c = &container{blobs: make(map[string]*blob), staged: make(map[string]map[string][]byte)}
		a.mu.containers[containerName] = c
	}
	a.mu.etags++
	now := time.Now().UTC()
	c.blobs[name] = &blob{blocks: []block{{data: data}}, size: int64(len(data)), etag: `"0x` + strconv.FormatInt(0x8DC000000000000+a.mu.etags, 16) + `"`,
		modified: now, created: now, content: "application/octet-stream", metadata: map[string]string{}}
}

// find returns a committed blob.
func (a *blobAccount) find(containerName, name string) (*blob, *Error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.mu.containers[containerName]
	if c == nil {
		return nil, errContainerNotFound
	}
	b := c.blobs[name]
	if b == nil {
		return nil, errBlobNotFound
	}
	return b, nil
}

func (a *blobAccount) delete(containerName, name string) *Error {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.mu.containers[containerName]
	if c == nil {
		return errContainerNotFound
	}
	if c.blobs[name] == nil {
		return errBlobNotFound
	}
	delete(c.blobs, name)
	return nil
}

// splitPath reads /account/name[/rest]. Storage accepts a percent-encoded
// slash in a blob name as a slash, so the decoded path is the right one.
func splitPath(path string) (account, name, rest string) {
	parts := strings.SplitN(strings.TrimPrefix(path, "/"), "/", 3)
	for len(parts) < 3 {
		parts = append(parts, "")
	}
	return parts[0], parts[1], parts[2]
}

func (a *blobAccount) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	stampStorage(w, r)
	if err := a.serve(w, r); err != nil {
		port.Drain(r)
		err.write(w, r, BlobService)
	}
}

func (a *blobAccount) serve(w http.ResponseWriter, r *http.Request) *Error {
	account, containerName, name := splitPath(r.URL.Path)
	if account != a.account || containerName == "" {
		return &Error{http.StatusBadRequest, "InvalidUri", "The requested URI does not represent any resource on the server."}
	}
	q := r.URL.Query()
	need := map[string]string{http.MethodGet: "r", http.MethodHead: "r", http.MethodPut: "cw", http.MethodDelete: "d"}[r.Method]
	if need == "" {
		return errUnsupported
	}
	if name == "" && q.Get("comp") == "list" {
		need = "l"
	}
	if err := a.issuer.check(BlobService, a.account, containerName, q, need, time.Now()); err != nil {
		return err
	}
	if name == "" {
		return a.containerRequest(w, r, containerName)
	}
	switch comp := q.Get("comp"); {
	case r.Method == http.MethodPut && comp == "":
		return a.putBlob(w, r, containerName, name)
	case r.Method == http.MethodPut && comp == "block":
		return a.putBlock(w, r, containerName, name)
	case r.Method == http.MethodPut && comp == "blocklist":
		return a.putBlockList(w, r, containerName, name)
	case r.Method == http.MethodGet && comp == "blocklist":
		return a.getBlockList(w, r, containerName, name)
	case (r.Method == http.MethodGet || r.Method == http.MethodHead) && comp == "":
		return a.getBlob(w, r, containerName, name)
	case r.Method == http.MethodDelete && comp == "":
		if err := a.delete(containerName, name); err != nil {
			return err
		}
		a.stats.Add(func(s *stats.Stats) { s.BlobsDeleted++ })
		w.WriteHeader(http.StatusAccepted)
		return nil
	default:
		return errUnsupported
	}
}

func (a *blobAccount) containerRequest(w http.ResponseWriter, r *http.Request, name string) *Error {
	if q := r.URL.Query(); q.Get("restype") != "container" || q.Get("comp") != "" || (r.Method != http.MethodGet && r.Method != http.MethodHead) {
		return errUnsupported
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.mu.containers[name] == nil {
		return errContainerNotFound
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

func (a *blobAccount) putBlob(w http.ResponseWriter, r *http.Request, containerName, name string) *Error {
	if t := r.Header.Get("x-ms-blob-type"); t != "BlockBlob" {
		return badInput("InvalidHeaderValue", "x-ms-blob-type must be BlockBlob.")
	}
	data, err := readContent(r, a.maxBytes)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.mu.containers[containerName]
	if c == nil {
		return errContainerNotFound
	}
	return a.commitLocked(w, r, c, name, []block{{data: data}})
}

// commitLocked makes blocks the blob's content, if the request's conditions
// and its signature allow it. The mutex must be held.
func (a *blobAccount) commitLocked(w http.ResponseWriter, r *http.Request, c *container, name string, blocks []block) *Error {
	old := c.blobs[name]
	if old != nil {
		switch {
		case r.Header.Get("If-None-Match") == "*":
			return &Error{http.StatusConflict, "BlobAlreadyExists", "The specified blob already exists."}
		case r.Header.Get("If-None-Match") == old.etag:
			return errConditionNotMet
		case !strings.Contains(r.URL.Query().Get("sp"), "w"):
			return &Error{http.StatusForbidden, "UnauthorizedBlobOverwrite", "This request is not authorized to perform blob overwrites."}
		}
	}
	if match := r.Header.Get("If-Match"); match != "" && (old == nil || match != "*" && match != old.etag) {
		return errConditionNotMet
	}
	a.mu.etags++
	now := time.Now().UTC()
	b := &blob{blocks: blocks, etag: `"0x` + strings.ToUpper(strconv.FormatInt(0x8DC000000000000+a.mu.etags, 16)) + `"`,
		modified: now, created: now, content: r.Header.Get("x-ms-blob-content-type"), metadata: make(map[string]string)}
	if b.content == "" {
		b.content = "application/octet-stream"
	}
	for k := range r.Header {
		if key, ok := strings.CutPrefix(strings.ToLower(k), "x-ms-meta-"); ok {
			b.metadata[key] = r.Header.Get(k)
		}
	}
	for _, bl := range blocks {
		b.size += int64(len(bl.data))
	}
	if old != nil {
		b.created = old.created
	}
	c.blobs[name] = b
	delete(c.staged, name)
	a.stats.Add(func(s *stats.Stats) {
		s.BlobsPut++
		s.BlobBytes += b.size
		if old != nil {
			s.BlobsOverwritten++
		}
	})
	h := w.Header()
	h.Set("ETag", b.etag)
	h.Set("Last-Modified", b.modified.Format(http.TimeFormat))
	h.Set("x-ms-request-server-encrypted", "true")
	w.WriteHeader(http.StatusCreated)
	return nil
}

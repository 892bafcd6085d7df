package storage

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"strings"

	"kustospool/internal/kustosim/internal/stats"
)

const (
	maxBlockListBytes = 16 << 20 // 50,000 entries of the longest id
	// uncommitted is how many times as many blocks may wait for a list as a list
	// may have: 100,000 and 50,000
	// (https://learn.microsoft.com/rest/api/storageservices/put-block).
	uncommitted = 2
)

func (a *blobAccount) putBlock(w http.ResponseWriter, r *http.Request, containerName, name string) *Error {
	id := r.URL.Query().Get("blockid")
	if id == "" || len(id) > 128 {
		return badInput("InvalidQueryParameterValue", "Value for one of the query parameters specified in the request URI is invalid: blockid.")
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
	if c.staged[name] == nil {
		c.staged[name] = make(map[string][]byte)
	}
	for other := range c.staged[name] {
		if len(other) != len(id) { // the ids of a blob have one length
			return badInput("InvalidBlobOrBlock", "The specified blob or block content is invalid.")
		}
		break
	}
	if _, again := c.staged[name][id]; !again && len(c.staged[name]) >= uncommitted*a.maxBlocks {
		return &Error{http.StatusConflict, "BlockCountExceedsLimit", "The uncommitted block count cannot exceed the maximum limit of 100,000 blocks."}
	}
	c.staged[name][id] = data
	a.stats.Add(func(s *stats.Stats) { s.BlocksPut++ })
	w.WriteHeader(http.StatusCreated)
	return nil
}

func (a *blobAccount) putBlockList(w http.ResponseWriter, r *http.Request, containerName, name string) *Error {
	list, err := readBlockList(r)
	if err != nil {
		return err
	}
	if len(list) > a.maxBlocks { // https://learn.microsoft.com/rest/api/storageservices/put-block-list
		return badInput("BlockListTooLong", "The block list may not contain more than 50,000 blocks.")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.mu.containers[containerName]
	if c == nil {
		return errContainerNotFound
	}
	committed := make(map[string][]byte)
	if old := c.blobs[name]; old != nil {
		for _, b := range old.blocks {
			committed[b.id] = b.data
		}
	}
	blocks := make([]block, len(list))
	for i, entry := range list {
		data, ok := c.staged[name][entry.id], false
		switch {
		case entry.from != "Committed" && data != nil:
			ok = true
		case entry.from != "Uncommitted":
			data, ok = committed[entry.id]
		}
		if !ok {
			return badInput("InvalidBlockList", "The specified block list is invalid.")
		}
		blocks[i] = block{entry.id, data}
	}
	return a.commitLocked(w, r, c, name, blocks)
}

// getBlockList tells the blocks of a blob, committed or not. The simulator
// keeps no order of the uncommitted ones; clients must not need one.
func (a *blobAccount) getBlockList(w http.ResponseWriter, r *http.Request, containerName, name string) *Error {
	type entry struct {
		Name string
		Size int
	}
	var reply struct {
		XMLName     xml.Name `xml:"BlockList"`
		Committed   *[]entry `xml:"CommittedBlocks>Block,omitempty"`
		Uncommitted *[]entry `xml:"UncommittedBlocks>Block,omitempty"`
	}
	kind := strings.ToLower(r.URL.Query().Get("blocklisttype"))
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.mu.containers[containerName]
	if c == nil {
		return errContainerNotFound
	}
	b, staged := c.blobs[name], c.staged[name]
	if b == nil && len(staged) == 0 {
		return errBlobNotFound
	}
	if kind != "uncommitted" {
		reply.Committed = new([]entry)
		if b != nil {
			for _, bl := range b.blocks {
				if bl.id != "" {
					*reply.Committed = append(*reply.Committed, entry{bl.id, len(bl.data)})
				}
			}
		}
	}
	if kind == "uncommitted" || kind == "all" {
		reply.Uncommitted = new([]entry)
		for id, data := range staged {
			*reply.Uncommitted = append(*reply.Uncommitted, entry{id, len(data)})
		}
	}
	body, err := xml.Marshal(reply)
	if err != nil {
		return &Error{http.StatusInternalServerError, "InternalError", "The server encountered an internal error."}
	}
	w.Header().Set("Content-Type", "application/xml")
	w.Write(append([]byte(xml.Header), body...))
	return nil
}

// forgetBlocks drops what was not committed, as storage does after a week.
func (a *blobAccount) forgetBlocks() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.mu.containers {
		clear(c.staged)
	}
}

// listedBlock is an entry of a block list: where to look for which block.
type listedBlock struct {
	from string // Committed, Uncommitted or Latest
	id   string
}

// readBlockList decodes <BlockList> in order, which a struct cannot do: the
// three kinds of entries may be mixed.
func readBlockList(r *http.Request) ([]listedBlock, *Error) {
	body, bad := readContent(r, maxBlockListBytes)
	if bad != nil {
		return nil, bad
	}
	invalid := badInput("InvalidXmlDocument", "XML specified is not syntactically valid.")
	dec := xml.NewDecoder(bytes.NewReader(body))
	var list []listedBlock
	depth := 0
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) && depth == 0 {
			return list, nil
		}
		if err != nil {
			return nil, invalid
		}
		switch t := token.(type) {
		case xml.StartElement:
			depth++
			if depth == 1 && t.Name.Local != "BlockList" || depth > 2 {
				return nil, invalid
			}
			if depth == 2 {
				var id string
				if err := dec.DecodeElement(&id, &t); err != nil {
					return nil, invalid
				}
				depth--
				switch t.Name.Local {
				case "Committed", "Uncommitted", "Latest":
					list = append(list, listedBlock{t.Name.Local, strings.TrimSpace(id)})
				default:
					return nil, invalid
				}
			}
		case xml.EndElement:
			depth--
		}
	}
}

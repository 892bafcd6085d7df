package kustosim

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"kustospool/ingest"
)

// maxStreamBytes is how much one streaming request may carry, after
// decompression (protocol reference section 9.2).
const maxStreamBytes = 4 << 20

// SetStreaming turns the streaming policy of a table on or off.
func (s *Sim) SetStreaming(db, table string, on bool) error {
	if !s.catalog.setStreaming(db, table, on) {
		return ErrTableNotFound
	}
	return nil
}

func (c *catalog) setStreaming(db, name string, on bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.mu.databases[db][name]
	if t == nil {
		return false
	}
	t.streaming = on
	return true
}

// streams reports whether the table exists and takes streaming ingestion.
func (c *catalog) streams(db, name string) (exists, on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.mu.databases[db][name]
	return t != nil, t != nil && t.streaming
}

// serveStream is POST /v1/rest/ingest/{db}/{table} (protocol reference section 9).
func (s *Sim) serveStream(w http.ResponseWriter, r *http.Request) {
	stampKusto(w, r)
	if err := s.authorize(w, r, Ingestor); err != nil {
		drain(r)
		err.write(w, r)
		return
	}
	data, err := readStream(r)
	if err == nil {
		err = s.stream(r, data)
	}
	if err != nil {
		err.write(w, r)
		return
	}
	writeKusto(w, http.StatusOK, (&dataset{[]Column{{"ConsumptionMode", "string"}}, nil}).v1())
	s.change.notify()
}

func readStream(r *http.Request) ([]byte, *kustoError) {
	defer drain(r)
	body := io.Reader(io.LimitReader(r.Body, maxStreamBytes+1))
	if strings.EqualFold(r.Header.Get("Content-Encoding"), "gzip") {
		z, err := gzip.NewReader(body)
		if err != nil {
			return nil, badCommand("BadRequest_InvalidBlob", "The request body is not gzip.")
		}
		body = io.LimitReader(z, maxStreamBytes+1)
	}
	data, err := io.ReadAll(body)
	switch {
	case err != nil:
		return nil, badCommand("BadRequest_InvalidBlob", "The request body ends early or its compression is damaged.")
	case len(data) > maxStreamBytes:
		return nil, &kustoError{http.StatusRequestEntityTooLarge, "Request_PayloadTooLarge", "Kusto.DataNode.Exceptions.KustoRequestPayloadTooLargeException",
			"The request body exceeds the maximum allowed size of 4 MB.", true}
	case len(bytes.TrimSpace(data)) == 0:
		return nil, badCommand("Stream_NoDataToIngest", "There is no data to ingest.")
	}
	return data, nil
}

func (s *Sim) stream(r *http.Request, data []byte) *kustoError {
	db, name, q := r.PathValue("db"), r.PathValue("table"), r.URL.Query()
	exists, on := s.catalog.streams(db, name)
	if !exists {
		return &kustoError{http.StatusNotFound, "NotFound", "Kusto.Data.Exceptions.EntityNotFoundException", "Table '" + name + "' could not be found.", true}
	}
	if !on {
		return &kustoError{http.StatusBadRequest, "BadRequest_StreamingIngestionPolicyNotEnabled", "Kusto.DataNode.Exceptions.StreamingIngestionPolicyNotEnabledException",
			"Streaming ingestion policy is not enabled for the table.", true}
	}
	format, err := ingest.ParseFormat(q.Get("streamFormat"))
	if err != nil || !streamFormats[format] {
		return badCommand("BadRequest_FormatNotSupported", "The format is not supported by streaming ingestion.")
	}
	props := map[string]json.RawMessage{"format": json.RawMessage(`"` + string(format) + `"`)}
	if mapping := q.Get("mappingName"); mapping != "" {
		props["ingestionmappingreference"], _ = json.Marshal(mapping)
	}
	in, bad := understand(&message{Id: newGUID(), BlobPath: "stream://request/data", DatabaseName: db, TableName: name, AdditionalProperties: props})
	if bad == nil {
		_, bad = s.ingestor.streamed(in, data)
	}
	if bad != nil {
		s.stats.add(func(st *Stats) { st.Failed[bad.code]++ })
		return commandError(bad)
	}
	s.stats.add(func(st *Stats) { st.Streamed++ })
	return nil
}

func (g *ingestor) streamed(in *ingestion, data []byte) (*extent, *ingestError) {
	fault := g.faults.strike(in, FailTransient, FailExhausted, FailPermanent)
	if fault != nil && !fault.AfterCommit {
		return nil, fault.failure()
	}
	g.turn.Lock()
	defer g.turn.Unlock()
	columns, reference, bad := g.schema(in)
	if bad != nil {
		return nil, bad
	}
	var items []mappingItem
	if reference != nil {
		items = reference.items
	}
	t, bad := newTarget(columns, items, in)
	if bad != nil {
		return nil, bad
	}
	rows, bad := g.parse(in, data, t)
	if bad != nil {
		return nil, bad
	}
	if len(rows) == 0 {
		return nil, permanent("BadRequest_NoRecordsOrWrongFormat", "the request has no records")
	}
	e, bad := g.add(in, rows)
	if bad == nil && fault != nil {
		bad = fault.failure()
	}
	return e, bad
}

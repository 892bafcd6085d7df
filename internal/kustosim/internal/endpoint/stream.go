package endpoint

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"kustospool/ingest"
	"kustospool/internal/kustosim/internal/ingestor"
	"kustospool/internal/kustosim/internal/port"
	"kustospool/internal/kustosim/internal/reply"
	"kustospool/internal/kustosim/internal/stats"
)

// maxStreamBytes is how much one streaming request may carry, after
// decompression (protocol reference section 9.2).
const maxStreamBytes = 4 << 20

// serveStream is POST /v1/rest/ingest/{db}/{table} (protocol reference section 9).
func (s *Endpoint) serveStream(w http.ResponseWriter, r *http.Request) {
	reply.Stamp(w, r)
	if err := s.authorize(w, r, needOf(r, nil)); err != nil {
		port.Drain(r)
		err.Write(w, r)
		return
	}
	data, err := s.streamed(r)
	if err == nil {
		err = s.stream(r, data)
	}
	if err != nil {
		err.Write(w, r)
		return
	}
	reply.Write(w, http.StatusOK, (&reply.Table{Columns: reply.Columns("ConsumptionMode", "string"), Rows: nil}).V1())
	s.Notify()
}

// streamed is the data of a request: its body, or, with sourceKind=uri, the blob
// that its body names. Clients of Microsoft's send {"sourceUri":"..."} then; the
// documentation has no word of it, so that the limit of the body counts for the
// blob too is assumed. The blob is read where blobs of queued ingestion are, and
// its address is kept nowhere.
func (s *Endpoint) streamed(r *http.Request) ([]byte, *reply.Error) {
	data, err := readStream(r)
	if err != nil || !strings.EqualFold(r.URL.Query().Get("sourceKind"), "uri") {
		return data, err
	}
	var source struct{ SourceURI string }
	if json.Unmarshal(data, &source) != nil || source.SourceURI == "" {
		return nil, reply.BadCommand("General_BadRequest", "With sourceKind=uri the request body must be a JSON object with a sourceUri.")
	}
	data, bad := s.Ingestor.Blob(r.Context(), source.SourceURI, maxStreamBytes)
	switch {
	case bad != nil && bad.Code == ingestor.TooLarge:
		return nil, errStreamTooLarge
	case bad != nil:
		s.Stats.Add(func(st *stats.Stats) { st.Failed[bad.Code]++ })
		return nil, reply.OfIngestion(bad)
	case len(bytes.TrimSpace(data)) == 0:
		return nil, errNoData
	}
	return data, nil
}

var (
	errStreamTooLarge = &reply.Error{Status: http.StatusRequestEntityTooLarge, Code: "Request_PayloadTooLarge", Kind: "Kusto.DataNode.Exceptions.KustoRequestPayloadTooLargeException",
		Message: "The request body exceeds the maximum allowed size of 4 MB.", Permanent: true}
	errNoData = reply.BadCommand("Stream_NoDataToIngest", "There is no data to ingest.")
)

func readStream(r *http.Request) ([]byte, *reply.Error) {
	defer port.Drain(r)
	body := io.Reader(io.LimitReader(r.Body, maxStreamBytes+1))
	if strings.EqualFold(r.Header.Get("Content-Encoding"), "gzip") {
		z, err := gzip.NewReader(body)
		if err != nil {
			return nil, reply.BadCommand("BadRequest_InvalidBlob", "The request body is not gzip.")
		}
		body = io.LimitReader(z, maxStreamBytes+1)
	}
	data, err := io.ReadAll(body)
	switch {
	case err != nil:
		return nil, reply.BadCommand("BadRequest_InvalidBlob", "The request body ends early or its compression is damaged.")
	case len(data) > maxStreamBytes:
		return nil, errStreamTooLarge
	case len(bytes.TrimSpace(data)) == 0:
		return nil, errNoData
	}
	return data, nil
}

func (s *Endpoint) stream(r *http.Request, data []byte) *reply.Error {
	db, name, q := r.PathValue("db"), r.PathValue("table"), r.URL.Query()
	exists, on := s.Catalog.Streams(db, name)
	if !exists {
		return &reply.Error{Status: http.StatusNotFound, Code: "NotFound", Kind: "Kusto.Data.Exceptions.EntityNotFoundException", Message: "Table '" + name + "' could not be found.", Permanent: true}
	}
	if !on {
		return &reply.Error{Status: http.StatusBadRequest, Code: "BadRequest_StreamingIngestionPolicyNotEnabled", Kind: "Kusto.DataNode.Exceptions.StreamingIngestionPolicyNotEnabledException",
			Message: "Streaming ingestion policy is not enabled for the table.", Permanent: true}
	}
	format, err := ingest.ParseFormat(q.Get("streamFormat"))
	if err != nil || !streamFormats[format] {
		return reply.BadCommand("BadRequest_FormatNotSupported", "The format is not supported by streaming ingestion.")
	}
	if bad := s.Ingestor.Stream(db, name, format, q.Get("mappingName"), data); bad != nil {
		s.Stats.Add(func(st *stats.Stats) { st.Failed[bad.Code]++ })
		return reply.OfIngestion(bad)
	}
	s.Stats.Add(func(st *stats.Stats) { st.Streamed++ })
	return nil
}

// streamFormats are the formats that streaming ingestion takes (protocol
// reference section 9.1).
var streamFormats = map[ingest.Format]bool{ingest.CSV: true, ingest.TSV: true, ingest.SCSV: true, ingest.SOHSV: true, ingest.PSV: true,
	ingest.JSON: true, ingest.MultiJSON: true, ingest.SingleJSON: true, ingest.Avro: true, ingest.TXT: true, ingest.TSVE: true}

package kusto

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	azruntime "github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"

	"kustospool/transport"
)

// StreamCall is one streaming ingestion request (protocol reference section 9).
type StreamCall struct {
	Database, Table string
	Format          string // as streamFormat spells it
	Mapping         string // a mapping's name; may be empty
	Body            io.ReadSeeker
	Gzip            bool // Body is gzip
	RequestID       string
}

// CodeStreamingOff is the code of the error for a table, database or cluster
// that takes no streaming ingestion, and for what streaming cannot carry.
const CodeStreamingOff = "StreamingUnavailable"

const opStream = "streaming ingestion"

// Stream sends one streaming request, in one HTTP attempt. The error is a
// *[transport.Error]. Held with [CodeStreamingOff] means that the table does
// not take streams as it is configured; Malformed, with the code 413, that the
// request was too large.
func (s *Service) Stream(ctx context.Context, call StreamCall) error {
	q := url.Values{"streamFormat": {call.Format}}
	if call.Mapping != "" {
		q.Set("mappingName", call.Mapping)
	}
	address, err := tableURL(opStream, s.cluster.Engine+"/v1/rest/ingest/", call.Database, call.Table)
	if err != nil {
		return err
	}
	ctx, sent := Watch(ctx)
	req, err := azruntime.NewRequest(ctx, http.MethodPost, address+"?"+q.Encode())
	if err != nil {
		return &transport.Error{Op: opStream, Class: transport.Held, Message: "the names of database and table make no valid address"}
	}
	s.sign(req.Raw().Header, call.RequestID)
	if call.Gzip {
		req.Raw().Header.Set("Content-Encoding", "gzip")
	}
	if err := req.SetBody(streaming.NopCloser(call.Body), "application/octet-stream"); err != nil {
		return &transport.Error{Op: opStream, Class: transport.Transient, Message: s.secrets.Words(err.Error())}
	}
	resp, err := s.pipeline.Do(req)
	if err != nil {
		return withRequest(s.secrets.WireFailure(opStream, err, HasEffect, sent), call.RequestID)
	}
	defer resp.Body.Close()
	reply, err := io.ReadAll(resp.Body)
	if resp.StatusCode == http.StatusOK {
		return nil // the status comes after the commit; the body says nothing more
	}
	if err != nil {
		return withRequest(s.secrets.WireFailure(opStream, err, HasEffect, sent), call.RequestID)
	}
	re := decodeRESTError(resp.StatusCode, reply, s.secrets)
	e := &transport.Error{Op: opStream, Class: commandClass(re, HasEffect), Code: re.Code, Message: re.Message,
		RetryAfter: RetryAfter(resp.Header, time.Now()), RequestID: call.RequestID, Err: re}
	if e.Code == "" {
		e.Code = strconv.Itoa(re.Status)
	}
	switch {
	case re.Status == http.StatusRequestEntityTooLarge:
		// Halves fit where the whole does not.
		e.Class, e.Code = transport.Malformed, strconv.Itoa(re.Status)
	case re.Status == http.StatusNotFound, re.Status == http.StatusBadRequest && streamingOff(re):
		e.Class, e.Code = transport.Held, CodeStreamingOff
	}
	return e
}

// streamingOff recognises a refusal that is about the table's configuration:
// no code is documented for it, so the words decide, as in the official
// clients (protocol reference section 9.3).
func streamingOff(e *RESTError) bool {
	text := strings.ToLower(e.Code + " " + e.Type + " " + e.Message)
	if strings.Contains(text, "update policy") {
		return true
	}
	if !strings.Contains(text, "streaming") {
		return false
	}
	for _, w := range []string{"disabled", "not enabled", "notenabled", " off"} {
		if strings.Contains(text, w) {
			return true
		}
	}
	return false
}

// CodeIn finds an ingestion error code in a text of the service, the longest
// of those in it; empty where there is none.
func CodeIn(text string) string {
	text = strings.ToLower(text)
	found := ""
	for lower, code := range byLowerCode {
		if len(code) > len(found) && strings.ContainsRune(code, '_') && strings.Contains(text, lower) {
			found = code
		}
	}
	return found
}

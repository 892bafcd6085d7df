package endpoint

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"kustospool/internal/kustosim/internal/ingestor"
	"kustospool/internal/kustosim/internal/parse"
	"kustospool/internal/kustosim/internal/port"
	"kustospool/internal/kustosim/internal/reply"
	"kustospool/internal/kustosim/internal/stats"
)

// Limits and figures of queued ingestion over REST (protocol reference section 7).
const (
	maxBlobsPerRequest = 20
	maxDataSize        = 6 << 30
	maxRequestBytes    = 4 << 20
	refreshInterval    = "01:00:00"
)

// The states of one blob of an operation, in the documentation's spelling.
const (
	blobQueued     = "Queued"
	blobInProgress = "InProgress"
	blobSucceeded  = "Succeeded"
	blobFailed     = "Failed"
)

// operations are the tracked requests. They are kept, without a limit, until
// the simulator ends.
type operations struct {
	mu   sync.Mutex
	byID map[string]*operation // guarded by mu, with everything below it
}

type operation struct {
	db, table string
	started   time.Time
	blobs     []*operationBlob
}

// operationBlob is what is told of one blob of a request.
type operationBlob struct {
	book     *operations
	sourceID string
	url      string // without credentials
	status   string
	started  time.Time
	updated  time.Time
	outcome  ingestor.Outcome
}

// Begin tells that the blob's ingestion has been taken up.
func (b *operationBlob) Begin() {
	b.book.mu.Lock()
	defer b.book.mu.Unlock()
	if b.status == blobQueued {
		b.status, b.updated = blobInProgress, time.Now()
	}
}

// Set records an outcome. A transient failure leaves the blob in progress, with
// the failure beside it.
func (b *operationBlob) Set(o ingestor.Outcome) {
	b.book.mu.Lock()
	defer b.book.mu.Unlock()
	b.outcome, b.updated = o, time.Now()
	switch {
	case o.Succeeded:
		b.status = blobSucceeded
	case o.Failure == parse.Transient:
		b.status = blobInProgress
	default:
		b.status = blobFailed
	}
}

// serveIngestionConfiguration answers what a client should know before it
// submits: containers with their signatures, limits, and the preferred way.
func (s *Endpoint) serveIngestionConfiguration(w http.ResponseWriter, r *http.Request) {
	list, err := s.Config.Resources.Resources()
	if err != nil {
		reply.ErrorOf(http.StatusInternalServerError).Write(w, r)
		return
	}
	type path struct {
		Path string `json:"path"`
	}
	containers := []path{}
	for _, res := range list {
		if res.Kind == "TempStorage" {
			containers = append(containers, path{res.Root})
		}
	}
	reply.Write(w, http.StatusOK, map[string]any{
		"containerSettings": map[string]any{"containers": containers, "lakeFolders": []path{}, "refreshInterval": refreshInterval, "preferredUploadMethod": "Storage"},
		"ingestionSettings": map[string]any{"maxBlobsPerBatch": maxBlobsPerRequest, "maxDataSize": int64(maxDataSize), "preferredIngestionMethod": s.PreferredIngestion},
	})
}

// submission is the body of a queued ingestion request.
type submission struct {
	Blobs []struct {
		URL      string
		SourceID string
		RawSize  ingestor.LooseInt
	}
	Properties map[string]json.RawMessage
}

func badSubmission(message string) *reply.Error {
	return &reply.Error{Status: http.StatusBadRequest, Code: "BadRequest", Kind: "Kusto.Common.Svc.Exceptions.BadRequestException", Message: message, Permanent: true}
}

// serveSubmit takes a queued ingestion request. What can be said of its blobs
// only when they are ingested is told by the operation, as a missing table is.
func (s *Endpoint) serveSubmit(w http.ResponseWriter, r *http.Request) {
	data, err := io.ReadAll(io.LimitReader(r.Body, maxRequestBytes+1))
	port.Drain(r)
	var in submission
	switch {
	case err != nil:
		port.HangUp(w)
		return
	case len(data) > maxRequestBytes:
		reply.ErrorOf(http.StatusRequestEntityTooLarge).Write(w, r)
		return
	case json.Unmarshal(data, &in) != nil:
		badSubmission("The request body is not the JSON object of an ingestion request.").Write(w, r)
		return
	}
	messages, bad := in.messages(r.PathValue("db"), r.PathValue("table"))
	if bad != nil {
		bad.Write(w, r)
		return
	}
	id := ""
	if tracked, _ := in.flag("enableTracking"); tracked {
		id = uuid.NewString()
		s.operations.track(id, messages)
	}
	s.Stats.Add(func(st *stats.Stats) {
		st.RequestsQueued++
		st.BlobsQueued += int64(len(messages))
	})
	for _, m := range messages {
		s.Ingestor.Submit(m)
	}
	reply.Write(w, http.StatusOK, map[string]string{"ingestionOperationId": id})
}

// flag reads a boolean property, absent as false.
func (in *submission) flag(name string) (bool, error) {
	for k, raw := range in.Properties {
		if strings.EqualFold(k, name) {
			var v ingestor.LooseBool
			err := v.UnmarshalJSON(raw)
			return bool(v), err
		}
	}
	return false, nil
}

// messages turns a request into what the queue would have brought. The bearer
// of the request stands for the identity token.
func (in *submission) messages(db, table string) ([]*ingestor.Message, *reply.Error) {
	if len(in.Blobs) == 0 {
		return nil, badSubmission("The request names no blob.")
	}
	if len(in.Blobs) > maxBlobsPerRequest {
		return nil, badSubmission("The request names more than 20 blobs.")
	}
	flags := map[string]bool{}
	for _, name := range []string{"skipBatching", "deleteAfterDownload", "ignoreSizeLimit", "enableTracking"} {
		v, err := in.flag(name)
		if err != nil {
			return nil, badSubmission("The property " + name + " must be a boolean.")
		}
		flags[name] = v
	}
	properties := make(map[string]json.RawMessage, len(in.Properties))
	for k, v := range in.Properties {
		properties[strings.ToLower(k)] = v
	}
	if raw := properties["format"]; len(raw) == 0 || string(raw) == "null" {
		return nil, badSubmission("The property format is missing.")
	}
	out := make([]*ingestor.Message, 0, len(in.Blobs))
	for _, b := range in.Blobs {
		id := b.SourceID
		switch {
		case b.URL == "":
			return nil, badSubmission("A blob has no url.")
		case id == "":
			id = uuid.NewString()
		case !parse.IsGUID(id):
			return nil, badSubmission("A sourceId is not a GUID.")
		}
		out = append(out, &ingestor.Message{
			Id: id, BlobPath: b.URL, RawDataSize: b.RawSize, DatabaseName: db, TableName: table,
			RetainBlobOnSuccess: ingestor.LooseBool(!flags["deleteAfterDownload"]), FlushImmediately: ingestor.LooseBool(flags["skipBatching"]),
			IgnoreSizeLimit: ingestor.LooseBool(flags["ignoreSizeLimit"]), ReportLevel: ingestor.NoReports,
			AdditionalProperties: properties, Submitted: true,
		})
	}
	return out, nil
}

// track makes the operation of a request's messages.
func (o *operations) track(id string, messages []*ingestor.Message) {
	op := &operation{db: messages[0].DatabaseName, table: messages[0].TableName, started: time.Now()}
	for _, m := range messages {
		b := &operationBlob{book: o, sourceID: m.Id, url: ingestor.WithoutQuery(m.BlobPath), status: blobQueued, started: op.started, updated: op.started}
		m.Tracked = b
		op.blobs = append(op.blobs, b)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.byID[id] = op
}

// serveOperation tells how far a request has come.
func (s *Endpoint) serveOperation(w http.ResponseWriter, r *http.Request) {
	told, ok := s.operations.describe(r.PathValue("db"), r.PathValue("table"), r.PathValue("id"), strings.EqualFold(r.URL.Query().Get("details"), "true"))
	if !ok {
		e := reply.ErrorOf(http.StatusNotFound)
		e.Message = "The ingestion operation was not found."
		e.Write(w, r)
		return
	}
	reply.Write(w, http.StatusOK, told)
}

func (o *operations) describe(db, table, id string, details bool) (map[string]any, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	op := o.byID[strings.ToLower(id)]
	if op == nil || op.db != db || op.table != table {
		return nil, false
	}
	counts := map[string]int{"Succeeded": 0, "Failed": 0, "InProgress": 0, "Canceled": 0}
	updated := op.started
	list := make([]map[string]any, 0, len(op.blobs))
	for _, b := range op.blobs {
		if b.updated.After(updated) {
			updated = b.updated
		}
		status := b.status
		if status == blobQueued {
			status = blobInProgress
		}
		counts[status]++
		d := map[string]any{"sourceId": b.sourceID, "url": b.url, "status": b.status,
			"startTime": parse.FormatTime(b.started), "lastUpdated": parse.FormatTime(b.updated)}
		if b.outcome.Code != "" {
			d["errorCode"], d["failureStatus"], d["details"] = b.outcome.Code, b.outcome.Failure, b.outcome.Details
		}
		list = append(list, d)
	}
	reply := map[string]any{"startTime": parse.FormatTime(op.started), "lastUpdated": parse.FormatTime(updated), "status": counts}
	if details {
		reply["details"] = list
	}
	return reply, true
}

package kusto

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"kustospool/ingest"
	"kustospool/transport"
)

// Submission is one queued ingestion request over REST (protocol reference
// section 7.2), for at most 20 blobs.
type Submission struct {
	Database, Table string
	Blobs           []SubmittedBlob
	Created         string         // ISO time
	Properties      map[string]any // with "format"; of all the blobs
}

// SubmittedBlob is one of them.
type SubmittedBlob struct {
	URL      string `json:"url"`               // a secret
	SourceID string `json:"sourceId"`          // GUID
	RawSize  int64  `json:"rawSize,omitempty"` // 0: unknown
}

const opSubmit, opOperation = "submit", "operation"

// Body is the request as JSON.
func (s *Submission) Body() ([]byte, error) {
	return json.Marshal(map[string]any{
		"timestamp":  s.Created,
		"blobs":      s.Blobs,
		"properties": s.Properties,
	})
}

const submitPath = "/v1/rest/ingestion/queued/"

// Submit posts the request, in one HTTP attempt, and returns the operation's
// id, empty for one that is not tracked. The post has no idempotency key: its
// lost reply is [transport.Unknown].
func (in *Ingestion) Submit(ctx context.Context, s *Submission, requestID string) (operation string, err error) {
	body, err := s.Body()
	if err != nil {
		return "", &transport.Error{Op: opSubmit, Class: transport.Permanent, Message: "the batch's properties are not valid text"}
	}
	address, err := tableURL(opSubmit, in.service.cluster.DM+submitPath, s.Database, s.Table)
	if err != nil {
		return "", err
	}
	reply, err := in.service.exchange(ctx, exchange{
		op: opSubmit, method: http.MethodPost, url: address, body: body, effect: HasEffect,
		requestID: requestID, role: RoleIngest,
	})
	if err != nil {
		return "", err
	}
	var out struct{ IngestionOperationID string }
	if err := json.Unmarshal(reply, &out); err != nil {
		return "", &transport.Error{Op: opSubmit, Class: transport.Unknown, Message: "the reply is not the JSON that is expected", RequestID: requestID}
	}
	if id := out.IngestionOperationID; id != "" && (!isOperationID(id) || in.service.secrets.Holds(id)) {
		return "", &transport.Error{Op: opSubmit, Class: transport.Unknown, Message: "the operation's id in the reply is none", RequestID: requestID}
	}
	return out.IngestionOperationID, nil
}

// maxOperationID bounds an operation's id, in bytes.
const maxOperationID = 128

// isOperationID reports whether a text can be an operation's id: it is written
// to disk, and stands in the path of the questions about it, where it must be
// one step that goes down.
func isOperationID(id string) bool {
	return len(id) <= maxOperationID && strings.Trim(id, ".") != "" && !strings.ContainsFunc(id, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_.:;=", r))
	})
}

// BlobReport is what an operation says of its one blob: Status is Queued,
// InProgress, Succeeded, Skipped or Failed, and the rest as in the status table.
type BlobReport struct {
	Status        string
	Code          string
	FailureStatus string
	Details       string
}

// Operation asks about an operation of one blob. The report is the zero value
// where the service no longer knows the operation.
func (in *Ingestion) Operation(ctx context.Context, db, table, id, sourceID string) (BlobReport, error) {
	address, err := tableURL(opOperation, in.service.cluster.DM+submitPath, db, table)
	if err != nil {
		return BlobReport{}, err
	}
	if !isOperationID(id) { // no reply named it; whoever asks has it from a damaged or foreign note
		return BlobReport{}, nil
	}
	reply, err := in.service.exchange(ctx, exchange{
		op: opOperation, method: http.MethodGet, url: address + "/" + url.PathEscape(id) + "?details=true",
		requestID: NewRequestID(), role: RoleTrack,
	})
	if StatusOf(err) == http.StatusNotFound {
		return BlobReport{}, nil
	}
	if err != nil {
		return BlobReport{}, err
	}
	return parseOperation(reply, sourceID)
}

// noOperation is an id that no operation has.
const noOperation = "00000000-0000-0000-0000-000000000000"

// MayTrack asks whether the credential may ask for operations of a table, by asking
// for one that is none. nil means yes: who may not is refused with a 403 before
// anything is looked for, as far as anybody outside the service knows. Other
// errors leave it open.
func (in *Ingestion) MayTrack(ctx context.Context, db, table string) error {
	address, err := tableURL(opOperation, in.service.cluster.DM+submitPath, db, table)
	if err != nil {
		return err
	}
	_, err = in.service.exchange(ctx, exchange{
		op: opOperation, method: http.MethodGet, url: address + "/" + noOperation, requestID: NewRequestID(), role: RoleTrack,
	})
	if s := StatusOf(err); s == http.StatusNotFound || s == http.StatusBadRequest {
		return nil // there is no such operation, or no such table
	}
	return err
}

// parseOperation reads an operation's state, with its names in any case. The
// blob is found by its source id; where the details leave that out, the counts
// of an operation of one blob say as much.
func parseOperation(reply []byte, sourceID string) (BlobReport, error) {
	var in struct {
		Status  map[string]int64
		Details []struct {
			SourceID, Status, ErrorCode, Details string
			FailureStatus                        any // a name or a number
		}
	}
	if err := json.Unmarshal(reply, &in); err != nil {
		return BlobReport{}, &transport.Error{Op: opOperation, Class: transport.Transient, Message: "the reply is not the JSON that is expected"}
	}
	for _, d := range in.Details {
		if strings.EqualFold(d.SourceID, sourceID) || d.SourceID == "" && len(in.Details) == 1 {
			return reported(d.Status, d.ErrorCode, text(d.FailureStatus), d.Details), nil
		}
	}
	total := int64(0)
	for _, n := range in.Status {
		total += n
	}
	for name, n := range in.Status {
		if n > 0 && total == 1 && len(in.Details) == 0 {
			return reported(name, "", "", ""), nil
		}
	}
	return BlobReport{}, nil
}

// reported puts a blob's state into the words of the status table: a
// cancelled one is one that the service gave up, and a success by reason of a
// tag is a skip.
func reported(status, code, failure, details string) BlobReport {
	switch strings.ToLower(status) {
	case "canceled", "cancelled":
		status, failure = "Failed", "Exhausted"
	case "succeeded":
		if code != "" && FailureOutcome(code, "").State == ingest.Skipped {
			status = "Skipped"
		}
	}
	return BlobReport{Status: status, Code: code, FailureStatus: failure, Details: details}
}

// text is a decoded JSON string or number as text.
func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case float64:
		b, _ := json.Marshal(v) // a finite number always marshals
		return string(b)
	}
	return ""
}

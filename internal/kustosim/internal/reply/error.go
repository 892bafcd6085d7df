package reply

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"kustospool/internal/kustosim/internal/fault"
	"kustospool/internal/kustosim/internal/parse"
)

// Error is an error reply of the Kusto endpoint (protocol reference
// section 2.3).
type Error struct {
	Status    int
	Code      string
	Kind      string // the exception's class, without its namespace
	Message   string
	Permanent bool
}

// Error is the code and the message.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

// BadCommand is the 400 of a command that is not understood or not allowed.
func BadCommand(code, message string) *Error {
	return &Error{http.StatusBadRequest, code, "Kusto.Data.Exceptions.SyntaxException", message, true}
}

// Write sends the error.
func (e *Error) Write(w http.ResponseWriter, r *http.Request) {
	activity := w.Header().Get("x-ms-activity-id")
	body := map[string]any{"error": map[string]any{
		"code":         e.Code,
		"message":      "Request is invalid and cannot be executed.",
		"@type":        e.Kind,
		"@message":     e.Message,
		"@failureCode": e.Status,
		"@context": map[string]any{
			"timestamp": time.Now().UTC().Format("2006-01-02T15:04:05.0000000Z"), "serviceAlias": "KUSTOSIM", "machineName": "KUSTOSIM",
			"processName": "kustosim", "processId": 1, "threadId": 1, "clientRequestId": r.Header.Get("x-ms-client-request-id"),
			"activityId": activity, "subActivityId": activity, "activityType": "KD.Execute", "parentActivityId": activity,
			"activityStack": "(Activity stack: CRID=" + r.Header.Get("x-ms-client-request-id") + ")",
		},
		"@permanent": e.Permanent,
	}}
	Write(w, e.Status, body)
}

// Write sends a JSON value.
func Write(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		status, body = http.StatusInternalServerError, noReply
	}
	write(w, status, body)
}

// noReply stands for a reply that cannot be written as JSON.
var noReply = []byte(`{"error":{"code":"General_InternalServerError","@permanent":false}}`)

func write(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	w.Write(body)
}

// Stamp sets the headers every reply of the Kusto endpoint has.
func Stamp(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("x-ms-activity-id", uuid.NewString())
	if id := r.Header.Get("x-ms-client-request-id"); id != "" {
		w.Header().Set("x-ms-client-request-id", strings.ToValidUTF8(id, "?"))
	}
}

// RefuseFault writes the reply of a fault on the Kusto endpoint.
func RefuseFault(w http.ResponseWriter, r *http.Request, f *fault.Fault) {
	f.SetHeaders(w.Header())
	Stamp(w, r)
	e := ErrorOf(f.Status)
	e.Permanent = (e.Permanent || f.Permanent) && !f.Transient
	if f.Code != "" {
		e.Code = f.Code
	}
	if f.Message != "" {
		e.Message = f.Message
	}
	e.Write(w, r)
}

// ErrorOf is what the service says with a status.
func ErrorOf(status int) *Error {
	e := &Error{Status: status}
	switch status {
	case http.StatusUnauthorized:
		e.Code, e.Kind, e.Permanent = "Unauthorized", "Kusto.Common.Svc.Exceptions.UnauthorizedException", true
		e.Message = "The request is not authenticated."
	case http.StatusForbidden:
		e.Code, e.Kind, e.Permanent = "Forbidden", "Kusto.DataNode.Exceptions.KustoRequestDeniedException", true
		e.Message = "Principal is not authorized to perform the operation."
	case http.StatusNotFound:
		e.Code, e.Kind, e.Permanent = "NotFound", "Kusto.Data.Exceptions.EntityNotFoundException", true
		e.Message = "The entity was not found."
	case http.StatusTooManyRequests:
		e.Code, e.Kind = "TooManyRequests", "Kusto.DataNode.Exceptions.ControlCommandThrottledException"
		e.Message = "The management command was aborted due to throttling. Retrying after some backoff might succeed."
	case http.StatusServiceUnavailable:
		e.Code, e.Kind = "ServiceUnavailable", "Kusto.Common.Svc.Exceptions.ServiceUnavailableException"
		e.Message = "The service is currently unavailable."
	case http.StatusGatewayTimeout:
		e.Code, e.Kind = "Timeout", "Kusto.Data.Exceptions.KustoServiceTimeoutException"
		e.Message = "Request execution timed out."
	default:
		e.Code, e.Kind = "General_InternalServerError", "Kusto.Common.Svc.Exceptions.InternalServiceException"
		e.Message = "An internal service error occurred."
		if status < 500 {
			e.Code, e.Kind, e.Permanent = "General_BadRequest", "Kusto.Data.Exceptions.KustoBadRequestException", true
			e.Message = "Request is invalid."
		}
	}
	return e
}

// OfIngestion is the reply to a command or a stream whose ingestion failed.
func OfIngestion(bad *parse.Error) *Error {
	e := &Error{http.StatusBadRequest, bad.Code, "Kusto.DataNode.Exceptions.IngestionException", bad.Details, true}
	switch {
	case strings.HasSuffix(bad.Code, "NotExist"), strings.HasSuffix(bad.Code, "WasNotFound"):
		e.Kind = "Kusto.Data.Exceptions.EntityNotFoundException"
	case bad.Status != parse.Permanent:
		e.Status, e.Permanent = http.StatusInternalServerError, false
	}
	return e
}

// EntityNotFound is the 400 that names a missing table or database.
func EntityNotFound(what, name string) *Error {
	return &Error{http.StatusBadRequest, "BadRequest_EntityNotFound", "Kusto.Data.Exceptions.EntityNotFoundException",
		what + " '" + name + "' could not be found.", true}
}

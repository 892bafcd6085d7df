package kustosim

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"kustospool/internal/kustosim/internal/fault"

	"kustospool/internal/kustosim/internal/parse"

	"github.com/google/uuid"
)

// kustoError is an error reply of the Kusto endpoint (protocol reference
// section 2.3).
type kustoError struct {
	status    int
	code      string
	kind      string // the exception's class, without its namespace
	message   string
	permanent bool
}

func (e *kustoError) Error() string { return e.code + ": " + e.message }

func badCommand(code, message string) *kustoError {
	return &kustoError{http.StatusBadRequest, code, "Kusto.Data.Exceptions.SyntaxException", message, true}
}

func (e *kustoError) write(w http.ResponseWriter, r *http.Request) {
	activity := w.Header().Get("x-ms-activity-id")
	body := map[string]any{"error": map[string]any{
		"code":         e.code,
		"message":      "Request is invalid and cannot be executed.",
		"@type":        e.kind,
		"@message":     e.message,
		"@failureCode": e.status,
		"@context": map[string]any{
			"timestamp": time.Now().UTC().Format("2006-01-02T15:04:05.0000000Z"), "serviceAlias": "KUSTOSIM", "machineName": "KUSTOSIM",
			"processName": "kustosim", "processId": 1, "threadId": 1, "clientRequestId": r.Header.Get("x-ms-client-request-id"),
			"activityId": activity, "subActivityId": activity, "activityType": "KD.Execute", "parentActivityId": activity,
			"activityStack": "(Activity stack: CRID=" + r.Header.Get("x-ms-client-request-id") + ")",
		},
		"@permanent": e.permanent,
	}}
	writeKusto(w, e.status, body)
}

func writeKusto(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"error":{"code":"General_InternalServerError","@permanent":false}}`)
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	w.Write(body)
}

// stampKusto sets the headers every reply of the Kusto endpoint has.
func stampKusto(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("x-ms-activity-id", uuid.NewString())
	if id := r.Header.Get("x-ms-client-request-id"); id != "" {
		w.Header().Set("x-ms-client-request-id", strings.ToValidUTF8(id, "?"))
	}
}

// refuseKusto writes the reply of a fault on the Kusto endpoint.
func refuseKusto(w http.ResponseWriter, r *http.Request, f *fault.Fault) {
	f.SetRetryAfter(w.Header())
	stampKusto(w, r)
	e := kustoErrorOf(f.Status)
	e.permanent = (e.permanent || f.Permanent) && !f.Transient
	if f.Code != "" {
		e.code = f.Code
	}
	if f.Message != "" {
		e.message = f.Message
	}
	e.write(w, r)
}

// kustoErrorOf is what the service says with a status.
func kustoErrorOf(status int) *kustoError {
	e := &kustoError{status: status}
	switch status {
	case http.StatusUnauthorized:
		e.code, e.kind, e.permanent = "Unauthorized", "Kusto.Common.Svc.Exceptions.UnauthorizedException", true
		e.message = "The request is not authenticated."
	case http.StatusForbidden:
		e.code, e.kind, e.permanent = "Forbidden", "Kusto.DataNode.Exceptions.KustoRequestDeniedException", true
		e.message = "Principal is not authorized to perform the operation."
	case http.StatusNotFound:
		e.code, e.kind, e.permanent = "NotFound", "Kusto.Data.Exceptions.EntityNotFoundException", true
		e.message = "The entity was not found."
	case http.StatusTooManyRequests:
		e.code, e.kind = "TooManyRequests", "Kusto.DataNode.Exceptions.ControlCommandThrottledException"
		e.message = "The management command was aborted due to throttling. Retrying after some backoff might succeed."
	case http.StatusServiceUnavailable:
		e.code, e.kind = "ServiceUnavailable", "Kusto.Common.Svc.Exceptions.ServiceUnavailableException"
		e.message = "The service is currently unavailable."
	case http.StatusGatewayTimeout:
		e.code, e.kind = "Timeout", "Kusto.Data.Exceptions.KustoServiceTimeoutException"
		e.message = "Request execution timed out."
	default:
		e.code, e.kind = "General_InternalServerError", "Kusto.Common.Svc.Exceptions.InternalServiceException"
		e.message = "An internal service error occurred."
		if status < 500 {
			e.code, e.kind, e.permanent = "General_BadRequest", "Kusto.Data.Exceptions.KustoBadRequestException", true
			e.message = "Request is invalid."
		}
	}
	return e
}

// ingestReply is the reply to a command or a stream whose ingestion failed.
func ingestReply(bad *parse.Error) *kustoError {
	e := &kustoError{http.StatusBadRequest, bad.Code, "Kusto.DataNode.Exceptions.IngestionException", bad.Details, true}
	switch {
	case strings.HasSuffix(bad.Code, "NotExist"), strings.HasSuffix(bad.Code, "WasNotFound"):
		e.kind = "Kusto.Data.Exceptions.EntityNotFoundException"
	case bad.Status != parse.Permanent:
		e.status, e.permanent = http.StatusInternalServerError, false
	}
	return e
}

func entityNotFound(what, name string) *kustoError {
	return &kustoError{http.StatusBadRequest, "BadRequest_EntityNotFound", "Kusto.Data.Exceptions.EntityNotFoundException",
		what + " '" + name + "' could not be found.", true}
}

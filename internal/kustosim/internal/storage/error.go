package storage

import (
	"encoding/json"
	"encoding/xml"
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"

	"kustospool/internal/kustosim/internal/fault"
)

// Error is an error reply of a storage service.
type Error struct {
	Status  int
	Code    string
	message string
}

// Error is the code and the message.
func (e *Error) Error() string { return e.Code + ": " + e.message }

var (
	errContainerNotFound = &Error{http.StatusNotFound, "ContainerNotFound", "The specified container does not exist."}
	errBlobNotFound      = &Error{http.StatusNotFound, "BlobNotFound", "The specified blob does not exist."}
	errQueueNotFound     = &Error{http.StatusNotFound, "QueueNotFound", "The specified queue does not exist."}
	errMessageNotFound   = &Error{http.StatusNotFound, "MessageNotFound", "The specified message does not exist."}
	errTableNotFound     = &Error{http.StatusNotFound, "TableNotFound", "The table specified does not exist."}
	errEntityNotFound    = &Error{http.StatusNotFound, "ResourceNotFound", "The specified resource does not exist."}
	errTooLarge          = &Error{http.StatusRequestEntityTooLarge, "RequestBodyTooLarge", "The request body is too large and exceeds the maximum permissible limit."}
	errUnsupported       = &Error{http.StatusNotImplemented, "NotImplemented", "The requested operation is not implemented on the specified resource."}
	errConditionNotMet   = &Error{http.StatusPreconditionFailed, "ConditionNotMet", "The condition specified using HTTP conditional header(s) is not met."}
)

func badInput(code, message string) *Error {
	return &Error{http.StatusBadRequest, code, message}
}

// write sends the error in the form of the service: XML for blobs and queues,
// an odata object for tables, none for HEAD. The code is in a header too.
func (e *Error) write(w http.ResponseWriter, r *http.Request, svc Service) {
	h := w.Header()
	h.Set("x-ms-error-code", e.Code)
	message := e.message + "\nRequestId:" + h.Get("x-ms-request-id") + "\nTime:" + time.Now().UTC().Format(time.RFC3339Nano)
	var body []byte
	if svc == TableService {
		h.Set("Content-Type", "application/json;odata=minimalmetadata;streaming=true;charset=utf-8")
		body, _ = json.Marshal(map[string]any{"odata.error": map[string]any{
			"code": e.Code, "message": map[string]string{"lang": "en-US", "value": message}}})
	} else {
		h.Set("Content-Type", "application/xml")
		text, _ := xml.Marshal(struct {
			XMLName xml.Name `xml:"Error"`
			Code    string
			Message string
		}{Code: e.Code, Message: message})
		body = append([]byte(xml.Header), text...)
	}
	if r.Method == http.MethodHead {
		w.WriteHeader(e.Status)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(e.Status)
	w.Write(body)
}

// stampStorage sets the headers every storage reply has.
func stampStorage(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("x-ms-request-id", uuid.NewString())
	version := r.Header.Get("x-ms-version")
	if version == "" {
		version = "2018-03-28"
	}
	h.Set("x-ms-version", version)
	if id := r.Header.Get("x-ms-client-request-id"); id != "" {
		h.Set("x-ms-client-request-id", id)
	}
}

// FaultText is what the PathContains of a fault is looked for in: the path, and
// what is done with it, as in /account/container/blob?comp=blocklist.
func FaultText(r *http.Request) string {
	if comp := r.URL.Query().Get("comp"); comp != "" {
		return r.URL.Path + "?comp=" + comp
	}
	return r.URL.Path
}

// RefuseFault writes the reply of a fault on one storage service.
func RefuseFault(svc Service) func(http.ResponseWriter, *http.Request, *fault.Fault) {
	return func(w http.ResponseWriter, r *http.Request, f *fault.Fault) {
		f.SetHeaders(w.Header())
		stampStorage(w, r)
		e := storageErrorOf(f.Status, svc)
		if f.Code != "" {
			e.Code = f.Code
		}
		if f.Message != "" {
			e.message = f.Message
		}
		e.write(w, r, svc)
	}
}

// storageErrorOf is what a storage service says with a status.
func storageErrorOf(status int, svc Service) *Error {
	e := &Error{Status: status, Code: "InternalError", message: "The server encountered an internal error. Please retry the request."}
	switch status {
	case http.StatusUnauthorized:
		e.Code, e.message = "NoAuthenticationInformation", "Server failed to authenticate the request."
	case http.StatusForbidden:
		e.Code, e.message = "AuthenticationFailed", "Server failed to authenticate the request. Signature not valid in the specified time frame."
	case http.StatusNotFound:
		missing := map[Service]*Error{BlobService: errContainerNotFound, QueueService: errQueueNotFound, TableService: errTableNotFound}[svc]
		e.Code, e.message = missing.Code, missing.message
	case http.StatusConflict:
		e.Code, e.message = "Conflict", "The request conflicts with the state of the resource."
	case http.StatusTooManyRequests:
		e.Code, e.message = "TooManyRequests", "Too many requests."
	case http.StatusServiceUnavailable:
		e.Code, e.message = "ServerBusy", "The server is busy."
	default:
		if status < 500 {
			e.Code, e.message = "InvalidInput", "One of the request inputs is not valid."
		}
	}
	return e
}

package kustosim

import (
	"encoding/json"
	"encoding/xml"
	"net/http"
	"strconv"
	"time"

	"kustospool/internal/kustosim/internal/fault"

	"github.com/google/uuid"
)

// storageError is an error reply of a storage service.
type storageError struct {
	status  int
	code    string
	message string
}

func (e *storageError) Error() string { return e.code + ": " + e.message }

var (
	errContainerNotFound = &storageError{http.StatusNotFound, "ContainerNotFound", "The specified container does not exist."}
	errBlobNotFound      = &storageError{http.StatusNotFound, "BlobNotFound", "The specified blob does not exist."}
	errQueueNotFound     = &storageError{http.StatusNotFound, "QueueNotFound", "The specified queue does not exist."}
	errMessageNotFound   = &storageError{http.StatusNotFound, "MessageNotFound", "The specified message does not exist."}
	errTableNotFound     = &storageError{http.StatusNotFound, "TableNotFound", "The table specified does not exist."}
	errEntityNotFound    = &storageError{http.StatusNotFound, "ResourceNotFound", "The specified resource does not exist."}
	errTooLarge          = &storageError{http.StatusRequestEntityTooLarge, "RequestBodyTooLarge", "The request body is too large and exceeds the maximum permissible limit."}
	errUnsupported       = &storageError{http.StatusNotImplemented, "NotImplemented", "The requested operation is not implemented on the specified resource."}
	errConditionNotMet   = &storageError{http.StatusPreconditionFailed, "ConditionNotMet", "The condition specified using HTTP conditional header(s) is not met."}
)

func badInput(code, message string) *storageError {
	return &storageError{http.StatusBadRequest, code, message}
}

// write sends the error in the form of the service: XML for blobs and queues,
// an odata object for tables, none for HEAD. The code is in a header too.
func (e *storageError) write(w http.ResponseWriter, r *http.Request, svc service) {
	h := w.Header()
	h.Set("x-ms-error-code", e.code)
	message := e.message + "\nRequestId:" + h.Get("x-ms-request-id") + "\nTime:" + time.Now().UTC().Format(time.RFC3339Nano)
	var body []byte
	if svc == tableService {
		h.Set("Content-Type", "application/json;odata=minimalmetadata;streaming=true;charset=utf-8")
		body, _ = json.Marshal(map[string]any{"odata.error": map[string]any{
			"code": e.code, "message": map[string]string{"lang": "en-US", "value": message}}})
	} else {
		h.Set("Content-Type", "application/xml")
		text, _ := xml.Marshal(struct {
			XMLName xml.Name `xml:"Error"`
			Code    string
			Message string
		}{Code: e.code, Message: message})
		body = append([]byte(xml.Header), text...)
	}
	if r.Method == http.MethodHead {
		w.WriteHeader(e.status)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(e.status)
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

// refuseFault writes the reply of a fault on one storage service.
func refuseFault(svc service) func(http.ResponseWriter, *http.Request, *fault.Fault) {
	return func(w http.ResponseWriter, r *http.Request, f *fault.Fault) {
		f.SetRetryAfter(w.Header())
		stampStorage(w, r)
		e := storageErrorOf(f.Status, svc)
		if f.Code != "" {
			e.code = f.Code
		}
		if f.Message != "" {
			e.message = f.Message
		}
		e.write(w, r, svc)
	}
}

// storageErrorOf is what a storage service says with a status.
func storageErrorOf(status int, svc service) *storageError {
	e := &storageError{status: status, code: "InternalError", message: "The server encountered an internal error. Please retry the request."}
	switch status {
	case http.StatusUnauthorized:
		e.code, e.message = "NoAuthenticationInformation", "Server failed to authenticate the request."
	case http.StatusForbidden:
		e.code, e.message = "AuthenticationFailed", "Server failed to authenticate the request. Signature not valid in the specified time frame."
	case http.StatusNotFound:
		missing := map[service]*storageError{blobService: errContainerNotFound, queueService: errQueueNotFound, tableService: errTableNotFound}[svc]
		e.code, e.message = missing.code, missing.message
	case http.StatusConflict:
		e.code, e.message = "Conflict", "The request conflicts with the state of the resource."
	case http.StatusTooManyRequests:
		e.code, e.message = "TooManyRequests", "Too many requests."
	case http.StatusServiceUnavailable:
		e.code, e.message = "ServerBusy", "The server is busy."
	default:
		if status < 500 {
			e.code, e.message = "InvalidInput", "One of the request inputs is not valid."
		}
	}
	return e
}

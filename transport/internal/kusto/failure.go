package kusto

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"kustospool/transport"
)

// Effect says whether a request may make rows appear. A lost reply to one that
// may is [transport.Unknown].
type Effect bool

// The two kinds of request.
const (
	NoEffect  Effect = false
	HasEffect Effect = true
)

// RESTError is an error reply of a Kusto endpoint (protocol reference section
// 2.3). It is the cause in the *[transport.Error] that Mgmt returns.
type RESTError struct {
	Status    int    // HTTP status
	Code      string // error.code
	Type      string // error.@type, the exception's name
	Message   string // error.@message, else error.message; redacted and bounded
	Permanent *bool  // error.@permanent, nil where it was absent
}

// Error is status, code and message.
func (e *RESTError) Error() string {
	s := strconv.Itoa(e.Status)
	if e.Code != "" {
		s += " " + e.Code
	}
	if e.Message != "" {
		s += ": " + e.Message
	}
	return s
}

// decodeRESTError reads an error reply; a body that is not the documented JSON
// becomes the message.
func decodeRESTError(status int, body []byte, secrets *Secrets) *RESTError {
	e := &RESTError{Status: status}
	var in struct {
		Error struct {
			Code       string `json:"code"`
			Message    string `json:"message"`
			Type       string `json:"@type"`
			AtMessage  string `json:"@message"`
			Permanent  *bool  `json:"@permanent"`
			InnerError struct {
				Code string `json:"code"`
			} `json:"innererror"`
		} `json:"error"`
	}
	if err := json.Unmarshal(body, &in); err != nil || in.Error.Code == "" && in.Error.Message == "" {
		e.Message = secrets.Words(string(body))
		if e.Message == "" {
			e.Message = http.StatusText(status)
		}
		return e
	}
	e.Code, e.Type, e.Permanent = bound(secrets.Words(in.Error.Code), 128), bound(secrets.Words(in.Error.Type), 256), in.Error.Permanent
	e.Message = in.Error.AtMessage
	if e.Message == "" {
		e.Message = in.Error.Message
	}
	e.Message = secrets.Words(e.Message)
	return e
}

// commandClass is section 2.3 of the protocol reference as a function.
//
// For a request without effect, discovery, no reply speaks about a payload, so
// a 400 waits like an outage: it is a wrong endpoint or a wrong configuration.
// For one with an effect a 504, a 520 and any other 5xx leave the outcome
// unknown, and @permanent decides about a 4xx.
func commandClass(e *RESTError, effect Effect) transport.Class {
	switch s := e.Status; {
	case s == http.StatusTooManyRequests:
		return transport.Throttled
	case s == http.StatusUnauthorized, s == http.StatusForbidden && effect == NoEffect:
		return transport.Unauthorized
	case effect == NoEffect:
		return transport.Transient
	case s == http.StatusForbidden, s == http.StatusNotFound:
		return transport.Held
	case s == http.StatusRequestTimeout, s >= 500, s < 400:
		return transport.Unknown
	case strings.Contains(e.Type, "ThrottledException"), strings.Contains(e.Type, "QuotaExceededException"):
		return transport.Throttled
	case strings.Contains(e.Type, "EntityNotFound"):
		return transport.Held
	case e.Permanent != nil && !*e.Permanent:
		return transport.Transient
	}
	if c, known := codes[byLowerCode[strings.ToLower(e.Code)]]; known && c.outcome.Class != 0 {
		return c.outcome.Class
	}
	return transport.Permanent
}

// EntityNotFound reports whether the service said that a table, a database or
// another entity that a command names does not exist.
func EntityNotFound(err error) bool {
	var re *RESTError
	return errors.As(err, &re) && (re.Status == http.StatusBadRequest || re.Status == http.StatusNotFound) && strings.Contains(re.Type, "EntityNotFound")
}

// storageClass is what an error reply of Azure Storage means. SAS and account
// are the cluster's, so nothing here is about the payload but its size; a
// container or queue that is gone was rotated, and the next resources name
// another.
func storageClass(status int, code string, effect Effect) transport.Class {
	switch {
	case status == http.StatusTooManyRequests:
		return transport.Throttled
	case status == http.StatusRequestEntityTooLarge, code == "RequestBodyTooLarge", code == "MessageTooLarge":
		return transport.Permanent
	case status == http.StatusForbidden && (code == "AuthenticationFailed" || code == ""):
		// An expired signature: the next resources bring a fresh one.
		return transport.Transient
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return transport.Unauthorized
	case effect == HasEffect && (status >= 500 || status == http.StatusRequestTimeout || status < 300):
		return transport.Unknown
	case status == http.StatusServiceUnavailable:
		return transport.Throttled // ServerBusy
	}
	return transport.Transient
}

// StorageFailure classifies the error of one call of a storage client. sent is
// the watcher of the call, nil where it has no effect.
func (s *Secrets) StorageFailure(op string, err error, effect Effect, sent *Sent) *transport.Error {
	var re *azcore.ResponseError
	if !errors.As(err, &re) {
		return s.WireFailure(op, err, effect, sent)
	}
	e := &transport.Error{Op: op, Code: bound(s.Words(re.ErrorCode), 128), Class: storageClass(re.StatusCode, re.ErrorCode, effect)}
	e.Message = "HTTP " + strconv.Itoa(re.StatusCode)
	if text := http.StatusText(re.StatusCode); text != "" {
		e.Message += " " + text
	}
	if e.Code == "" {
		e.Code = strconv.Itoa(re.StatusCode)
	}
	if re.RawResponse != nil {
		e.RequestID = bound(s.Words(re.RawResponse.Header.Get("x-ms-request-id")), 128)
		e.RetryAfter = RetryAfter(re.RawResponse.Header, time.Now())
		if u := re.RawResponse.Request; u != nil && u.URL != nil {
			e.Message += " from " + s.Words(u.URL.Host)
		}
	}
	return e
}

// StorageRefused reports whether storage refused the SAS or no longer knows
// the container, queue or table: the resources are to be fetched again.
func StorageRefused(err error) bool {
	var re *azcore.ResponseError
	if !errors.As(err, &re) {
		return false
	}
	return re.StatusCode == http.StatusForbidden || re.StatusCode == http.StatusNotFound ||
		re.StatusCode == http.StatusConflict && strings.HasSuffix(re.ErrorCode, "BeingDeleted")
}

// WireFailure classifies an error that came without a reply.
func (s *Secrets) WireFailure(op string, err error, effect Effect, sent *Sent) *transport.Error {
	if e := s.outOfBudget(err, effect, sent); e != nil {
		return e
	}
	e := &transport.Error{Op: op, Class: transport.Transient, Message: s.Words(err.Error()), Err: cause(err)}
	var cred *credentialError
	if errors.As(err, &cred) {
		e.Class, e.Code = cred.class(), "credential"
		return e
	}
	if effect == HasEffect && !sent.Never(err) {
		e.Class = transport.Unknown
	}
	return e
}

// cause keeps of an error what a caller may ask for with errors.Is, and
// nothing that could print a URL.
func cause(err error) error {
	for _, known := range []error{context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, known) {
			return known
		}
	}
	return nil
}

// maxRetryAfter bounds a wish of the service that would stop a spool for days.
const maxRetryAfter = time.Hour

// RetryAfter is the delay a reply asks for, in seconds or as a date, 0 for
// none. Kusto documents no such header, storage and gateways send it.
func RetryAfter(h http.Header, now time.Time) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	var d time.Duration
	if n, err := strconv.Atoi(v); err == nil {
		d = time.Duration(min(max(n, 0), int(maxRetryAfter/time.Second))) * time.Second
	} else if at, err := http.ParseTime(v); err == nil {
		d = at.Sub(now)
	} else if n, err := strconv.Atoi(h.Get("x-ms-retry-after-ms")); err == nil {
		d = time.Duration(min(max(n, 0), int(maxRetryAfter/time.Millisecond))) * time.Millisecond
	}
	return min(max(d, 0), maxRetryAfter)
}

// isNetwork reports whether an error is the network's and not a refusal.
func isNetwork(err error) bool {
	var n net.Error
	return errors.As(err, &n) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

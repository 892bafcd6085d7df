package operate

import (
	"context"
	"errors"
	"net/http"

	"kustospool/ingest"
)

// Spool is what can be asked about any spool: one that is open in this process
// or another ([Client]), or one at rest. Its methods may be called at the same
// time. What it returns is the caller's.
//
// Errors: an [*Error] with the code of its case, [ingest.ErrInvalid] for a
// query that breaks a rule, and the context's.
type Spool interface {
	Status(ctx context.Context, q StatusQuery) (*Status, error)
	History(ctx context.Context, q HistoryQuery) (*History, error)
	Peek(ctx context.Context, q PeekQuery) (*Peek, error)
	Receipt(ctx context.Context, q ReceiptQuery) (*Receipt, error)
}

// Code says what kind of an error an [Error] is.
type Code string

// The codes, and the status codes of HTTP that go with them.
const (
	Invalid     Code = "invalid"     // 400: a parameter breaks a rule, or names what the spool does not have
	Forbidden   Code = "forbidden"   // 403: somebody else than the spool's user, or a page of a browser
	NotFound    Code = "not_found"   // 404: there is no such route, or no such thing
	Conflict    Code = "conflict"    // 409: what is asked for does not fit the state of the thing
	TooLarge    Code = "too_large"   // 413: the request, or the answer to it; ask for less
	Failed      Code = "failed"      // 500: the spool could not do it
	Unsupported Code = "unsupported" // 501: this kind of spool cannot
	Busy        Code = "busy"        // 503: too many are connected
)

var statusOf = map[Code]int{
	Invalid: http.StatusBadRequest, Forbidden: http.StatusForbidden, NotFound: http.StatusNotFound, Conflict: http.StatusConflict,
	TooLarge: http.StatusRequestEntityTooLarge, Failed: http.StatusInternalServerError,
	Unsupported: http.StatusNotImplemented, Busy: http.StatusServiceUnavailable,
}

// Error is an answer that is none.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"` // for people; holds no secret
}

// Error is the message.
func (e *Error) Error() string { return e.Message }

// Is makes an Error of code Invalid match [ingest.ErrInvalid].
func (e *Error) Is(target error) bool { return e.Code == Invalid && target == ingest.ErrInvalid }

// errorOf gives any error as one that can be answered.
func errorOf(err error) *Error {
	var own *Error
	switch {
	case errors.As(err, &own):
		return own
	case errors.Is(err, ingest.ErrInvalid):
		return &Error{Code: Invalid, Message: err.Error()}
	}
	return &Error{Code: Failed, Message: err.Error()}
}

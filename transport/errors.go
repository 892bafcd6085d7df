package transport

import (
	"errors"
	"fmt"
	"time"

	"kustospool/ingest"
)

// Class says what an error means for the batch and for its destination. The
// zero Class is not a class.
type Class uint8

// The classes. Only Malformed and Permanent speak about the payload;
// all the others wait, for as long as it takes.
const (
	// Transient: the destination is out of reach or in trouble; the batch was
	// definitely not accepted. All lanes of the destination back off together.
	Transient Class = iota + 1
	// Throttled: the destination asks for less. As Transient; RetryAfter is obeyed.
	Throttled
	// Unauthorized: the credential is refused or cannot be had. Waits for the
	// configuration to change; all lanes back off together.
	Unauthorized
	// Held: this table, mapping or database is missing or closed to us. The
	// lane waits by itself until an operator mends it; other lanes go on.
	Held
	// Malformed: the destination cannot read the data. The batch is split until
	// the bad record is alone.
	Malformed
	// Permanent: this batch will never be taken. It is dead-lettered.
	Permanent
	// Unknown: the batch may have been accepted.
	Unknown
)

var classNames = [...]string{Transient: "transient", Throttled: "throttled", Unauthorized: "unauthorized",
	Held: "held", Malformed: "malformed", Permanent: "permanent", Unknown: "unknown"}

// String is the class's name, lower case.
func (c Class) String() string {
	if c < Transient || c > Unknown {
		return fmt.Sprintf("class(%d)", uint8(c))
	}
	return classNames[c]
}

// Destination reports whether the error is about the destination as a whole
// and not about one batch, table or lane.
func (c Class) Destination() bool { return c == Transient || c == Throttled || c == Unauthorized }

// Error is a classified failure. Its text holds no secret.
type Error struct {
	Op         string        // what was being done: "upload", "enqueue", "ingestion resources"
	Class      Class         // what the engine does about it
	Code       string        // the destination's error code, or an HTTP status; may be empty
	Message    string        // the destination's own words, bounded
	RetryAfter time.Duration // the destination's wish, 0 for none
	RequestID  string        // the request's id at the service, for support; may be empty
	Err        error         // the cause, for errors.Is; may be nil
}

// Error is op, class, code and message in one line.
func (e *Error) Error() string {
	s := e.Op + ": " + e.Class.String()
	if e.Code != "" {
		s += ": " + e.Code
	}
	switch {
	case e.Message != "":
		s += ": " + e.Message
	case e.Err != nil:
		s += ": " + e.Err.Error()
	}
	if e.RequestID != "" {
		s += " (request " + e.RequestID + ")"
	}
	return s
}

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Err }

// Failure is the error as a batch's status shows it.
func (e *Error) Failure(at time.Time) *ingest.Failure {
	msg := e.Message
	if msg == "" && e.Err != nil {
		msg = e.Err.Error()
	}
	if e.RequestID != "" {
		msg += " (request " + e.RequestID + ")"
	}
	return &ingest.Failure{Class: e.Class.String(), Code: e.Code, Message: e.Op + ": " + msg, At: at}
}

// Classify turns any error of a Send into an *Error. committed says whether
// the attempt had passed Journal.Commit: an error that no transport classified
// is then Unknown, and Transient otherwise.
func Classify(err error, committed bool) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	class := Transient
	if committed {
		class = Unknown
	}
	return &Error{Op: "send", Class: class, Message: err.Error(), Err: err}
}

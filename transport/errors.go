package transport

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"kustospool/ingest"
	"kustospool/internal/visible"
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
	RetryAfter time.Duration // the destination's wish, 0 for none; MaxRetryAfter at most is obeyed
	RequestID  string        // the request's id at the service, for support; may be empty
	Err        error         // the cause, for errors.Is; may be nil
	// Untraceable says of an Unknown that nobody can be asked about the attempt,
	// as of a stream, although the transport may have a Tracker for others: the
	// batch is sent again after the usual pause instead of a grace in which it
	// would be looked for. Of other classes it means nothing.
	Untraceable bool
}

// Error is op, class, code and message in one line.
func (e *Error) Error() string {
	if e == nil {
		return "a nil *transport.Error was returned as an error"
	}
	s := e.Op + ": " + e.Class.String()
	if e.Code != "" && !strings.EqualFold(e.Code, e.Class.String()) { // "unauthorized: Unauthorized" says nothing more
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
func (e *Error) Unwrap() error {
	if e == nil {
		return nil
	}
	return e.Err
}

// MaxRetryAfter is the longest wish that is obeyed. A destination, or whatever
// stands before it, that asks for more (a year, by a wrong clock) is asked again
// after an hour.
const MaxRetryAfter = time.Hour

// Failure is the error as a batch's status shows it, with the pause that the
// destination asked for.
func (e *Error) Failure(at time.Time) *ingest.Failure {
	msg := e.Message
	if msg == "" && e.Err != nil {
		msg = e.Err.Error()
	}
	f := &ingest.Failure{Class: e.Class.String(), Code: e.Code, RequestID: e.RequestID, At: at}
	if e.RetryAfter > 0 {
		f.NotBefore = at.Add(min(e.RetryAfter, MaxRetryAfter))
	}
	if e.RetryAfter >= MaxRetryAfter {
		msg += fmt.Sprintf(" (asks for a pause of %v or more; %v is the most that is obeyed)", MaxRetryAfter, MaxRetryAfter)
	}
	f.Message = e.Op + ": " + msg
	return f
}

// Bounds of what an *Error tells, in bytes.
const (
	maxMessage = 4 << 10
	maxName    = 256
)

// Classify turns any error of a Send into an *Error that can be relied on.
// committed says whether the attempt had passed Journal.Commit: an error that no
// transport classified is then Unknown, and Transient otherwise. So is one that
// is a nil pointer, whose Class is none, or whose own methods panic. The result
// is a copy: its texts are bounded, with all that they hold visible, and need no method of err any more, and
// RetryAfter is from 0 to MaxRetryAfter. err must not be nil.
func Classify(err error, committed bool) *Error {
	class := Transient
	if committed {
		class = Unknown
	}
	var found *Error
	if bad := Recover("an error's As or Unwrap", func() error {
		var e *Error
		if errors.As(err, &e) {
			found = e
			if found == nil {
				found = &Error{Op: "send", Message: found.Error()}
			}
		}
		return nil
	}); bad != nil {
		found = &Error{Op: "send", Message: bad.Error()}
	}
	if found == nil {
		return &Error{Op: "send", Class: class, Message: shown(textOf(err), maxMessage), Err: err}
	}
	e := *found
	if e.Class < Transient || e.Class > Unknown {
		e.Class = class
	}
	if e.Message == "" && e.Err != nil {
		e.Message = textOf(e.Err)
	}
	e.Op, e.Code, e.RequestID = shown(e.Op, maxName), shown(e.Code, maxName), shown(e.RequestID, maxName)
	e.Message = shown(e.Message, maxMessage)
	e.RetryAfter = min(max(e.RetryAfter, 0), MaxRetryAfter)
	return &e
}

// shown is somebody's text, whatever is in it, fit to be stored, logged and shown.
func shown(s string, most int) string { return cut(visible.String(s), most) }

// textOf is err's text, or why it has none: a nil pointer, most of the time.
func textOf(err error) (text string) {
	if bad := Recover(fmt.Sprintf("the text of an error of type %T", err), func() error {
		text = err.Error()
		return nil
	}); bad != nil {
		return bad.Error()
	}
	return text
}

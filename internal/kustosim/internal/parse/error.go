package parse

import "fmt"

// Failure statuses of a report (protocol reference section 6.1).
const (
	Permanent = "Permanent"
	Transient = "Transient"
	Exhausted = "Exhausted"
)

// Error is why one blob was not ingested, with the code of the protocol
// reference, section 12.
type Error struct {
	Code    string
	Status  string // Permanent, Transient or Exhausted
	Details string
}

// Error is the code and the details.
func (e *Error) Error() string { return e.Code + ": " + e.Details }

// Permanentf is a failure that a repeat would meet again.
func Permanentf(code, format string, args ...any) *Error {
	return &Error{code, Permanent, fmt.Sprintf(format, args...)}
}

// Transientf is a failure that the service gets over by a repeat.
func Transientf(code, format string, args ...any) *Error {
	return &Error{code, Transient, fmt.Sprintf(format, args...)}
}

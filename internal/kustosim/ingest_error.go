package kustosim

import "fmt"

// Failure statuses of a report (protocol reference section 6.1).
const (
	Permanent = "Permanent"
	Transient = "Transient"
	Exhausted = "Exhausted"
)

// ingestError is why one blob was not ingested, with the code of the protocol
// reference, section 12.
type ingestError struct {
	code    string
	status  string // Permanent, Transient or Exhausted
	details string
}

func (e *ingestError) Error() string { return e.code + ": " + e.details }

func permanent(code, format string, args ...any) *ingestError {
	return &ingestError{code, Permanent, fmt.Sprintf(format, args...)}
}

func transient(code, format string, args ...any) *ingestError {
	return &ingestError{code, Transient, fmt.Sprintf(format, args...)}
}

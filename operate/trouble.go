package operate

import (
	"time"
)

// Trouble is something that does not go well, since when, why, and what to do.
type Trouble struct {
	Kind  Kind   `json:"kind"`
	Table string `json:"table,omitempty"` // DB.TABLE; empty where it is of the spool
	// Records is how many wait for its end, or are affected by it.
	Records int64     `json:"records,omitempty"`
	Since   time.Time `json:"since,omitzero"`
	Last    time.Time `json:"last,omitzero"` // when it was met last
	What    string    `json:"what"`          // in a sentence
	// Code, Said and RequestID are the service's.
	Code      string `json:"code,omitempty"`
	Said      string `json:"said,omitempty"`
	RequestID string `json:"request_id,omitempty"`
	Next      string `json:"next"` // what to do
}

// Kind names a trouble.
type Kind string

// Diagnose finds the troubles of a status.
func Diagnose(s *Status) []Trouble {
	return []Trouble{}
}

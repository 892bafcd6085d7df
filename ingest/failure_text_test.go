package ingest

import (
	"testing"
	"time"
)

// The service's wish to wait stands behind its words, in UTC.
func TestFailureTellsTheWish(t *testing.T) {
	f := Failure{Class: "throttled", Message: "busy", RequestID: "r", NotBefore: time.Date(2026, 11, 27, 9, 0, 0, 0, time.FixedZone("", 3600))}
	if got, want := f.String(), "throttled: busy (request r); the service asks to wait until 2026-11-27T08:00:00Z"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestFailureDoesNotStutter(t *testing.T) {
	for code, want := range map[string]string{
		"Unauthorized": "unauthorized: no token", "": "unauthorized: no token", "401": "unauthorized: 401: no token",
	} {
		if got := (&Failure{Class: "unauthorized", Code: code, Message: "no token"}).String(); got != want {
			t.Errorf("%q: %q, want %q", code, got, want)
		}
	}
}

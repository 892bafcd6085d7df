package ingest

import "testing"

func TestFailureDoesNotStutter(t *testing.T) {
	for code, want := range map[string]string{
		"Unauthorized": "unauthorized: no token", "": "unauthorized: no token", "401": "unauthorized: 401: no token",
	} {
		if got := (&Failure{Class: "unauthorized", Code: code, Message: "no token"}).String(); got != want {
			t.Errorf("%q: %q, want %q", code, got, want)
		}
	}
}

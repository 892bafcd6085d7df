package netfault

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// A request over a slow link takes what rate and latency say, and arrives whole.
func TestDialerIsSlow(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		if n == 20_000 {
			w.WriteHeader(http.StatusCreated)
		}
	}))
	defer server.Close()
	d := NewDialer(100_000, 50*time.Millisecond)
	defer d.Close()
	transport := &http.Transport{DialContext: d.DialContext}
	defer transport.CloseIdleConnections()
	begun := time.Now()
	resp, err := (&http.Client{Transport: transport}).Post(server.URL, "text/plain", strings.NewReader(strings.Repeat("x", 20_000)))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	took := time.Since(begun)
	// To connect, to send 20 kB at 100 kB/s, there and back.
	if least := 100*time.Millisecond + 200*time.Millisecond + 100*time.Millisecond; resp.StatusCode != http.StatusCreated || took < least {
		t.Errorf("status %d after %v, want 201 after %v at least", resp.StatusCode, took, least)
	}
	if out, back := d.Carried(); out < 20_000 || back == 0 {
		t.Errorf("carried %d and %d bytes", out, back)
	}
}

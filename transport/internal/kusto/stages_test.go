package kusto

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"kustospool/transport"
)

// stage is the time that each stage is given in these tests.
const stage = 200 * time.Millisecond

// post sends one request with an effect and classifies its end. The request
// itself may take far longer than a stage.
func post(t *testing.T, timeouts Timeouts, url string) (*transport.Error, time.Duration) {
	t.Helper()
	wire := NewWire(nil, timeouts, nil)
	defer wire.CloseIdle()
	ctx, sent := Watch(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader("message"))
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	resp, err := wire.Do(req)
	if err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	if err == nil {
		return nil, time.Since(begun)
	}
	return (*Secrets)(nil).WireFailure("enqueue", err, HasEffect, sent), time.Since(begun)
}

// ends checks that a stage was cut off by its own timeout and not before.
func ends(t *testing.T, e *transport.Error, took time.Duration, class transport.Class, words string) {
	t.Helper()
	if e == nil || e.Class != class || !strings.Contains(e.Message, words) || took < stage || took > 50*stage {
		t.Errorf("ended in %v after %v, want %v: %s after %v", e, took, class, words, stage)
	}
}

// A peer that takes the connection and says nothing of TLS: nothing was sent.
func TestTLSTimeout(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close() // nobody accepts: the system does, and that is all
	e, took := post(t, Timeouts{TLS: stage}, "https://"+ln.Addr().String()+"/messages")
	ends(t, e, took, transport.Transient, "TLS handshake timeout")
}

// A peer that takes the request and does not answer: its effect is unknown. One
// that thinks for less is waited for, and without a bound any is.
func TestHeaderTimeout(t *testing.T) {
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		wait := release
		if r.URL.Path == "/thinks" {
			wait = make(chan struct{})
			time.AfterFunc(2*stage, func() { close(wait) })
		}
		<-wait
	}))
	defer s.Close()
	defer close(release)
	e, took := post(t, Timeouts{Headers: stage}, s.URL+"/messages")
	ends(t, e, took, transport.Unknown, "awaiting response headers")
	for _, headers := range []time.Duration{0, 50 * stage} {
		if e, took := post(t, Timeouts{Headers: headers, Stall: stage}, s.URL+"/thinks"); e != nil {
			t.Errorf("a reply that takes its time, with %v: %v after %v", headers, e, took)
		}
	}
}

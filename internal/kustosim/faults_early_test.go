package kustosim

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// longBody is a body whose second half waits for a gate, and says whether it
// was read to its end.
type longBody struct {
	gate  <-chan struct{}
	head  io.Reader
	tail  io.Reader
	ended atomic.Bool
}

func (b *longBody) Read(p []byte) (int, error) {
	if n, err := b.head.Read(p); err == nil {
		return n, nil
	}
	<-b.gate
	n, err := b.tail.Read(p)
	b.ended.Store(err != nil)
	return n, err
}

// A reply that comes early is there while the body is not yet over; the
// control, an ordinary reply, hears the request out.
func TestRespondEarly(t *testing.T) {
	const half = 100_000
	for _, tt := range []struct {
		name  string
		fault Fault
		early bool
	}{
		{"control", Fault{Kind: Respond, Status: 503, RetryAfter: time.Second}, false},
		{"in the middle", Fault{Kind: RespondEarly, Status: 503, RetryAfter: time.Second, At: half / 2}, true},
		{"at the last byte there is", Fault{Kind: RespondEarly, Status: 403, At: half}, true},
		{"behind the head", Fault{Kind: RespondEarly, Status: 429}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := start(t, nil)
			for _, host := range []Host{Blob, Engine} {
				uri := c.blob(c.containers[0], "early").URL()
				method := http.MethodPut
				if host == Engine {
					uri, method = c.sim.Endpoint()+"/v1/rest/ingest/db1/t1?streamFormat=json", http.MethodPost
				}
				remove := c.sim.Fault(host, tt.fault)
				gate := make(chan struct{})
				if !tt.early {
					close(gate)
				}
				body := &longBody{gate: gate, head: strings.NewReader(strings.Repeat("x", half)), tail: strings.NewReader(strings.Repeat("y", half))}
				r, err := http.NewRequestWithContext(t.Context(), method, uri, body)
				if err != nil {
					t.Fatal(err)
				}
				r.ContentLength = 2 * half
				r.Header.Set("x-ms-blob-type", "BlockBlob")
				tr := &http.Transport{}
				resp, err := tr.RoundTrip(r)
				if err != nil {
					t.Fatal(err)
				}
				text, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || resp.StatusCode != tt.fault.Status || len(text) == 0 {
					t.Errorf("%s: answered %d %q, %v", host, resp.StatusCode, text, err)
				}
				if got := resp.Header.Get("Retry-After"); (got == "1") != (tt.fault.RetryAfter > 0) {
					t.Errorf("%s: Retry-After is %q", host, got)
				}
				if ended := body.ended.Load(); ended == tt.early {
					t.Errorf("%s: the body was over when the reply came: %v", host, ended)
				}
				if tt.early {
					close(gate)
				}
				tr.CloseIdleConnections()
				remove()
			}
			if n := len(c.sim.Blobs()); n != 0 {
				t.Errorf("%d blobs are stored", n)
			}
			if s := c.sim.Stats(); s.FaultsStruck != 2 {
				t.Errorf("%d requests were struck", s.FaultsStruck)
			}
		})
	}
}

package netfault

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// echo is a server that answers with the body that it was sent, and a proxy
// before it.
func echo(t *testing.T, o *Options) (p *Proxy, client *http.Client, requests *atomic.Int64) {
	t.Helper()
	requests = new(atomic.Int64)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the client was broken off
		}
		_, _ = w.Write(body) // a client that has gone is the test's to see
	}))
	p, err := Listen(strings.TrimPrefix(srv.URL, "http://"), o)
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{}
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		srv.Close()
	})
	return p, &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, requests
}

func post(t *testing.T, client *http.Client, url string, body io.Reader) (*http.Response, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return client.Do(r)
}

func TestProxyPassesOn(t *testing.T) {
	var set Set
	other := set.Add(Fault{Kind: Reset, PathContains: "/other"})
	p, client, requests := echo(t, &Options{Faults: &set})
	var total int
	for i, size := range []int{0, 1, 1000, 3 << 20} {
		for _, chunked := range []bool{false, true} {
			sent := bytes.Repeat([]byte{byte('a' + i)}, size)
			var body io.Reader = bytes.NewReader(sent)
			if chunked {
				body = io.MultiReader(body) // hides the length
			}
			resp, err := post(t, client, p.URL()+"/x?y=%2F", body)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil || !bytes.Equal(got, sent) {
				t.Errorf("%d bytes, chunked %v: %d came back, %v", size, chunked, len(got), err)
			}
			total += size
		}
	}
	if requests.Load() != 8 || other.Struck() != 0 {
		t.Errorf("%d requests, %d struck", requests.Load(), other.Struck())
	}
	if to, from := p.Carried(); to < int64(total) || from < int64(total) {
		t.Errorf("carried %d and %d bytes of %d", to, from, total)
	}
}

// gated is a body that stops in the middle until it is let go, so that what is
// answered before is early.
type gated struct {
	head *strings.Reader
	gate <-chan struct{}
	tail *strings.Reader
}

func (g *gated) Read(p []byte) (int, error) {
	if n, err := g.head.Read(p); err == nil {
		return n, nil
	}
	<-g.gate
	return g.tail.Read(p)
}

func TestProxyAnswersEarly(t *testing.T) {
	const head = 100_000
	for _, reply := range Replies() {
		for then, thenName := range []string{ThenClose: "close", ThenReset: "reset", ThenDrain: "drain", ThenHold: "hold"} {
			for _, at := range []int64{0, head} {
				t.Run(reply.Name+" "+thenName, func(t *testing.T) {
					var set Set
					a := set.Add(Fault{Kind: EarlyReply, At: at, Reply: reply.Reply, Then: Then(then), Times: 1})
					p, client, requests := echo(t, &Options{Faults: &set})
					gate := make(chan struct{})
					resp, err := post(t, client, p.URL(), &gated{strings.NewReader(strings.Repeat("h", head)), gate, strings.NewReader("tail")})
					switch {
					case err != nil && Then(then) != ThenReset: // there the reset may come first
						t.Fatal(err)
					case err == nil:
						if got, err := io.ReadAll(resp.Body); Then(then) != ThenReset && (err != nil || string(got) != reply.Reply.Body) || resp.StatusCode != reply.Reply.status() {
							t.Errorf("answered %d %q, %v", resp.StatusCode, got, err)
						}
						resp.Body.Close()
					}
					close(gate)
					if a.Struck() != 1 || requests.Load() != 0 {
						t.Errorf("struck %d, the server saw %d requests", a.Struck(), requests.Load())
					}
					// The next request goes through, on the same connection or on another.
					resp, err = post(t, client, p.URL(), strings.NewReader("next"))
					if err != nil {
						t.Fatal(err)
					}
					if got, err := io.ReadAll(resp.Body); err != nil || string(got) != "next" {
						t.Errorf("next: %q, %v", got, err)
					}
					resp.Body.Close()
				})
			}
		}
	}
}

func TestProxyBreaks(t *testing.T) {
	body := strings.Repeat("x", 1<<20)
	tests := []struct {
		name    string
		fault   Fault
		reached bool
		removed bool // the fault must be removed for the client to hear of it
	}{
		{name: "half-close", fault: Fault{Kind: HalfClose, At: 1000}},
		{name: "half-close at once", fault: Fault{Kind: HalfClose}},
		{name: "reset", fault: Fault{Kind: Reset, At: 1000}},
		{name: "never read", fault: Fault{Kind: NeverRead}, removed: true},
		{name: "reset of the answer's head", fault: Fault{Kind: ResetReply, At: 5}, reached: true},
		{name: "reset of the answer's body", fault: Fault{Kind: ResetReply, At: 1000}, reached: true},
		{name: "no such fault", fault: Fault{Kind: 99}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var set Set
			tt.fault.Times = 1
			a := set.Add(tt.fault)
			p, client, requests := echo(t, &Options{Faults: &set})
			if tt.removed {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				waited := make(chan struct{})
				go func() {
					defer close(waited)
					if a.Wait(ctx, 1) == nil {
						a.Remove()
					}
				}()
				defer func() { cancel(); <-waited }()
			}
			resp, err := post(t, client, p.URL(), strings.NewReader(body))
			if err == nil {
				_, err = io.ReadAll(resp.Body)
				resp.Body.Close()
			}
			if err == nil {
				t.Error("the client noticed nothing")
			}
			if (requests.Load() > 0) != tt.reached {
				t.Errorf("the server saw %d requests", requests.Load())
			}
			if a.Struck() != 1 {
				t.Errorf("struck %d", a.Struck())
			}
		})
	}
}

// Before anything was read, on the first connection and not on the second.
func TestProxyReplyFirst(t *testing.T) {
	var set Set
	set.Add(Fault{Kind: ReplyFirst, Reply: HTML(http.StatusOK), Times: 1})
	p, client, requests := echo(t, &Options{Faults: &set})
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(c) // nothing was asked
	c.Close()
	if err != nil || !bytes.HasPrefix(got, []byte("HTTP/1.1 200 OK\r\n")) || !bytes.Contains(got, []byte("Sign in")) {
		t.Errorf("read %q, %v", got, err)
	}
	resp, err := post(t, client, p.URL(), strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if requests.Load() != 1 {
		t.Errorf("%d requests", requests.Load())
	}
}

func TestProxyTricklesBothWays(t *testing.T) {
	var set Set
	a := set.Add(Fault{Kind: Trickle, Rate: 100_000})
	p, client, _ := echo(t, &Options{Faults: &set})
	sent := strings.Repeat("y", 5_000)
	started := time.Now()
	resp, err := post(t, client, p.URL(), strings.NewReader(sent))
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || string(got) != sent || a.Struck() != 1 {
		t.Errorf("%d bytes came back, %v", len(got), err)
	}
	if took := time.Since(started); took < 90*time.Millisecond { // a lower bound is safe: 50 ms a way at least
		t.Errorf("took %v", took)
	}
}

func TestProxyLinkDown(t *testing.T) {
	p, client, requests := echo(t, nil)
	ask := func() error {
		resp, err := post(t, client, p.URL(), strings.NewReader("x"))
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		_, err = io.ReadAll(resp.Body)
		return err
	}
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	p.SetLink(false)
	if err := ask(); err == nil {
		t.Error("got through a link that is down")
	}
	p.SetLink(true)
	if err := ask(); err != nil {
		t.Error(err)
	}
	if requests.Load() != 2 {
		t.Errorf("the server saw %d requests", requests.Load())
	}
	// Under way: the request is broken off, on both sides.
	gate := make(chan struct{})
	began := make(chan struct{})
	done := make(chan error)
	go func() {
		resp, err := post(t, client, p.URL(), io.MultiReader(strings.NewReader("x"), signalled(began), &gated{strings.NewReader("x"), gate, strings.NewReader("")}))
		if err == nil {
			resp.Body.Close()
		}
		done <- err
	}()
	<-began
	p.Break()
	close(gate) // net/http waits for the body before it tells of the reset
	if err := <-done; err == nil {
		t.Error("a broken request was answered")
	}
}

type signalled chan struct{}

func (s signalled) Read([]byte) (int, error) {
	close(s)
	return 0, io.EOF
}

// A proxy breaks off what it does not understand, and a server that is not
// there.
func TestProxyBadCases(t *testing.T) {
	p, _, requests := echo(t, nil)
	for _, text := range []string{"nonsense\r\n\r\n", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "GET / HT", strings.Repeat("h", maxHead+pieceBytes)} {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", p.Addr())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, text) // a break may come before its end
		_ = c.(*net.TCPConn).CloseWrite()
		if got, err := io.ReadAll(c); len(got) > 0 && err == nil && !bytes.Contains(got, []byte("400")) {
			t.Errorf("%.20q was answered %q", text, got)
		}
		c.Close()
	}
	if requests.Load() > 1 {
		t.Errorf("the server saw %d requests", requests.Load())
	}
	gone, err := Listen("127.0.0.1:1", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer gone.Close()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := post(t, client, gone.URL(), strings.NewReader("x"))
	if err == nil {
		resp.Body.Close()
		t.Error("a server that is not there answered")
	}
	var op *net.OpError
	if !errors.As(err, &op) && !errors.Is(err, io.EOF) {
		t.Errorf("%v", err)
	}
}

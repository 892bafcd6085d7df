package kusto

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// A peer that takes a part of a body and then nothing is given up, and so is
// one that stops in the middle of its reply; one that thinks before it replies
// is not.
func TestStall(t *testing.T) {
	const stall = 300 * time.Millisecond
	wire := NewWire(nil, Timeouts{Stall: stall}, nil)
	defer wire.CloseIdle()

	// A listener that accepts and never reads: the socket's buffers fill up.
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		if c, err := ln.Accept(); err == nil {
			accepted <- c
		}
		close(accepted)
	}()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+ln.Addr().String()+"/blob", bytes.NewReader(make([]byte, 64<<20)))
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := wire.Do(req); !errors.Is(err, errStalled) {
		if err == nil {
			resp.Body.Close()
		}
		t.Errorf("an upload that stands still: %v", err)
	}
	ln.Close() // on a slow machine the request may be over before it was connected
	if c := <-accepted; c != nil {
		c.Close()
	}

	stop := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/slow" {
			timer := time.NewTimer(2 * stall)
			defer timer.Stop()
			<-timer.C
			io.WriteString(w, "done")
			return
		}
		io.WriteString(w, "a part")
		w.(http.Flusher).Flush()
		<-stop
	}))
	defer server.Close()
	defer close(stop)
	get := func(path string) ([]byte, error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+path, bytes.NewReader([]byte("body")))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := wire.Do(req)
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		return io.ReadAll(resp.Body)
	}
	if body, err := get("/slow"); err != nil || string(body) != "done" {
		t.Errorf("a reply that takes its time: %q, %v", body, err)
	}
	if body, err := get("/part"); !errors.Is(err, errStalled) || string(body) != "a part" {
		t.Errorf("a reply that stands still: %q, %v", body, err)
	}
}

package port

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	maxHeaderBytes = 256 << 10
	headerTimeout  = 30 * time.Second
	relistenTries  = 100
)

// Listener is one port of the simulator. It owns the goroutine that serves it
// and knows all connections, so that close can join everything.
type Listener struct {
	Addr    string
	handler http.Handler

	mu struct {
		sync.Mutex
		server *http.Server // nil while connections are refused
		closed bool
	}
	serving sync.WaitGroup // the accept loops
	conns   sync.WaitGroup // connections, from accept to the end of their goroutine
}

// Listen binds addr and serves handler. The error is that of the system.
func Listen(addr string, handler http.Handler) (*Listener, error) {
	l := &Listener{handler: handler}
	ln, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, err
	}
	l.Addr = ln.Addr().String()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.serveLocked(ln)
	return l, nil
}

func (l *Listener) serveLocked(ln net.Listener) {
	server := &http.Server{
		Handler:           http.HandlerFunc(l.serveHTTP),
		ReadHeaderTimeout: headerTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          log.New(io.Discard, "", 0),
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				l.conns.Add(1)
			case http.StateClosed, http.StateHijacked:
				l.conns.Done()
			case http.StateActive, http.StateIdle:
			}
		},
	}
	l.mu.server = server
	l.serving.Add(1)
	go func() {
		defer l.serving.Done()
		// ErrServerClosed is the only way out: the listener fails only when closed.
		_ = server.Serve(ln)
	}()
}

// serveHTTP counts the request as a connection of its own, because a hijacked
// connection is done before its handler is.
func (l *Listener) serveHTTP(w http.ResponseWriter, r *http.Request) {
	l.conns.Add(1)
	defer l.conns.Done()
	l.handler.ServeHTTP(w, r)
}

// Refuse closes the port and its connections.
func (l *Listener) Refuse() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.server != nil {
		l.mu.server.Close()
		l.mu.server = nil
	}
}

// ListenAgain takes the port back. Should another process have it, it tries
// for as long as a short-lived owner may last and then stays closed.
func (l *Listener) ListenAgain() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.closed || l.mu.server != nil {
		return
	}
	for range relistenTries {
		ln, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", l.Addr)
		if err == nil {
			l.serveLocked(ln)
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Close closes the port and its connections and waits for their goroutines.
func (l *Listener) Close() error {
	l.mu.Lock()
	var err error
	l.mu.closed = true
	if l.mu.server != nil {
		err = l.mu.server.Close()
		l.mu.server = nil
	}
	l.mu.Unlock()
	l.serving.Wait()
	l.conns.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

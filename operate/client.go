package operate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

// How long a client waits, unless its context ends before.
const (
	dialTimeout   = 2 * time.Second
	answerTimeout = 30 * time.Second
)

// Client asks a spool that another process has open. It keeps at most one idle
// connection, for half a minute, which Close ends. Its methods may be called at
// the same time.
type Client struct {
	path string
	http *http.Client
}

var _ Spool = (*Client)(nil)

// Dial makes a client of the socket at path, and connects once, so that an error
// says that nobody answers there. The error is that of the system.
func Dial(ctx context.Context, path string) (*Client, error) {
	path = shortest(path)
	dialer := net.Dialer{Timeout: dialTimeout}
	first, err := dialer.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	waiting := make(chan net.Conn, 1)
	waiting <- first
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			select {
			case c := <-waiting:
				return c, nil
			default:
				return dialer.DialContext(ctx, "unix", path)
			}
		},
		MaxIdleConnsPerHost: 1, IdleConnTimeout: 30 * time.Second, ResponseHeaderTimeout: answerTimeout,
		MaxResponseHeaderBytes: 16 << 10, DisableCompression: true,
	}
	c := &Client{path: path, http: &http.Client{Transport: closing{transport, waiting}}}
	return c, nil
}

// closing is a transport that also closes the connection that was not asked for yet.
type closing struct {
	*http.Transport
	waiting chan net.Conn
}

// CloseIdleConnections is what [http.Client] calls.
func (c closing) CloseIdleConnections() {
	select {
	case conn := <-c.waiting:
		_ = conn.Close()
	default:
	}
	c.Transport.CloseIdleConnections()
}

// shortest is path, or the same from here where that is short enough for an
// address and path is not.
func shortest(path string) string {
	if len(path) <= maxPath {
		return path
	}
	here, err := os.Getwd()
	if err != nil {
		return path
	}
	if rel, err := filepath.Rel(here, path); err == nil && len(rel) < len(path) {
		return rel
	}
	return path
}

// Close ends the client's connections. What is being asked goes on to its end.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// read asks a route that reads.
func read[A any](ctx context.Context, c *Client, path string, q url.Values) (*A, error) {
	return call[A](ctx, c, http.MethodGet, path, q, nil)
}

// change asks a route that changes something, with one object.
func change[A any](ctx context.Context, c *Client, path string, q any) (*A, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	return call[A](ctx, c, http.MethodPost, path, nil, bytes.NewReader(body))
}

// call asks a route. A body may be nil.
func call[A any](ctx context.Context, c *Client, method, path string, q url.Values, body io.Reader) (*A, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	u := url.URL{Scheme: "http", Host: "spool", Path: path, RawQuery: q.Encode()}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), body)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		var inner *url.Error
		if errors.As(err, &inner) {
			err = inner.Err // the address in it is none
		}
		return nil, fmt.Errorf("asking the process that has the spool open, on %s: %w", c.path, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, MaxReply+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("asking the process that has the spool open, on %s: %w", c.path, err)
	case len(data) > MaxReply:
		return nil, &Error{Code: TooLarge, Message: fmt.Sprintf("the answer on %s has more than %d bytes", c.path, MaxReply)}
	case resp.StatusCode != http.StatusOK:
		var refused struct {
			Error *Error `json:"error"`
		}
		if json.Unmarshal(data, &refused) != nil || refused.Error == nil {
			return nil, &Error{Code: Failed, Message: fmt.Sprintf("the answer on %s is %s, and no reason", c.path, resp.Status)}
		}
		return nil, refused.Error
	}
	answer := new(A)
	if err := json.Unmarshal(data, answer); err != nil {
		return nil, &Error{Code: Failed, Message: fmt.Sprintf("the answer on %s cannot be read: %v", c.path, err)}
	}
	return answer, nil
}

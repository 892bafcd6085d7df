package kusto

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"kustospool/ingest"
)

// Wire carries the requests of a transport, to Kusto and to storage. It
// follows no redirect, bounds replies, gives a body up that stands still, gives
// net/http no memory that is used again, and takes the URL, with its SAS, out of
// the errors of net/http. It implements [policy.Transporter].
type Wire struct {
	next policy.Transporter
	// uploads carries requests of [WithBody]: next without a bound on the wait
	// for a reply.
	uploads policy.Transporter
	own     []*http.Client // none when the caller brought a Transporter
	// stall is how long a request's or a reply's body may stand still.
	stall time.Duration
	meter Meter // nil where nothing is counted
}

// Meter counts and bounds what passes over connections. Its errors that have a
// method Wait say when it lets something pass again.
type Meter interface {
	// Check says whether a request may begin.
	Check() error
	// Conn has what passes over a connection counted.
	Conn(net.Conn) net.Conn
}

// Timeouts bound the stages of a request. A zero one is the default.
type Timeouts struct {
	Connect time.Duration // to one address; DefaultConnect
	TLS     time.Duration // the handshake; DefaultTLS
	// Headers is from the request's last byte to the reply's first; no bound by
	// default, for a command may work for as long as its own timeout allows.
	Headers time.Duration
	Stall   time.Duration // how long a body may stand still; DefaultStall
}

// The defaults of [Timeouts].
const (
	DefaultConnect = 30 * time.Second
	DefaultTLS     = 15 * time.Second
	DefaultStall   = time.Minute
)

// NewWire wraps next; nil means an HTTP client of its own. A carrier that was
// brought bounds the stages before the reply by itself: of t only Stall counts.
// A meter may be nil; the connections of a carrier that was brought are for whoever
// made it to have counted.
func NewWire(next policy.Transporter, t Timeouts, m Meter) *Wire {
	stall := cmp.Or(t.Stall, DefaultStall)
	if next != nil {
		return &Wire{next: next, uploads: next, stall: stall, meter: m}
	}
	c, uploads := newClient(t, t.Headers, m), newClient(t, 0, m)
	return &Wire{next: c, uploads: uploads, own: []*http.Client{c, uploads}, stall: stall, meter: m}
}

// newClient is an HTTP client that waits for a reply as long as headers says.
func newClient(t Timeouts, headers time.Duration, m Meter) *http.Client {
	dialer := &net.Dialer{Timeout: cmp.Or(t.Connect, DefaultConnect), KeepAlive: 30 * time.Second}
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                  proxyOf,
			DialContext:            metered(m, dialHere(dialer.DialContext)),
			ForceAttemptHTTP2:      true,
			MaxIdleConns:           64,
			MaxIdleConnsPerHost:    16,
			IdleConnTimeout:        90 * time.Second,
			TLSHandshakeTimeout:    cmp.Or(t.TLS, DefaultTLS),
			ResponseHeaderTimeout:  headers,
			ExpectContinueTimeout:  time.Second,
			MaxResponseHeaderBytes: 256 << 10,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// metered dials connections that are counted.
func metered(m Meter, dial dialFunc) dialFunc {
	if m == nil {
		return dial
	}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return m.Conn(c), nil
	}
}

// proxyOf is the environment's proxy, and none for this machine: what is sent
// to it may be plain, and is nobody else's.
func proxyOf(r *http.Request) (*url.URL, error) {
	if ingest.IsLoopback(r.URL.Hostname()) {
		return nil, nil
	}
	return http.ProxyFromEnvironment(r)
}

// dialFunc makes a connection, as [net.Dialer.DialContext] does.
type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

// dialHere dials "localhost" at the loopback addresses, whatever a hosts file
// or a resolver makes of the name.
func dialHere(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(address)
		if err != nil || !strings.EqualFold(host, "localhost") {
			return dial(ctx, network, address)
		}
		conn, err := dial(ctx, network, net.JoinHostPort("127.0.0.1", port))
		if err != nil && ctx.Err() == nil {
			if conn6, err6 := dial(ctx, network, net.JoinHostPort("::1", port)); err6 == nil {
				return conn6, nil
			}
		}
		return conn, err
	}
}

// Do sends one request.
func (w *Wire) Do(req *http.Request) (*http.Response, error) {
	if w.meter != nil {
		if err := w.meter.Check(); err != nil {
			return nil, &closedError{err}
		}
	}
	packed := req.Method != http.MethodHead && req.Header.Get("Accept-Encoding") == "" && req.Header.Get("Range") == ""
	if packed { // net/http would do so, and unpack what it then knows no bound of
		req = req.Clone(req.Context())
		req.Header.Set("Accept-Encoding", "gzip")
	}
	resp, err := w.watched(req)
	if err != nil {
		// *url.Error prints the whole URL. What it wraps prints addresses only.
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return nil, err
	}
	boundReply(req, resp, packed)
	return resp, nil
}

// CloseIdle closes the idle connections of clients of its own.
func (w *Wire) CloseIdle() {
	for _, c := range w.own {
		c.CloseIdleConnections()
	}
}

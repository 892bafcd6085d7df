package kusto

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
)

// MaxReplyBytes bounds every reply body. The largest that is expected is a
// page of a table's entities, at most 4 MiB.
const MaxReplyBytes = 16 << 20

var errReplyTooLarge = errors.New("the reply is larger than 16 MiB")

// Wire carries the requests of a transport, to Kusto and to storage. It
// follows no redirect, bounds replies, gives a body up that stands still, and takes the URL, with its SAS, out of
// the errors of net/http. It implements [policy.Transporter].
type Wire struct {
	next policy.Transporter
	own  *http.Client // nil when the caller brought a Transporter
	// stall is how long a request's or a reply's body may stand still.
	stall time.Duration
}

// NewWire wraps next; nil means an HTTP client of its own.
func NewWire(next policy.Transporter) *Wire {
	if next != nil {
		return &Wire{next: next, stall: DefaultStall}
	}
	dialer := &net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}
	c := &http.Client{
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            dialer.DialContext,
			ForceAttemptHTTP2:      true,
			MaxIdleConns:           64,
			MaxIdleConnsPerHost:    16,
			IdleConnTimeout:        90 * time.Second,
			TLSHandshakeTimeout:    15 * time.Second,
			ExpectContinueTimeout:  time.Second,
			MaxResponseHeaderBytes: 256 << 10,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &Wire{next: c, own: c, stall: DefaultStall}
}

// Do sends one request.
func (w *Wire) Do(req *http.Request) (*http.Response, error) {
	resp, err := w.watched(req)
	if err != nil {
		// *url.Error prints the whole URL. What it wraps prints addresses only.
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return nil, err
	}
	if resp.Body != nil && resp.Body != http.NoBody {
		resp.Body = &boundedBody{ReadCloser: resp.Body, left: MaxReplyBytes}
	}
	return resp, nil
}

// CloseIdle closes the idle connections of a client of its own.
func (w *Wire) CloseIdle() {
	if w.own != nil {
		w.own.CloseIdleConnections()
	}
}

type boundedBody struct {
	io.ReadCloser
	left int64
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errReplyTooLarge
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	return n, err
}

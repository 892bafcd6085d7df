package kusto

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
)

// net/http may read a request's body after the call that sent it has returned:
// a service that answers early, in the middle of the body, ends the call, and
// the goroutine that writes to the connection reads on until it notices. The
// retry policy of the Azure SDK gives one reader to all tries of a request and
// hides net/http's Close from it. So memory that a body was read from may not
// be used again when a call returns, and a try may read what another one seeks
// in. The Wire, which is below that policy, therefore gives every try a reader
// of its own, over memory that is that request's alone ([Body], or a copy).

// Body is the bytes of one request, lent to the Wire. Whoever holds a reader of
// it reads under its lock and gets copies only, so that End is the end of the
// loan, whether net/http has closed the body by then or not.
type Body struct {
	mu    sync.Mutex
	data  []byte // guarded by mu; nil after End
	moved int    // guarded by mu; the most that one try has read
}

// NewBody lends data, until End is called.
func NewBody(data []byte) *Body { return &Body{data: data} }

// End takes the loan back: nobody reads the bytes from here on. A try that is
// still under way fails.
func (b *Body) End() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.data = nil
}

// Moved is how many of the bytes the most successful try has taken. Some of
// them may be in the buffers of this machine.
func (b *Body) Moved() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.moved
}

// reader is one try's reader.
func (b *Body) reader() io.ReadCloser { return &bodyReader{body: b} }

var errBodyOver = errors.New("the request is over")

type bodyReader struct {
	body   *Body
	off    int  // guarded by body.mu
	closed bool // guarded by body.mu
}

// Read copies, under the lock. It has no WriteTo on purpose: that would give
// the memory itself away.
func (r *bodyReader) Read(p []byte) (int, error) {
	b := r.body
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case r.closed || b.data == nil:
		return 0, errBodyOver
	case r.off == len(b.data):
		return 0, io.EOF
	}
	n := copy(p, b.data[r.off:])
	r.off += n
	b.moved = max(b.moved, r.off)
	return n, nil
}

// Close waits for a Read under way. net/http closes a body from other
// goroutines than the one that reads it.
func (r *bodyReader) Close() error {
	r.body.mu.Lock()
	defer r.body.mu.Unlock()
	r.closed = true
	return nil
}

type bodyKey struct{}

// WithBody returns a context for one request whose bytes are b's, as they are
// in the request's own body: the Wire sends them without a copy. Such a request
// is an upload: the wait for its reply is bounded by its context alone, because
// what net/http has written may still be in this machine's buffers.
func WithBody(ctx context.Context, b *Body) context.Context {
	return context.WithValue(ctx, bodyKey{}, b)
}

// maxBody bounds a request's body that the Wire copies. The largest is the
// list of 50,000 blocks.
const maxBody = 64 << 20

// private replaces the request's body by one that no other try, and nobody
// above, shares. upload reports whether it is a Body's.
func private(req *http.Request) (out *http.Request, upload bool, err error) {
	if req.Body == nil || req.Body == http.NoBody {
		return req, false, nil
	}
	defer req.Body.Close() // as a RoundTripper must; the SDK's wrapper makes nothing of it
	b, upload := req.Context().Value(bodyKey{}).(*Body)
	if upload {
		b.mu.Lock()
		upload = int64(len(b.data)) == req.ContentLength // otherwise it is another request of the call, or a policy changed it
		b.mu.Unlock()
	}
	if !upload {
		data, err := io.ReadAll(io.LimitReader(req.Body, maxBody+1))
		if err == nil && len(data) > maxBody {
			err = fmt.Errorf("the request's body has more than %d bytes", maxBody)
		}
		if err != nil {
			return nil, false, err
		}
		b = NewBody(data)
	}
	r := *req
	r.Body = b.reader()
	r.GetBody = func() (io.ReadCloser, error) { return b.reader(), nil }
	return &r, upload, nil
}

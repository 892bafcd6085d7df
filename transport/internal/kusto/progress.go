package kusto

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"
)

// errStalled is a body of which nothing moved for the stall time.
var errStalled = errors.New("the connection stands still: no data moved for too long")

// watch cancels a request whose body, or whose reply's, stands still. The wait
// for a reply's first byte is not its business: a command may work for long,
// and the request's own timeout bounds it.
type watch struct {
	stall  time.Duration
	cancel context.CancelCauseFunc

	mu    sync.Mutex
	timer *time.Timer // guarded by mu; nil while nothing is expected to move
	over  bool        // guarded by mu
}

// moving says that data is expected to move from now on.
func (w *watch) moving() {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.over:
	case w.timer == nil:
		w.timer = time.AfterFunc(w.stall, func() { w.cancel(errStalled) })
	default:
		w.timer.Reset(w.stall)
	}
}

// resting says that nothing is expected to move for now.
func (w *watch) resting() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil {
		w.timer.Stop()
		w.timer = nil
	}
}

// end stops the watch for good.
func (w *watch) end() {
	w.resting()
	w.mu.Lock()
	w.over = true
	w.mu.Unlock()
	w.cancel(nil)
}

// watchedBody is a request's body. Each read is a sign that what was read
// before it has left for the socket.
type watchedBody struct {
	io.ReadCloser
	watch *watch
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.watch.resting()
	} else {
		b.watch.moving()
	}
	return n, err
}

func (b *watchedBody) Close() error {
	b.watch.resting()
	return b.ReadCloser.Close()
}

// watchedReply is a reply's body.
type watchedReply struct {
	io.ReadCloser
	ctx   context.Context
	watch *watch
}

func (b *watchedReply) Read(p []byte) (int, error) {
	b.watch.moving()
	n, err := b.ReadCloser.Read(p)
	b.watch.resting()
	return n, stalled(b.ctx, err)
}

func (b *watchedReply) Close() error {
	err := b.ReadCloser.Close()
	b.watch.end()
	return err
}

// stalled puts the cause in the place of the cancellation it made.
func stalled(ctx context.Context, err error) error {
	if err != nil && err != io.EOF && context.Cause(ctx) == errStalled {
		return errStalled
	}
	return err
}

// watched sends a request whose bodies must not stand still.
func (w *Wire) watched(req *http.Request) (*http.Response, error) {
	req, upload, err := private(req)
	if err != nil {
		return nil, err
	}
	next := w.next
	if upload {
		next = w.uploads
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	guard := &watch{stall: w.stall, cancel: cancel}
	out := req.WithContext(ctx)
	if req.Body != nil && req.Body != http.NoBody {
		out.Body = &watchedBody{ReadCloser: req.Body, watch: guard}
		out.GetBody = func() (io.ReadCloser, error) { // net/http repeats a request on a connection that had gone away
			again, err := req.GetBody()
			return &watchedBody{ReadCloser: again, watch: guard}, err
		}
	}
	resp, err := next.Do(out)
	if err != nil {
		err = stalled(ctx, err)
		guard.end()
		return nil, err
	}
	if resp.Body == nil || resp.Body == http.NoBody {
		guard.end()
		return resp, nil
	}
	resp.Body = &watchedReply{ReadCloser: resp.Body, ctx: ctx, watch: guard}
	return resp, nil
}

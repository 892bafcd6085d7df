package netfault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"time"
)

// lateBytes is how much of a body is read after the reply where the rest of it
// is not drained.
const lateBytes = 64 << 10

// RoundTripper is an [http.RoundTripper] with faults. Requests that none
// strikes go to Next untouched. Its fields are set before the first use.
type RoundTripper struct {
	Next   http.RoundTripper // nil means http.DefaultTransport
	Faults *Set
	// Read, where not nil, sees what is read of the body of a struck request,
	// and whether that was after RoundTrip had returned. It may be called from
	// any goroutine and must not keep p.
	Read func(r *http.Request, p []byte, late bool)

	mu     sync.Mutex // guards closed and late.Add
	closed bool
	done   chan struct{}  // closed by Close; nil before the first fault
	late   sync.WaitGroup // those that still hold a body
}

// RoundTrip implements [http.RoundTripper].
func (t *RoundTripper) RoundTrip(r *http.Request) (*http.Response, error) {
	a := t.Faults.strike(r)
	if a == nil {
		if a = t.Faults.strike(nil); a == nil {
			return t.next().RoundTrip(r)
		}
	}
	switch a.Kind {
	case EarlyReply, ReplyFirst:
		if a.Kind == EarlyReply {
			if err := t.take(r, a); err != nil {
				return nil, err
			}
		}
		answered := make(chan struct{})
		t.readOn(r, a, answered)
		return a.Reply.response(r, answered), nil
	case HalfClose:
		if err := t.take(r, a); err != nil {
			return nil, err
		}
		t.readOn(r, a, nil)
		return nil, fmt.Errorf("netfault: half-closed after %d bytes: %w", a.at(r.ContentLength), io.EOF)
	case Reset:
		if err := t.take(r, a); err != nil {
			return nil, err
		}
		t.readOn(r, a, nil)
		return nil, errReset("write")
	case NeverRead:
		var err error
		select {
		case <-r.Context().Done():
			err = context.Cause(r.Context())
		case <-a.removed:
			err = errReset("write")
		case <-t.ended():
			err = errReset("write")
		}
		t.readOn(r, a, nil)
		return nil, err
	case Trickle:
		slow := r.Clone(r.Context())
		slow.GetBody = nil
		if r.Body != nil {
			slow.Body = &slowBody{ReadCloser: r.Body, ctx: r.Context(), pace: &pace{rate: a.rate()}}
		}
		resp, err := t.next().RoundTrip(slow)
		if err == nil {
			resp.Body = &slowBody{ReadCloser: resp.Body, ctx: r.Context(), pace: &pace{rate: a.rate()}}
		}
		return resp, err
	case ResetReply:
		resp, err := t.next().RoundTrip(r)
		if err == nil {
			resp.Body = &cutBody{ReadCloser: resp.Body, left: a.at(resp.ContentLength)}
		}
		return resp, err
	}
	return nil, errors.Join(fmt.Errorf("netfault: no such kind of fault: %d", a.Kind), closeBody(r))
}

// Close ends what faults hold and waits until every body is closed.
func (t *RoundTripper) Close() {
	done := t.ended()
	t.mu.Lock()
	if !t.closed {
		t.closed = true
		close(done)
	}
	t.mu.Unlock()
	t.late.Wait()
}

func (t *RoundTripper) next() http.RoundTripper {
	if t.Next == nil {
		return http.DefaultTransport
	}
	return t.Next
}

func (t *RoundTripper) ended() chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.done == nil {
		t.done = make(chan struct{})
	}
	return t.done
}

// take reads the body up to the byte of the fault.
func (t *RoundTripper) take(r *http.Request, a *Active) error {
	if r.Body == nil {
		return nil
	}
	_, err := io.CopyN(t.watched(r, false), r.Body, a.at(r.ContentLength))
	if err != nil && err != io.EOF {
		return errors.Join(err, closeBody(r))
	}
	return nil
}

// readOn does what a transport may do with a body that it still has when
// RoundTrip returns: some time after the answer was done with, it reads on, and
// then closes it.
func (t *RoundTripper) readOn(r *http.Request, a *Active, answered <-chan struct{}) {
	if r.Body == nil {
		return
	}
	done := t.ended()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		_ = closeBody(r)
		return
	}
	t.late.Go(func() {
		defer closeBody(r)
		if answered != nil {
			select {
			case <-answered:
			case <-r.Context().Done():
			case <-done:
			}
		}
		if a.Then == ThenHold {
			select {
			case <-a.removed:
			case <-done:
			}
			return
		}
		if a.Hold != nil {
			select {
			case <-a.Hold:
			case <-done:
			}
		} else {
			late := a.Late
			if late <= 0 {
				late = 20 * time.Millisecond
			}
			wait(r.Context(), late, done)
		}
		rest := io.Reader(r.Body)
		if a.Then != ThenDrain {
			rest = io.LimitReader(rest, lateBytes)
		}
		_, _ = io.Copy(t.watched(r, true), rest) // a body that fails now has nobody to tell
	})
}

func (t *RoundTripper) watched(r *http.Request, late bool) io.Writer {
	if t.Read == nil {
		return io.Discard
	}
	return writerFunc(func(p []byte) { t.Read(r, p, late) })
}

type writerFunc func([]byte)

func (f writerFunc) Write(p []byte) (int, error) {
	f(p)
	return len(p), nil
}

func closeBody(r *http.Request) error {
	if r.Body == nil {
		return nil
	}
	return r.Body.Close()
}

// response is the reply as a RoundTripper returns it. answered is closed when
// its body is closed or was read to the end.
func (r Reply) response(req *http.Request, answered chan<- struct{}) *http.Response {
	h := r.Header.Clone()
	if h == nil {
		h = make(http.Header)
	}
	return &http.Response{
		Status: fmt.Sprintf("%d %s", r.status(), http.StatusText(r.status())), StatusCode: r.status(),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: h, ContentLength: int64(len(r.Body)),
		Body:    &replyBody{Reader: strings.NewReader(r.Body), done: sync.OnceFunc(func() { close(answered) })},
		Request: req,
	}
}

type replyBody struct {
	io.Reader
	done func()
}

func (b *replyBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err != nil {
		b.done()
	}
	return n, err
}

func (b *replyBody) Close() error {
	b.done()
	return nil
}

// cutBody is reset after so many bytes.
type cutBody struct {
	io.ReadCloser
	left int64
}

func (b *cutBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errReset("read")
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// slowBody is read at a pace.
type slowBody struct {
	io.ReadCloser
	ctx  context.Context
	pace *pace
}

func (b *slowBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p[:min(len(p), b.pace.piece())])
	if !b.pace.wait(b.ctx, n, nil) {
		return n, b.ctx.Err()
	}
	return n, err
}

func errReset(op string) error {
	return &net.OpError{Op: op, Net: "tcp", Err: syscall.ECONNRESET}
}

package netfault

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	maxHead      = 256 << 10
	lingerOnExit = 500 * time.Millisecond
)

// conn is one client's connection and the one to the server that belongs to
// it.
type conn struct {
	p      *Proxy
	client net.Conn
	in     *bufio.Reader // of client
	server net.Conn      // nil until a request is passed on
	answer sync.WaitGroup

	mu   sync.Mutex // guards what follows: how the answer under way is treated
	cut  int64      // bytes of it that still pass, negative for all
	slow *pace      // nil for none
}

// serve reads one request after the other and passes it on, or strikes it.
func (p *Proxy) serve(ctx context.Context, client net.Conn) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if !p.link.add(client) {
		reset(client)
		return
	}
	defer p.link.remove(client)
	c := &conn{p: p, client: client, in: bufio.NewReaderSize(client, pieceBytes)}
	defer c.close()
	// Whoever waits on a connection must learn that the proxy ends.
	unhook := context.AfterFunc(ctx, func() { reset(client) })
	defer unhook()
	if a := p.faults.strike(nil); a != nil {
		_ = c.reply(ctx, a.Reply, true)
		c.linger(ctx)
		return
	}
	for {
		head, r, err := c.head()
		if err != nil {
			if err != io.EOF {
				reset(client)
			}
			return
		}
		a := p.faults.strike(r)
		if more := c.request(ctx, head, r, a); !more {
			return
		}
	}
}

// close ends both connections and waits for the answers' goroutine.
func (c *conn) close() {
	c.client.Close()
	if c.server != nil {
		c.server.Close()
	}
	c.answer.Wait()
}

// head reads the head of a request, as it came and as it is to be understood.
func (c *conn) head() ([]byte, *http.Request, error) {
	var head []byte
	for {
		line, err := c.in.ReadSlice('\n')
		head = append(head, line...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case err != nil && len(head) == 0:
			return nil, nil, io.EOF // the client has no more requests
		case err != nil:
			return nil, nil, err
		}
		if len(head) > maxHead {
			return nil, nil, fmt.Errorf("netfault: a head of more than %d bytes", maxHead)
		}
		if bytes.HasSuffix(head, []byte("\n\r\n")) || bytes.HasSuffix(head, []byte("\n\n")) {
			break
		}
	}
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(head)))
	return head, r, err
}

// request passes one request on, as a fault lets it. It reports whether the
// connection is good for another one.
func (c *conn) request(ctx context.Context, head []byte, r *http.Request, a *Active) (more bool) {
	c.mu.Lock()
	c.cut, c.slow = -1, nil
	c.mu.Unlock()
	toServer := func(p []byte) error { return c.p.link.carry(ctx, c.server, p, out) }
	swallow := func([]byte) error { return nil }
	if a == nil {
		return c.forward(ctx, head, r, toServer)
	}
	switch a.Kind {
	case EarlyReply:
		if c.body(r, swallow, a.at(r.ContentLength)) != nil {
			return false
		}
		if c.reply(ctx, a.Reply, a.Then == ThenClose) != nil {
			return false
		}
		switch a.Then {
		case ThenClose:
			c.linger(ctx)
		case ThenReset:
			reset(c.client)
		case ThenDrain:
			return c.body(r, swallow, -1) == nil
		case ThenHold:
			c.hold(ctx, a)
		}
		return false
	case HalfClose:
		if c.body(r, swallow, a.at(r.ContentLength)) == nil {
			c.closeWrite()
			_, _ = io.Copy(io.Discard, c.in)
		}
		return false
	case NeverRead:
		c.hold(ctx, a)
		return false
	case Reset:
		_ = c.body(r, swallow, a.at(r.ContentLength))
		reset(c.client)
		return false
	case Trickle:
		slow := &pace{rate: a.rate()}
		c.mu.Lock()
		c.slow = &pace{rate: a.rate()}
		c.mu.Unlock()
		return c.forward(ctx, head, r, func(p []byte) error { return trickle(ctx, slow, p, toServer) })
	case ResetReply:
		c.mu.Lock()
		c.cut = a.at(0)
		c.mu.Unlock()
		return c.forward(ctx, head, r, toServer)
	}
	reset(c.client)
	return false
}

// forward passes a request to the server, which is dialed when it is needed.
// The answer comes through by itself. A server that takes no more may have
// answered already, so its answer is let through to the end.
func (c *conn) forward(ctx context.Context, head []byte, r *http.Request, send func([]byte) error) (more bool) {
	if c.server == nil {
		server, err := (&net.Dialer{}).DialContext(ctx, "tcp", c.p.target)
		if err != nil || !c.p.link.add(server) {
			if err == nil {
				server.Close()
			}
			reset(c.client)
			return false
		}
		c.server = server
		c.answer.Go(func() {
			defer c.p.link.remove(server)
			c.answers(ctx)
		})
	}
	sent := true
	carry := func(p []byte) error {
		err := send(p)
		sent = sent && err == nil
		return err
	}
	if err := carry(head); err == nil && c.body(r, carry, -1) == nil {
		return true
	}
	if !sent {
		c.answer.Wait()
		c.linger(ctx)
	}
	return false
}

// answers passes on what the server says until it ends.
func (c *conn) answers(ctx context.Context) {
	buf := make([]byte, pieceBytes)
	toClient := func(p []byte) error { return c.p.link.carry(ctx, c.client, p, back) }
	for {
		n, err := c.server.Read(buf)
		part := buf[:n]
		c.mu.Lock()
		slow, cut := c.slow, c.cut >= 0 && int64(n) >= c.cut && n > 0
		if cut {
			part = part[:c.cut]
		}
		if c.cut >= 0 {
			c.cut -= int64(len(part))
		}
		c.mu.Unlock()
		var sendErr error
		if slow != nil {
			sendErr = trickle(ctx, slow, part, toClient)
		} else {
			sendErr = toClient(part)
		}
		switch {
		case cut:
			reset(c.client)
			return
		case sendErr != nil:
			return
		case err == io.EOF:
			c.closeWrite()
			return
		case err != nil:
			reset(c.client)
			return
		}
	}
}

// body takes the request's body, or the first limit bytes of what it holds
// where limit is not negative, and gives it to send as it came.
func (c *conn) body(r *http.Request, send func([]byte) error, limit int64) error {
	if len(r.TransferEncoding) == 0 {
		n := max(r.ContentLength, 0)
		if limit >= 0 {
			n = min(n, limit)
		}
		r.ContentLength -= n // what is still to be taken
		return c.pass(n, send)
	}
	for taken := int64(0); ; {
		if limit >= 0 && taken >= limit {
			return nil
		}
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		size, _, _ := strings.Cut(string(line), ";")
		n, err := strconv.ParseInt(strings.TrimSpace(size), 16, 64)
		if err != nil || n < 0 {
			return fmt.Errorf("netfault: a chunk's size cannot be read: %q", line)
		}
		if err := send(line); err != nil {
			return err
		}
		if n == 0 {
			return c.trailer(send)
		}
		if err := c.pass(n+2, send); err != nil { // with its line end
			return err
		}
		taken += n
	}
}

// trailer takes what follows the last chunk: lines, and an empty one.
func (c *conn) trailer(send func([]byte) error) error {
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if err := send(line); err != nil || len(bytes.TrimSpace(line)) == 0 {
			return err
		}
	}
}

// pass gives n bytes of the client's to send.
func (c *conn) pass(n int64, send func([]byte) error) error {
	buf := make([]byte, min(n, pieceBytes))
	for n > 0 {
		got, err := c.in.Read(buf[:min(n, int64(len(buf)))])
		n -= int64(got)
		if sendErr := send(buf[:got]); sendErr != nil {
			return sendErr
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func trickle(ctx context.Context, slow *pace, p []byte, send func([]byte) error) error {
	for len(p) > 0 {
		n := min(len(p), slow.piece())
		if !slow.wait(ctx, n, nil) {
			return ctx.Err()
		}
		if err := send(p[:n]); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

func (c *conn) reply(ctx context.Context, r Reply, last bool) error {
	return c.p.link.carry(ctx, c.client, r.wire(last), back)
}

// linger ends the server's side and reads on for a moment: a close with bytes
// unread would be a reset, which takes the reply with it.
func (c *conn) linger(ctx context.Context) {
	c.closeWrite()
	_ = c.client.SetReadDeadline(time.Now().Add(lingerOnExit))
	_, _ = io.Copy(io.Discard, c.in)
}

func (c *conn) closeWrite() {
	if tcp, ok := c.client.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
}

// hold does nothing until the fault is removed, and then breaks the
// connection.
func (c *conn) hold(ctx context.Context, a *Active) {
	select {
	case <-a.removed:
	case <-ctx.Done():
	}
	reset(c.client)
}

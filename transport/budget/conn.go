package budget

import (
	"context"
	"net"

	"golang.org/x/time/rate"
)

// Conn has what passes over c counted and bounded. A write, or a read, for which
// no byte may pass fails with a [*ClosedError].
func (m *Meter) Conn(c net.Conn) net.Conn {
	if m == nil {
		return c
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &conn{Conn: c, m: m, ctx: ctx, cancel: cancel}
}

// conn is a connection that is counted.
type conn struct {
	net.Conn
	m      *Meter
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
}

func (c *conn) Close() error {
	c.cancel()
	return c.Conn.Close()
}

// slow waits until so many bytes may pass by the rate.
func (c *conn) slow(l *rate.Limiter, n int) error {
	if l == nil || n == 0 {
		return nil
	}
	if err := l.WaitN(c.ctx, n); err != nil {
		return net.ErrClosed // the only way for it to fail, as a piece is no more than the burst
	}
	return nil
}

func (c *conn) Write(p []byte) (written int, err error) {
	for len(p) > 0 {
		g, err := c.m.take(min(len(p), c.m.piece()))
		if err != nil {
			return written, err
		}
		n := 0
		if err = c.slow(c.m.out, g.bytes); err == nil {
			n, err = c.Conn.Write(p[:g.bytes])
		}
		c.m.settle(g, n)
		written += n
		if err != nil {
			return written, err
		}
		p = p[n:]
	}
	return written, nil
}

// Read is paid for before it is known how much there is. The rate is kept
// behind the read: a sender is slowed down when its bytes are not taken.
func (c *conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return c.Conn.Read(p)
	}
	g, err := c.m.take(min(len(p), c.m.piece()))
	if err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(p[:g.bytes])
	c.m.settle(g, n)
	if e := c.slow(c.m.in, n); e != nil && err == nil {
		err = e
	}
	return n, err
}

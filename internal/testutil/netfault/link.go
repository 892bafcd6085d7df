package netfault

import (
	"context"
	"io"
	"net"
	"sync"
	"time"
)

// pieceBytes is the most that passes in one go.
const pieceBytes = 16 << 10

// link is what all connections of a proxy go over: a rate for each direction,
// and a state, up or down. A link that goes down breaks its connections, or, where
// it stalls, carries nothing until it is up.
type link struct {
	out, back pace
	stall     bool

	mu    sync.Mutex // guards what follows
	down  bool
	upped chan struct{} // closed when the link is up
	conns map[net.Conn]bool
	bytes [2]int64 // carried to the server, and back
}

func newLink(rate int64, stall bool) *link {
	l := &link{stall: stall, upped: make(chan struct{}), conns: make(map[net.Conn]bool)}
	l.out.rate, l.back.rate = rate, rate
	close(l.upped)
	return l
}

// set takes the link up or down.
func (l *link) set(up bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if up == !l.down {
		return
	}
	l.down = !up
	if up {
		close(l.upped)
		return
	}
	l.upped = make(chan struct{})
	if !l.stall {
		l.breakLocked()
	}
}

func (l *link) breakLocked() {
	for c := range l.conns {
		reset(c)
	}
}

// add takes a connection in; false when the link is down and breaks what is
// on it.
func (l *link) add(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down && !l.stall {
		return false
	}
	l.conns[c] = true
	return true
}

func (l *link) remove(c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
}

// carry passes p on to w in pieces, each when its time has come.
func (l *link) carry(ctx context.Context, w io.Writer, p []byte, direction int) error {
	speed := &l.out
	if direction == back {
		speed = &l.back
	}
	for len(p) > 0 {
		l.mu.Lock()
		upped := l.upped
		l.mu.Unlock()
		select {
		case <-upped:
		case <-ctx.Done():
			return ctx.Err()
		}
		piece := p[:min(len(p), speed.piece())]
		if !speed.wait(ctx, len(piece), nil) {
			return ctx.Err()
		}
		if _, err := w.Write(piece); err != nil {
			return err
		}
		l.mu.Lock()
		l.bytes[direction] += int64(len(piece))
		l.mu.Unlock()
		p = p[len(piece):]
	}
	return nil
}

// The directions of link.bytes.
const (
	out = iota
	back
)

// schedule takes the link down and up again until ctx ends.
func (l *link) schedule(ctx context.Context, up, down time.Duration) {
	for {
		if !wait(ctx, up, nil) {
			return
		}
		l.set(false)
		if !wait(ctx, down, nil) {
			return
		}
		l.set(true)
	}
}

// reset closes a connection with a reset where the platform has it.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

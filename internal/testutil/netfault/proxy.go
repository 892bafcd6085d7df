package netfault

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

const kernelBytes = 128 << 10

// Options of a [Proxy]. Nil is a proxy without faults and without bounds.
type Options struct {
	Faults *Set
	// BytesPerSecond is what the link carries in each direction, all connections
	// together; 0 for no limit.
	BytesPerSecond int64
	// Up and Down let the link be up and down in turn, from the start on. While
	// both are not positive it is up, and [Proxy.SetLink] is heard.
	Up, Down time.Duration
	// Stall: a link that is down keeps its connections and carries nothing. By
	// default it breaks them, and new ones at once.
	Stall bool
}

// Proxy is a TCP proxy on a loopback port, before one server.
type Proxy struct {
	target   string
	faults   *Set
	link     *link
	listener net.Listener
	stop     context.CancelFunc
	running  sync.WaitGroup // the accept loop, the schedule, and every connection
}

// Listen begins a proxy before target, a host with a port.
func Listen(target string, o *Options) (*Proxy, error) {
	if o == nil {
		o = new(Options)
	}
	ln, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("netfault: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	p := &Proxy{target: target, faults: o.Faults, link: newLink(o.BytesPerSecond, o.Stall), listener: ln, stop: stop}
	p.running.Go(func() { p.accept(ctx) })
	if o.Up > 0 && o.Down > 0 {
		p.running.Go(func() { p.link.schedule(ctx, o.Up, o.Down) })
	}
	return p, nil
}

// Addr is where the proxy listens: a host with a port.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// URL is the proxy's address for an HTTP client.
func (p *Proxy) URL() string { return "http://" + p.Addr() }

// SetLink takes the link up or down.
func (p *Proxy) SetLink(up bool) { p.link.set(up) }

// Break resets every connection, as a link does that went down and up.
func (p *Proxy) Break() {
	p.link.mu.Lock()
	defer p.link.mu.Unlock()
	p.link.breakLocked()
}

// Carried is how many bytes the link has carried to the server and back. What
// a fault swallowed is not among them.
func (p *Proxy) Carried() (toServer, toClient int64) {
	p.link.mu.Lock()
	defer p.link.mu.Unlock()
	return p.link.bytes[out], p.link.bytes[back]
}

// Close ends all connections and waits for their goroutines.
func (p *Proxy) Close() error {
	p.stop()
	err := p.listener.Close()
	p.Break()
	p.running.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// accept serves until the listener is closed, which is the only way it fails.
func (p *Proxy) accept(ctx context.Context) {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		if tcp, ok := c.(*net.TCPConn); ok {
			// What the kernel takes from a client that nobody reads from is kept
			// small, or it would be all of a body; under two of loopback's segments
			// every one would wait for an acknowledgement that is delayed.
			_ = tcp.SetReadBuffer(kernelBytes)
		}
		p.running.Go(func() { p.serve(ctx, c) })
	}
}

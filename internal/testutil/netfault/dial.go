package netfault

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// queuedPieces bounds what is between two ends because of the latency.
const queuedPieces = 256

// Dialer is a slow link at the client's end, to whatever is dialed through it:
// what all its connections carry in one direction is bounded by a rate, and each
// byte arrives later by a latency. Where a [Proxy] stands before one server, a
// Dialer is on the way to all.
type Dialer struct {
	latency   time.Duration
	out, back pace
	stop      context.CancelFunc
	ctx       context.Context
	running   sync.WaitGroup
	carried   [2]atomic.Int64
}

// NewDialer makes a link of so many bytes a second in each direction, with a
// latency in each. Close ends it.
func NewDialer(bytesPerSecond int64, latency time.Duration) *Dialer {
	d := &Dialer{latency: latency}
	d.out.rate, d.back.rate = bytesPerSecond, bytesPerSecond
	d.ctx, d.stop = context.WithCancel(context.Background())
	return d
}

// DialContext connects, after the time of a round trip.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if !wait(ctx, 2*d.latency, d.ctx.Done()) {
		return nil, errors.Join(ctx.Err(), d.ctx.Err())
	}
	server, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	client, ours := net.Pipe()
	d.running.Go(func() {
		unhook := context.AfterFunc(d.ctx, func() {
			server.Close()
			ours.Close()
		})
		defer unhook()
		var ways sync.WaitGroup
		ways.Go(func() { d.carry(server, ours, &d.out, &d.carried[out]) })
		ways.Go(func() { d.carry(ours, server, &d.back, &d.carried[back]) })
		ways.Wait()
	})
	return client, nil
}

// piece is some bytes and when they arrive.
type piece struct {
	data []byte
	at   time.Time
}

// carry brings what one end sends to the other until either ends, and then ends
// both: no HTTP client has use for half of a connection.
func (d *Dialer) carry(to, from net.Conn, speed *pace, carried *atomic.Int64) {
	pieces := make(chan piece, queuedPieces)
	var reader sync.WaitGroup
	reader.Go(func() {
		defer close(pieces)
		for {
			buf := make([]byte, speed.piece())
			n, err := from.Read(buf)
			if n > 0 {
				if !speed.wait(d.ctx, n, nil) {
					return
				}
				carried.Add(int64(n))
				select {
				case pieces <- piece{buf[:n], time.Now().Add(d.latency)}:
				case <-d.ctx.Done():
					return
				}
			}
			if err != nil {
				return
			}
		}
	})
	var err error
	for p := range pieces {
		if err == nil && wait(d.ctx, time.Until(p.at), nil) {
			_, err = to.Write(p.data)
		}
		if err != nil {
			from.Close() // the reader ends, and this loop with it
		}
	}
	reader.Wait()
	to.Close()
	from.Close()
}

// Carried is how many bytes the link has carried to the servers and back.
func (d *Dialer) Carried() (toServer, toClient int64) {
	return d.carried[out].Load(), d.carried[back].Load()
}

// Close ends all connections and waits for their goroutines.
func (d *Dialer) Close() error {
	d.stop()
	d.running.Wait()
	return nil
}

var _ io.Closer = (*Dialer)(nil)

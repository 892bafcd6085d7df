package main

import (
	"net"
	"net/netip"
	"sync"
)

// mostOfOne is how many of mostClients may come from one machine, so that one alone cannot
// keep the others out. Those of this machine are not counted: a proxy or a tunnel is
// one for many.
const mostOfOne = 24

// shared is a listener that hangs up on a machine with too many connections.
type shared struct {
	net.Listener
	mu   sync.Mutex
	from map[netip.Prefix]int // connections of each machine; guarded by mu
}

func newShared(l net.Listener) *shared {
	return &shared{Listener: l, from: map[netip.Prefix]int{}}
}

// Accept waits for the next one who may come in.
func (s *shared) Accept() (net.Conn, error) {
	for {
		c, err := s.Listener.Accept()
		if err != nil {
			return nil, err
		}
		of, counted := machine(c.RemoteAddr())
		if !counted {
			return c, nil
		}
		if s.enter(of) {
			return &sharing{Conn: c, leave: sync.OnceFunc(func() { s.leave(of) })}, nil
		}
		_ = c.Close() // whatever it says, nobody waits for it
	}
}

func (s *shared) enter(of netip.Prefix) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.from[of] >= mostOfOne {
		return false
	}
	s.from[of]++
	return true
}

func (s *shared) leave(of netip.Prefix) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.from[of]--; s.from[of] == 0 {
		delete(s.from, of)
	}
}

// machine is whose share a connection is of; of version 6 that is a network, which has as
// many addresses as it likes.
func machine(a net.Addr) (of netip.Prefix, counted bool) {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return of, false
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	of, err := ip.Prefix(bits)
	return of, err == nil && !ip.IsLoopback()
}

// sharing is a connection that gives its part of the share back when it ends.
type sharing struct {
	net.Conn
	leave func()
}

// Close hangs up.
func (c *sharing) Close() error {
	defer c.leave()
	return c.Conn.Close()
}

package main

import (
	"net"
	"testing"
)

// arrivals is a listener of connections from given addresses.
type arrivals []string

func (a *arrivals) Accept() (net.Conn, error) {
	if len(*a) == 0 {
		return nil, net.ErrClosed
	}
	from := (*a)[0]
	*a = (*a)[1:]
	here, there := net.Pipe()
	_ = there.Close()
	return arrival{here, &net.TCPAddr{IP: net.ParseIP(from), Port: 1}}, nil
}

func (a *arrivals) Close() error   { return nil }
func (a *arrivals) Addr() net.Addr { return &net.TCPAddr{} }

type arrival struct {
	net.Conn
	from net.Addr
}

func (a arrival) RemoteAddr() net.Addr { return a.from }

// One machine gets its share of the connections and no more, until it ends one; others, and
// those on this machine, are not kept out by it.
func TestShare(t *testing.T) {
	var coming arrivals
	s := newShared(&coming)
	come := func(n int, from string) (in []net.Conn) {
		t.Helper()
		coming = nil
		for range n {
			coming = append(coming, from)
		}
		for {
			c, err := s.Accept()
			if err != nil {
				return in
			}
			in = append(in, c)
		}
	}
	first := come(mostClients, "192.0.2.1")
	if len(first) != mostOfOne || len(come(1, "::ffff:192.0.2.1")) != 0 {
		t.Errorf("%d of one machine are in", len(first))
	}
	for range 2 { // twice for one connection, as net/http may
		_ = first[0].Close()
	}
	if n := len(come(2, "192.0.2.1")); n != 1 {
		t.Errorf("%d came in for one that left", n)
	}
	for from, want := range map[string]int{"192.0.2.2": mostOfOne, "127.0.0.1": mostClients, "::1": mostClients, "2001:db8::1": mostOfOne, "2001:db8:0:1::1": mostOfOne} {
		in := come(mostClients, from)
		if len(in) != want {
			t.Errorf("%s: %d, want %d", from, len(in), want)
		}
		if from == "2001:db8::1" && len(come(1, "2001:db8::2")) != 0 {
			t.Error("another address of the same network is another machine")
		}
		for _, c := range in {
			_ = c.Close()
		}
	}
	for _, c := range first[1:] {
		_ = c.Close()
	}
	if len(s.from) != 1 { // the one that came in last of the first machine
		t.Errorf("%v are remembered", s.from)
	}
}

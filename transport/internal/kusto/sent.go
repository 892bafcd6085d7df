package kusto

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http/httptrace"
	"sync/atomic"
)

// Sent watches whether a request may have left this machine. It decides
// between "definitely not accepted" and "unknown" for a request with an effect.
type Sent struct {
	traced    atomic.Bool // net/http carries the request, so the hook below is called when due
	connected atomic.Bool
}

// Watch returns a context for one request and its watcher.
func Watch(ctx context.Context) (context.Context, *Sent) {
	s := new(Sent)
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { s.traced.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { s.connected.Store(true) },
	}), s
}

// Never reports whether a request that ended in err certainly never reached
// the service: it got no address, no connection or no TLS session. A request
// that had a connection may have been written even where the error speaks of
// writing, so the answer is then no. A carrier that is not net/http calls no
// hook; its silence proves nothing, and only the kind of the error can.
func (s *Sent) Never(err error) bool {
	if s != nil && s.connected.Load() {
		return false
	}
	if s != nil && s.traced.Load() {
		return true
	}
	var (
		closed *closedError
		cred   *credentialError
		dns    *net.DNSError
		op     *net.OpError
		cert   *tls.CertificateVerificationError
	)
	switch {
	case errors.As(err, &closed), errors.As(err, &cred), errors.As(err, &dns), errors.As(err, &cert):
		return true
	case errors.As(err, &op):
		return op.Op == "dial"
	}
	return false
}

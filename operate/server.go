package operate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// MaxClients is how many may be connected to a server. More are told that it is
// busy.
const MaxClients = 16

// How long a client may take: for the head of a request, for all of it, for
// the answer, and to ask the next one on the same connection.
const (
	headTimeout    = 5 * time.Second
	requestTimeout = 10 * time.Second
	idleTimeout    = 30 * time.Second
)

// Server answers on a socket. Its goroutines are one that accepts and one or two for
// each client; Close joins them all.
type Server struct {
	http    *http.Server
	socket  *Socket
	running sync.WaitGroup // the one that accepts
	clients sync.WaitGroup
	stop    context.CancelFunc
}

// Serve begins to answer on a socket, which is the server's from then on. What
// goes wrong with a client is told to log, which must not be nil, at the level
// of debugging.
func Serve(socket *Socket, spool Spool, log *slog.Logger) *Server {
	ctx, stop := context.WithCancel(context.Background())
	s := &Server{socket: socket, stop: stop}
	s.http = &http.Server{
		Handler: refusing(Handler(spool)), ConnContext: noteRefusal, ReadHeaderTimeout: headTimeout, ReadTimeout: requestTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context { return ctx },
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				s.clients.Add(1)
			case http.StateClosed, http.StateHijacked:
				s.clients.Done()
			}
		},
	}
	s.running.Go(func() {
		if err := s.http.Serve(newDoor(socket.listener)); !errors.Is(err, http.ErrServerClosed) {
			log.Warn("the spool's socket does not answer any more", "socket", socket.path, "cause", err)
		}
	})
	return s
}

// Path is where the socket is.
func (s *Server) Path() string { return s.socket.path }

// Close cuts off whoever is connected, removes the socket, and joins every goroutine.
// A call of the spool that is under way has its context ended, and is waited for.
func (s *Server) Close() error {
	s.stop()
	err := s.http.Close()
	s.running.Wait()
	s.clients.Wait()
	if cerr := s.socket.Close(); err == nil && !errors.Is(cerr, net.ErrClosed) {
		err = cerr
	}
	return err
}

// door decides who comes in: the spool's own user and root, and not too many. Who
// does not is let in far enough to be told why.
type door struct {
	*net.UnixListener
	places, turnedAway chan struct{}
}

func newDoor(l *net.UnixListener) *door {
	return &door{l, make(chan struct{}, MaxClients), make(chan struct{}, MaxClients)}
}

// Accept waits for the next one.
func (d *door) Accept() (net.Conn, error) {
	for {
		c, err := d.AcceptUnix()
		if err != nil {
			return nil, err
		}
		g := &guest{UnixConn: c}
		if uid, ok := peer(c); ok && uid != 0 && uid != os.Geteuid() {
			g.refusal = &Error{Code: Forbidden, Message: fmt.Sprintf("the spool is of user %d, and answers user %d nothing", os.Geteuid(), uid)}
		} else if !g.take(d.places) {
			g.refusal = &Error{Code: Busy, Message: fmt.Sprintf("%d are connected to the spool already; try again", MaxClients)}
		}
		if g.refusal != nil && !g.take(d.turnedAway) {
			_ = c.Close() // nobody has been told that it would be heard
			continue
		}
		return g, nil
	}
}

// guest is a client. It gives its place back when it leaves.
type guest struct {
	*net.UnixConn
	refusal *Error // why it is answered nothing; nil where it is
	leave   func()
}

func (g *guest) take(places chan struct{}) bool {
	select {
	case places <- struct{}{}:
		g.leave = sync.OnceFunc(func() { <-places })
		return true
	default:
		return false
	}
}

// Close hangs up.
func (g *guest) Close() error {
	defer g.leave()
	return g.UnixConn.Close()
}

type refusalKey struct{}

// noteRefusal lets the handler know who is answered nothing.
func noteRefusal(ctx context.Context, c net.Conn) context.Context {
	if g, ok := c.(*guest); ok && g.refusal != nil {
		return context.WithValue(ctx, refusalKey{}, g.refusal)
	}
	return ctx
}

// refusing answers those with their refusal.
func refusing(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if why, ok := r.Context().Value(refusalKey{}).(*Error); ok {
			w.Header().Set("Connection", "close")
			refuse(w, why)
			return
		}
		next.ServeHTTP(w, r)
	})
}

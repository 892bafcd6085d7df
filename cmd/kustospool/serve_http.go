package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/netutil"
)

// What a client of the page may take.
const (
	// mostClients is how many may be connected; more wait to be accepted.
	mostClients = 64
	headTime    = 5 * time.Second  // for the head of a request
	bodyTime    = 20 * time.Second // for its body
	answerTime  = 30 * time.Second // for the answer; a stream of events has deadlines of its own
	idleTime    = time.Minute      // between two requests
	mostHead    = 32 << 10         // bytes
	// lastAnswers is how long those under way have to end once it is interrupted.
	lastAnswers = 500 * time.Millisecond
)

const (
	leastToken = 16
	mostToken  = 1024
)

// readToken reads a token from the one line of a file that nobody else may read.
func readToken(path string) (string, error) {
	info, err := os.Stat(path) // first, because a FIFO would be waited for
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: must be a plain file", path)
	}
	if err != nil {
		return "", err
	}
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close() // it is only read
	if info, err = file.Stat(); err != nil {
		return "", err
	}
	if mode := info.Mode().Perm(); runtime.GOOS != "windows" && mode&0o077 != 0 && !(mode == 0o440 && credential(path)) {
		return "", fmt.Errorf("%s: has mode %04o, and must be for its owner alone: chmod 600 %s", path, mode, shellWord(path))
	}
	text, err := io.ReadAll(io.LimitReader(file, mostToken+3)) // with a line end
	if err != nil {
		return "", err
	}
	token := strings.TrimRight(string(text), "\r\n")
	switch {
	case len(token) < leastToken || len(token) > mostToken:
		return "", fmt.Errorf("%s: the token must have %d to %d characters", path, leastToken, mostToken)
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", fmt.Errorf("%s: the token must be of one line of printable ASCII characters, without blanks", path)
	}
	return token, nil
}

// credential reports whether systemd made the file (LoadCredential). It lets the
// unit's user read it by an access list, of which the mode tells as of a right of the
// group; the directory is for that user alone.
func credential(path string) bool {
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	return dir != "" && filepath.Dir(filepath.Clean(path)) == filepath.Clean(dir)
}

// listen listens, with TLS where a certificate is named. It lets no more in than
// mostClients at once.
func listen(address, cert, key string) (net.Listener, error) {
	var secret *tls.Config
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("--tls-cert %s, --tls-key %s: %w", cert, key, err)
		}
		secret = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("--listen %s: %w", address, err)
	}
	l = netutil.LimitListener(newShared(l), mostClients)
	if secret != nil {
		l = tls.NewListener(l, secret)
	}
	return l, nil
}

// pageServer answers on a listener, in a goroutine that end joins.
type pageServer struct {
	http    *http.Server
	failed  chan error // once, when it cannot go on
	running sync.WaitGroup
	answers sync.WaitGroup // those under way
	stop    context.CancelFunc
}

func startServer(l net.Listener, page http.Handler, log *slog.Logger) *pageServer {
	ctx, stop := context.WithCancel(context.Background())
	s := &pageServer{failed: make(chan error, 1), stop: stop}
	plain := new(http.Protocols)
	plain.SetHTTP1(true) // so that the clients bound the requests
	s.http = &http.Server{
		Handler: s.inTime(page), Protocols: plain, ReadHeaderTimeout: headTime, IdleTimeout: idleTime, MaxHeaderBytes: mostHead,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug), BaseContext: func(net.Listener) context.Context { return ctx },
	}
	s.running.Go(func() {
		if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.failed <- err
		}
	})
	return s
}

// inTime bounds how long a body may take to come and an answer to go. A handler that
// streams sets deadlines of its own.
func (s *pageServer) inTime(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.answers.Add(1)
		defer s.answers.Done()
		c, now := http.NewResponseController(w), time.Now()
		// Every connection here has deadlines.
		_ = c.SetWriteDeadline(now.Add(answerTime))
		if r.Body != http.NoBody {
			_ = c.SetReadDeadline(now.Add(bodyTime))
		}
		next.ServeHTTP(w, r)
	})
}

// end ends the streams of the page, gives answers under way a moment, hangs up, and
// joins all that was started.
func (s *pageServer) end(page io.Closer) error {
	err := page.Close()
	ctx, cancel := context.WithTimeout(context.Background(), lastAnswers)
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		err = errors.Join(err, s.http.Close())
	}
	s.stop()
	s.running.Wait()
	s.answers.Wait()
	return err
}

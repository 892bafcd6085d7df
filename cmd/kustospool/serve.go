package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/spf13/pflag"

	"kustospool/ingest"
	"kustospool/statushttp"
)

type serveSettings struct {
	spoolSettings
	listen    string
	actions   bool
	tokenFile string
	hosts     []string
	tlsCert   string
	tlsKey    string
	every     time.Duration
	verbose   bool
}

func serveCommand() *command {
	return &command{
		name:     "serve",
		synopsis: "--spool DIR | --to TARGET [--listen ADDRESS] [flags]",
		summary:  "show a spool in a browser, beside the program that owns it",
		help: `Shows what a spool holds and how it went, its troubles with what to do about each, its
tables, batches and dead letters, as a page for a browser, and as JSON, until it is
interrupted. It prints the page's address.

It asks the process that has the spool open, by its socket, and goes on when that process
ends and when the next one comes. A spool at rest is read, anew only when something of it has
changed, with its lock held for less than half a second, so that no program that opens
it fails for that. It writes nothing into the spool.

It only shows, unless --actions allows whoever may see the page to pause, resume and
retry tables, and to retry and drop dead letters; the process that has the spool open
does it.

It listens on loopback, for whoever can log on to this machine. On any other address
it needs --token-file, a file of one line with at least 16 characters that only its owner
may read; a browser asks for it. Without --tls-cert and --tls-key the token and the
records go over the network as they are. A request by another name than that of
loopback or of --listen is refused, unless --host names it.

Examples:
  kustospool serve --spool /var/spool/fleet
  kustospool serve --spool /var/spool/fleet --listen 127.0.0.1:0 --actions
  kustospool serve --spool /var/spool/fleet --listen 10.0.0.7:8765 --host fleet.example.org \
      --token-file /etc/kustospool/token --tls-cert fleet.crt --tls-key fleet.key

Exit codes: 0 it was interrupted, 1 it failed, 2 the command is wrong, there is no spool, or
the address cannot be had.`,
		flags: func(fs *pflag.FlagSet) any {
			s := new(serveSettings)
			s.register(fs)
			fs.StringVar(&s.listen, "listen", "127.0.0.1:8765", "address to listen on; port 0 picks a free one")
			fs.BoolVar(&s.actions, "actions", false, "allow pause, resume and retry, and what is done to dead letters")
			fs.StringVar(&s.tokenFile, "token-file", "", "file with the token that whoever sees the page must know")
			fs.StringArrayVar(&s.hosts, "host", nil, "name by which browsers reach the page besides loopback, as through a proxy; may be repeated")
			fs.StringVar(&s.tlsCert, "tls-cert", "", "file with the certificate, and those behind it, as PEM")
			fs.StringVar(&s.tlsKey, "tls-key", "", "file with its private key, as PEM")
			fs.DurationVar(&s.every, "every", statushttp.DefaultEvery, "how often the spool is looked at")
			fs.BoolVarP(&s.verbose, "verbose", "v", false, "log to standard error also what is no trouble")
			return s
		},
		run: func(ctx context.Context, c *console, settings any, args []string) (int, error) {
			return serve(ctx, c, settings.(*serveSettings), args)
		},
	}
}

// checked are the settings after their rules were checked.
type checked struct {
	host     string // of --listen
	loopback bool
	token    string
	hosts    []string
	scheme   string
}

func (s *serveSettings) check(args []string) (*checked, error) {
	out := &checked{scheme: "http", hosts: s.hosts}
	host, _, err := net.SplitHostPort(s.listen)
	switch {
	case len(args) > 0:
		return nil, usagef("serve takes no arguments; the spool is named with --spool")
	case err != nil:
		return nil, usagef("--listen %q: must be HOST:PORT, such as 127.0.0.1:8765", s.listen)
	case (s.tlsCert == "") != (s.tlsKey == ""):
		return nil, usagef("--tls-cert and --tls-key go together: one of them is missing")
	case s.every < leastWatch:
		return nil, usagef("--every %s: must be at least %s", s.every, leastWatch)
	}
	if s.tlsCert != "" {
		out.scheme = "https"
	}
	out.host, out.loopback = host, ingest.IsLoopback(host)
	if !out.loopback && s.tokenFile == "" {
		return nil, usagef("--listen %q: others can reach that address, so --token-file must name a token; or listen on 127.0.0.1", s.listen)
	}
	if s.tokenFile != "" {
		if out.token, err = readToken(s.tokenFile); err != nil {
			return nil, usageError{fmt.Errorf("--token-file: %w", err)}
		}
	}
	// Who is told an address asks for it by that.
	if addr, err := netip.ParseAddr(host); host != "" && !out.loopback && (err != nil || !addr.IsUnspecified()) {
		out.hosts = append(out.hosts[:len(out.hosts):len(out.hosts)], host)
	}
	return out, nil
}

func serve(ctx context.Context, c *console, s *serveSettings, args []string) (code int, err error) {
	ok, err := s.check(args)
	if err != nil {
		return 0, err
	}
	dir, err := s.dir(c)
	if err != nil {
		return 0, err
	}
	level := slog.LevelWarn
	if s.verbose {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(c.err, &slog.HandlerOptions{Level: level}))
	spool, err := newFollower(dir, s.trust)
	if err != nil {
		return 0, err
	}
	defer spool.Close()
	l, err := listen(s.listen, s.tlsCert, s.tlsKey)
	if err != nil {
		return 0, usageError{err}
	}
	page, err := statushttp.New(spool, &statushttp.Options{Title: dir, Actions: s.actions, Token: ok.token, Hosts: ok.hosts, Every: s.every, Log: log})
	if err != nil {
		return 0, usageError{errors.Join(err, l.Close())}
	}
	server := startServer(l, page, log)
	if !ok.loopback && s.tlsCert == "" {
		c.note("kustospool serve: without --tls-cert and --tls-key, the token and the records that are shown go over the network as they are.")
	}
	if err := s.announce(c, fmt.Sprintf("%s://%s/", ok.scheme, shownAddress(l.Addr())), dir); err != nil {
		return 0, errors.Join(err, server.end(page))
	}
	select {
	case <-ctx.Done():
		return exitOK, server.end(page)
	case err := <-server.failed:
		return exitFailed, errors.Join(err, server.end(page))
	}
}

// shownAddress is an address as a browser of this machine can ask for it.
func shownAddress(a net.Addr) string {
	if tcp, ok := a.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		return fmt.Sprintf("localhost:%d", tcp.Port)
	}
	return a.String()
}

// announce tells where the page is. The first line is for scripts.
func (s *serveSettings) announce(c *console, address, dir string) error {
	may := "It only shows; --actions would allow more."
	if s.actions {
		may = "Whoever sees it may pause, resume and retry tables, and retry and drop dead letters."
	}
	_, err := fmt.Fprintf(c.out, "listening on %s\n\nThe page of the spool %s. %s\nIt ends with an interrupt.\n", address, shellWord(dir), may)
	return err
}

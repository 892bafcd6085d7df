package statushttp

import (
	"errors"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"kustospool/ingest"
)

// DefaultEvery is how often the spool is looked at by default.
const DefaultEvery = 2 * time.Second

// defaultTitle is also the title for those who are refused: one that was given may
// name what is not for them, as a directory.
const defaultTitle = "kustospool"

const (
	minEvery  = 100 * time.Millisecond
	minToken  = 16
	maxToken  = 1024
	maxTitle  = 200
	maxHosts  = 64
	maxDomain = 253 // of a name in DNS
)

// Options say what a page shows and to whom. The zero value shows it to this
// machine, and changes nothing.
type Options struct {
	// Title is what the page is called, in at most 200 bytes. Default: "kustospool". Who
	// is refused or has not logged in does not see it.
	Title string
	// Actions allows what changes the spool: pause, resume and retry of tables, retry
	// and drop of dead letters, and POST below v1/.
	Actions bool
	// Token is what a client must show, as "Authorization: Bearer TOKEN" or by the login
	// form: 16 to 1024 printable characters of ASCII, best random ones. Empty: only
	// clients on this machine (loopback addresses) are answered. Where it is set
	// they must show it as well.
	Token string
	// Hosts are the names and addresses, without a port, by which the page may be
	// asked beside those of this machine (localhost, 127.0.0.0/8, ::1). A request
	// with any other Host is refused.
	Hosts []string
	// Every is how often the spool is looked at. Default 2 s, at least 100 ms.
	Every time.Duration
	// Log is told of actions, of failed logins, and of a spool that stops and begins
	// to answer. Default: nothing is logged.
	Log *slog.Logger
}

// settled is a copy of the options with the defaults, or all that is wrong with them.
func (o *Options) settled() (Options, error) {
	var c Options
	if o != nil {
		c = *o
	}
	var errs []error
	bad := func(field, value, rule string) {
		errs = append(errs, &ingest.FieldError{Field: "Options." + field, Value: value, Rule: rule})
	}
	if c.Title == "" {
		c.Title = defaultTitle
	}
	if len(c.Title) > maxTitle {
		bad("Title", strconv.Quote(c.Title[:40])+"...", "must have at most 200 bytes")
	}
	// The token itself is not repeated: an error may be logged.
	if n := len(c.Token); n > 0 && (n < minToken || n > maxToken) {
		bad("Token", "of "+strconv.Itoa(n)+" bytes", "must have 16 to 1024 bytes, or be empty")
	}
	if strings.ContainsFunc(c.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		bad("Token", "", "must be of printable ASCII characters without spaces")
	}
	if len(c.Hosts) > maxHosts {
		bad("Hosts", strconv.Itoa(len(c.Hosts))+" names", "must be at most 64")
	}
	for _, h := range c.Hosts {
		if !hostName(h) {
			bad("Hosts", strconv.Quote(h[:min(len(h), 80)]), "must be names or addresses without a port, such as spool.example.org or 10.0.0.7")
		}
	}
	if c.Every == 0 {
		c.Every = DefaultEvery
	}
	if c.Every < minEvery {
		bad("Every", c.Every.String(), "must be at least 100ms")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c, errors.Join(errs...)
}

// hostName reports whether h is the name of a host or an address, without a port.
func hostName(h string) bool {
	if _, err := netip.ParseAddr(h); err == nil {
		return true
	}
	return h != "" && len(h) <= maxDomain && !strings.ContainsFunc(h, func(r rune) bool {
		return r != '.' && r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
}

package statushttp

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// guard says who is answered.
type guard struct {
	hosts    map[string]bool
	token    [sha256.Size]byte // of the token
	guarded  bool              // a token is set
	logins   *logins
	crossing *http.CrossOriginProtection
	failures *failures
}

// refusal is why a request is not answered.
type refusal struct {
	status int
	text   string
}

func newGuard(o *Options) *guard {
	g := &guard{hosts: map[string]bool{}, token: sha256.Sum256([]byte(o.Token)), guarded: o.Token != "", logins: newLogins(),
		crossing: http.NewCrossOriginProtection(), failures: newFailures()}
	for _, h := range o.Hosts {
		g.hosts[hostKey(h)] = true
	}
	return g
}

// refuses says why a request is not for this page, whoever sends it; nil where
// it is.
func (g *guard) refuses(r *http.Request) *refusal {
	if host := hostKey(hostOf(r.Host)); host != "localhost" && !loopback(host) && !g.hosts[host] {
		return &refusal{http.StatusForbidden, "This page does not answer to that host name. Where it should, add the name to those that it is served under."}
	}
	if !g.guarded && !loopback(hostOf(r.RemoteAddr)) {
		return &refusal{http.StatusForbidden, "This page answers clients on its own machine only, because no token is set."}
	}
	if err := g.crossing.Check(r); err != nil {
		return &refusal{http.StatusForbidden, "The request is from a page of another origin."}
	}
	// Following a link from elsewhere is fine. Anything else that another site has a
	// browser fetch here can only be to probe, or to use up the streams.
	if site := r.Header.Get("Sec-Fetch-Site"); (site == "cross-site" || site == "same-site") && r.Header.Get("Sec-Fetch-Mode") != "navigate" {
		return &refusal{http.StatusForbidden, "The request is from a page of another origin."}
	}
	return nil
}

// hostOf is host of "host", "host:port", "[host]" or "[host]:port".
func hostOf(s string) string {
	if rest, ok := strings.CutPrefix(s, "["); ok {
		host, after, found := strings.Cut(rest, "]")
		if !found || after != "" && !strings.HasPrefix(after, ":") {
			return ""
		}
		return host
	}
	host, port, _ := strings.Cut(s, ":")
	if strings.Contains(port, ":") { // an address of version 6 without brackets
		return s
	}
	return host
}

// hostKey is a name in the form in which two that are the same are equal.
func hostKey(h string) string {
	if a, err := netip.ParseAddr(h); err == nil {
		return a.Unmap().String()
	}
	return strings.ToLower(h)
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return err == nil && a.Zone() == "" && a.Unmap().IsLoopback()
}

// shown reports whether a text is the token. How long it takes tells nothing.
func (g *guard) shown(text string) bool {
	sum := sha256.Sum256([]byte(text))
	return subtle.ConstantTimeCompare(sum[:], g.token[:]) == 1
}

// admits reports whether a request may be answered: no token is set, or it shows
// the token or a cookie that was given for it. wait is set where its sender has
// guessed wrong so often that it is not looked at.
func (g *guard) admits(r *http.Request) (ok bool, wait time.Duration) {
	if !g.guarded || g.logins.good(r) {
		return true, 0
	}
	if token := bearer(r); token != "" {
		return g.tries(r, token)
	}
	return false, 0
}

// bearer is the token that a request shows in its header, "" if it shows none.
func bearer(r *http.Request) string {
	kind, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(kind, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// tries looks at a token that somebody shows.
func (g *guard) tries(r *http.Request, token string) (ok bool, wait time.Duration) {
	return g.failures.try(sender(hostOf(r.RemoteAddr)), time.Now(), func() bool { return g.shown(token) })
}

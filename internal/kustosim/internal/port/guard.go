package port

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// guard refuses with 403 what a web page of another site makes a browser send,
// before the request has any effect. Three things give it away: a Host that is
// not this machine's (a name that the page's server made point here), an Origin
// of another host, and Sec-Fetch-Site, which browsers set and pages cannot. A
// client that is no browser sends its own Host and none of the others. hosts are
// further names under which this machine is reached.
//
// See https://developer.mozilla.org/docs/Web/HTTP/Reference/Headers/Sec-Fetch-Site.
func guard(next http.Handler, hosts []string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if what := foreign(r, hosts); what != "" {
			http.Error(w, "kustosim: "+what+" is foreign: a web page of another site may not use the simulator", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// foreign names the header that tells of another site, or is empty.
func foreign(r *http.Request, hosts []string) string {
	switch {
	case r.Host != "" && !local(r.Host, hosts):
		return "the Host"
	case len(r.Header.Values("Origin")) > 1 || r.Header.Get("Origin") != "" && !localOrigin(r.Header.Get("Origin"), hosts):
		return "the Origin"
	case strings.EqualFold(strings.TrimSpace(r.Header.Get("Sec-Fetch-Site")), "cross-site"):
		return "the site in Sec-Fetch-Site"
	}
	return ""
}

// localOrigin reports whether an Origin is http or https of a local host. The
// origin "null" of a sandboxed page is not.
func localOrigin(origin string, hosts []string) bool {
	u, err := url.Parse(origin)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && local(u.Host, hosts)
}

// local reports whether host, with or without a port, is a loopback address,
// localhost or below it (RFC 6761), or one of hosts.
func local(host string, hosts []string) bool {
	name := host
	if h, p, err := net.SplitHostPort(host); err == nil {
		if _, err := strconv.ParseUint(p, 10, 16); err != nil && p != "" {
			return false
		}
		name = h
	} else if inner, ok := strings.CutPrefix(host, "["); ok {
		if name, ok = strings.CutSuffix(inner, "]"); !ok {
			return false
		}
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if addr, err := netip.ParseAddr(name); err == nil {
		return addr.Zone() == "" && addr.Unmap().IsLoopback()
	}
	if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" {
		return false // no name of a host
	}
	return name == "localhost" || strings.HasSuffix(name, ".localhost") ||
		slices.ContainsFunc(hosts, func(h string) bool { return strings.EqualFold(h, name) })
}

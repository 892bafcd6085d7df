package kusto

import (
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"kustospool/ingest"
)

// Cluster is the pair of endpoints of one cluster, each a scheme and a host
// without a trailing slash. They are equal where a host has no name to change.
type Cluster struct {
	DM     string // data management: resources, identity tokens
	Engine string // queries, commands, streaming
	// Loopback says that the cluster is on this machine: http is allowed there
	// for the endpoints and for the storage the cluster names.
	Loopback bool
}

// dmPrefix is what the first label of a data management host begins with
// (protocol reference section 1.1).
const dmPrefix = "ingest-"

// trustedSuffixes and trustedHosts are where a bearer token may go. They
// restate the list of endpoints the official clients ship (protocol reference
// section 1.4).
var (
	trustedSuffixes = []string{
		".kusto.windows.net", ".kustodev.windows.net", ".kustomfa.windows.net",
		".kusto.azuresynapse.net", ".kustodev.azuresynapse-dogfood.net",
		".kusto.data.microsoft.com", ".kusto.fabric.microsoft.com",
		".dxp.aad.azure.com", ".dxp-dev.aad.azure.com",
		".playfab.com", ".playfabapi.com", ".azureplayfab.com",
		".kusto.usgovcloudapi.net", ".kustomfa.usgovcloudapi.net", ".kusto.azuresynapse.usgovcloudapi.net",
		".kusto.chinacloudapi.cn", ".kustomfa.chinacloudapi.cn", ".kusto.azuresynapse.azure.cn", ".playfab.cn",
		".kusto.core.eaglex.ic.gov", ".kustomfa.core.eaglex.ic.gov",
		".kusto.core.microsoft.scloud", ".kustomfa.core.microsoft.scloud",
	}
	trustedHosts = []string{"kusto.aria.microsoft.com", "eu.kusto.aria.microsoft.com"}
)

// ParseCluster reads the URL of either endpoint of a cluster and derives the
// other: the data management host is the engine host with "ingest-" before its
// first label. Hosts that are IP addresses, localhost, or have a port serve
// both under one name.
//
// The URL must be https; http is accepted for a loopback host only. The host
// must be in a known Kusto domain, be in allow, or be loopback. An entry of
// allow is a host name, or a domain with a leading dot. Every violation is an
// [ingest.FieldError] of the field "endpoint".
func ParseCluster(raw string, allow []string) (Cluster, error) {
	bad := func(rule string) (Cluster, error) {
		return Cluster{}, &ingest.FieldError{Field: "endpoint", Value: shown(raw), Rule: rule}
	}
	u, err := url.Parse(strings.TrimSpace(raw))
	switch {
	case err != nil:
		return bad("must be a URL such as https://cluster.region.kusto.windows.net")
	case u.User != nil:
		return bad("must not hold a user name or password; pass a credential instead")
	case u.Scheme != "https" && u.Scheme != "http":
		return bad("must begin with https://")
	case u.Opaque != "" || u.Hostname() == "":
		return bad("must name a host after https://")
	case u.Path != "" && u.Path != "/":
		return bad("must have no path; the database is a property of the request")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return bad("must have no query and no fragment")
	}
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	if port := u.Port(); port != "" {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			return bad("must have a port from 1 to 65535, or none")
		}
	} else if strings.HasSuffix(u.Host, ":") {
		return bad("must have a port after its colon, or no colon")
	}
	loopback := ingest.IsLoopback(host)
	if u.Scheme == "http" && !loopback {
		return bad("must be https; plain http is for this machine only")
	}
	if !loopback && !trusted(host, allow) {
		return bad("is not in a known Kusto domain; add the host to AllowHosts if a token may be sent there")
	}

	at := func(host string) string {
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		if p := u.Port(); p != "" {
			host += ":" + p
		}
		return u.Scheme + "://" + host
	}
	c := Cluster{DM: at(host), Engine: at(host), Loopback: loopback}
	if _, err := netip.ParseAddr(host); err == nil || loopback || u.Port() != "" {
		return c, nil
	}
	if engine, ok := strings.CutPrefix(host, dmPrefix); ok {
		c.Engine = at(engine)
	} else {
		c.DM = at(dmPrefix + host)
	}
	return c, nil
}

func trusted(host string, allow []string) bool {
	for _, s := range trustedSuffixes {
		if strings.HasSuffix(host, s) && len(host) > len(s) {
			return true
		}
	}
	for _, h := range trustedHosts {
		if host == h || host == dmPrefix+h {
			return true
		}
	}
	for _, a := range allow {
		a = strings.ToLower(strings.TrimSpace(a))
		if strings.HasPrefix(a, ".") {
			if strings.HasSuffix(host, a) && len(host) > len(a) {
				return true
			}
			continue
		}
		// A listed engine host stands for its data management host as well.
		if a != "" && strings.TrimPrefix(host, dmPrefix) == strings.TrimPrefix(a, dmPrefix) {
			return true
		}
	}
	return false
}

// HostIn reports whether a host is in one of the domains, which begin with a
// dot, or is listed in allow: a host, or a domain with a leading dot.
func HostIn(host string, domains, allow []string) bool {
	host = strings.ToLower(host)
	in := func(entry string) bool {
		entry = strings.ToLower(strings.TrimSpace(entry))
		if strings.HasPrefix(entry, ".") {
			return strings.HasSuffix(host, entry) && len(host) > len(entry)
		}
		return entry != "" && host == entry
	}
	return slices.ContainsFunc(domains, in) || slices.ContainsFunc(allow, in)
}

// shown is a caller's URL for an error: without what could be a secret in it,
// printable and bounded.
func shown(raw string) string {
	if i := strings.LastIndexByte(raw, '@'); i >= 0 {
		raw = "..." + raw[i:]
	}
	return strconv.Quote(Redact(bound(raw, 128)))
}

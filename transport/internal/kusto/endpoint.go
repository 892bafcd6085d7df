package kusto

import (
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

// ParseCluster reads the address of a cluster in any of its spellings
// ([ParseAddress]) and derives both endpoints: the data management host is the
// engine host with "ingest-" before its first label, and with "private-" before
// that where the address is a private one. Hosts that are IP addresses,
// localhost, or have a port that is not the scheme's own serve both under one
// name.
//
// The URL must be https; http is accepted for a loopback host only. The host
// must be in a known Kusto domain, be in allow, or be loopback. An entry of
// allow is a host name, or a domain with a leading dot. Every violation is an
// [ingest.FieldError] of the field "endpoint".
func ParseCluster(raw string, allow []string) (Cluster, error) {
	a, err := ParseAddress(raw)
	if err != nil {
		return Cluster{}, err
	}
	if !a.Loopback && !trusted(a.host, allow) {
		return Cluster{}, &ingest.FieldError{Field: "endpoint", Value: shown(raw),
			Rule: "is not in a known Kusto domain (" + rightSpelling + "); add the host to AllowHosts if a token may be sent there"}
	}
	c := Cluster{DM: a.Engine, Engine: a.Engine, Loopback: a.Loopback}
	switch {
	case a.private:
		c.DM = a.at(privatePrefix + dmPrefix)
	case a.named:
		c.DM = a.at(dmPrefix)
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
		// A listed host stands for the cluster's other ones as well.
		if a != "" && bare(host) == bare(a) {
			return true
		}
	}
	return false
}

// bare is a host without the prefixes of a cluster's services.
func bare(host string) string {
	return strings.TrimPrefix(strings.TrimPrefix(host, privatePrefix), dmPrefix)
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

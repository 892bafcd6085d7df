package kusto

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"kustospool/ingest"
)

// Address is a cluster's address, read from any of its spellings: the URL of
// either service, public or private, with or without the port that https has
// anyway, with a database as its path, or a connection string. What is the same
// cluster has the same Name.
type Address struct {
	// Name is the URL of the cluster's public engine, the spelling that stands
	// for all others.
	Name string
	// Engine is the URL of the cluster's engine as it was given, which is the
	// private one for a private address.
	Engine string
	// Database is the one that the address names as the default; empty for none.
	Database string
	// Loopback says that the cluster is on this machine.
	Loopback bool

	scheme, host, port string // host without a prefix; port empty where it is the scheme's own
	named              bool   // the host has a name to change for the other service
	private            bool   // of the private endpoint in a virtual network
}

// privatePrefix is what the names of a cluster's services begin with inside its
// virtual network: private-NAME and private-ingest-NAME
// (learn.microsoft.com/azure/data-explorer/vnet-create-cluster-portal).
const privatePrefix = "private-"

// rightSpelling ends the rule that a spelling breaks.
const rightSpelling = "write https://NAME.REGION.kusto.windows.net"

// properties of a connection string that say where the cluster is, or nothing
// that matters to ingestion, by their names and aliases in lower case
// (learn.microsoft.com/kusto/api/connection-strings/kusto).
var (
	sourceProperties    = map[string]bool{"data source": true, "addr": true, "address": true, "network address": true, "server": true}
	databaseProperties  = map[string]bool{"initial catalog": true, "database": true}
	federatedProperties = map[string]bool{"aad federated security": true, "federated security": true, "federated": true, "fed": true, "aadfed": true}
	idleProperties      = map[string]bool{"accept": true, "streaming": true, "uncompressed": true}
)

// ParseAddress reads an address. Every violation is an [ingest.FieldError] of
// the field "endpoint", which tells how it is to be written. Whether a token may
// be sent there is not asked: see [ParseCluster].
func ParseAddress(raw string) (Address, error) {
	bad := func(rule string) (Address, error) {
		return Address{}, &ingest.FieldError{Field: "endpoint", Value: shown(raw), Rule: rule}
	}
	text, database, rule := connectionString(strings.TrimSpace(raw))
	if rule != "" {
		// The value may be a secret, whatever it is called.
		return Address{}, &ingest.FieldError{Field: "endpoint", Rule: rule}
	}
	u, err := url.Parse(text)
	switch {
	case err != nil && !strings.Contains(text, "://"):
		return bad("must begin with https://; " + spelledOut(text))
	case err != nil:
		return bad("must be a URL; " + rightSpelling)
	case u.User != nil:
		return bad("must not hold a user name or password; pass a credential instead")
	case u.Scheme != "https" && u.Scheme != "http":
		return bad("must begin with https://; " + spelledOut(text))
	case u.Opaque != "" || u.Hostname() == "":
		return bad("must name a host after https://; " + rightSpelling)
	}
	if name, ok := ofPage(u); ok {
		return bad("is the address of a page, not of a cluster; write " + name)
	}
	if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return bad("must have no query and no fragment; write https://" + u.Host)
	}
	path := strings.Trim(u.Path, "/")
	switch {
	case strings.Contains(path, "/"):
		return bad("must have no path, or the name of a database as its path; write " + u.Scheme + "://" + u.Host)
	case path != "" && database != "" && path != database:
		return bad("names two databases")
	case path != "":
		database = path
	}
	port := u.Port()
	if port != "" {
		n, err := strconv.Atoi(port)
		if err != nil || n < 1 || n > 65535 {
			return bad("must have a port from 1 to 65535, or none")
		}
		if port = strconv.Itoa(n); u.Scheme == "https" && n == 443 || u.Scheme == "http" && n == 80 {
			port = ""
		}
	} else if strings.HasSuffix(u.Host, ":") {
		return bad("must have a port after its colon, or no colon")
	}
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	ip, err := netip.ParseAddr(host)
	switch {
	case err == nil && ip.Zone() == "":
		ip = ip.Unmap()
		host = ip.String()
	case strings.Trim(host, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" || host == "":
		return bad("must have a host of letters, digits, hyphens and dots, or an IP address without a zone")
	}
	a := Address{Database: database, Loopback: ingest.IsLoopback(host), scheme: u.Scheme, host: host, port: port}
	if a.scheme == "http" && !a.Loopback {
		return bad("must be https; plain http is for this machine only; write https://" + host)
	}
	if a.named = !ip.IsValid() && !a.Loopback && port == ""; a.named {
		a.host, a.private = strings.CutPrefix(a.host, privatePrefix)
		a.host = strings.TrimPrefix(a.host, dmPrefix)
	}
	a.Name, a.Engine = a.at(""), a.at("")
	if a.private {
		a.Engine = a.at(privatePrefix)
	}
	return a, nil
}

// at is the URL of the host with a prefix.
func (a *Address) at(prefix string) string {
	host := prefix + a.host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if a.port != "" {
		host += ":" + a.port
	}
	return a.scheme + "://" + host
}

// connectionString takes a connection string apart; an address without
// properties is given back as it is. rule is what it breaks.
func connectionString(text string) (source, database, rule string) {
	parts := strings.Split(text, ";")
	for i, part := range parts {
		part = strings.TrimSpace(part)
		name, value, found := strings.Cut(part, "=")
		name = strings.ToLower(strings.Join(strings.Fields(name), " "))
		value = strings.Trim(strings.TrimSpace(value), `"`)
		switch {
		case part == "":
		case found && sourceProperties[name], i == 0 && !(found && (databaseProperties[name] || federatedProperties[name] || idleProperties[name])):
			if !sourceProperties[name] {
				value = part
			}
			if source != "" {
				return "", "", "must name one cluster"
			}
			source = value
		case !found:
			return "", "", "must be a URL, with properties such as Fed=True behind it; " + rightSpelling
		case databaseProperties[name]:
			database = value
		case federatedProperties[name]:
			if !strings.EqualFold(value, "true") {
				return "", "", "must have Fed=True or no such property; --auth none, or no credential, means none"
			}
		case idleProperties[name]:
		default:
			return "", "", "must have no properties but the address, the database and Fed=True; a credential is given apart from it; " + rightSpelling
		}
	}
	return source, database, ""
}

// spelledOut guesses what was meant by an address without a scheme.
func spelledOut(text string) string {
	host, _, _ := strings.Cut(strings.TrimLeft(text, "@/"), "/")
	for _, r := range strings.ToLower(host) {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '.' {
			return rightSpelling
		}
	}
	switch dots := strings.Count(host, "."); {
	case host == "":
		return rightSpelling
	case dots <= 1: // NAME, or NAME.REGION
		return "write https://" + strings.ToLower(host) + ".kusto.windows.net"
	}
	return "write https://" + strings.ToLower(host)
}

// portals are hosts of pages about clusters whose addresses do not name one.
var portals = map[string]bool{"portal.azure.com": true, "portal.azure.us": true, "portal.azure.cn": true, "app.fabric.microsoft.com": true, "app.powerbi.com": true, "msit.powerbi.com": true, "msit.fabric.microsoft.com": true}

// ofPage recognises the address of a page about a cluster, and gives the
// cluster's: the web client's address names it.
func ofPage(u *url.URL) (string, bool) {
	host := strings.ToLower(u.Hostname())
	if portals[host] {
		return "its Query URI or its Ingestion URI, which the page shows: https://NAME.REGION.kusto.windows.net, or https://trd-NAME.z0.kusto.fabric.microsoft.com of an eventhouse", true
	}
	if host != "dataexplorer.azure.com" {
		return "", false
	}
	rest, found := strings.CutPrefix(strings.Trim(u.Path, "/"), "clusters/")
	host, _, _ = strings.Cut(rest, "/")
	if !found || host == "" {
		return "https://NAME.REGION.kusto.windows.net", true
	}
	return strings.TrimPrefix(spelledOut(host), "write "), true
}

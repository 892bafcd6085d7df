package main

import (
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"kustospool/ingest"
)

// targetKind is what --to names.
type targetKind int

const (
	toCluster   targetKind = iota + 1 // an https (or loopback http) cluster URL
	toDirectory                       // dir:PATH
	toSimulator                       // sim:
)

// target is a parsed --to.
type target struct {
	kind     targetKind
	text     string // as it can be given again
	endpoint string // of toCluster
	dir      string // of toDirectory
	loopback bool   // of toCluster
}

const targetForms = "must be a cluster's URL such as https://ingest-NAME.REGION.kusto.windows.net, or dir:PATH, or sim:"

// parseTarget reads --to. It does not look at the network or the disk.
func parseTarget(s string) (target, error) {
	if s == "" {
		return target{}, usagef("--to is missing: it %s", targetForms)
	}
	scheme, rest, found := strings.Cut(s, ":")
	if !found {
		return target{}, usagef("--to %q: %s", s, targetForms)
	}
	switch strings.ToLower(scheme) {
	case "sim":
		if rest != "" {
			return target{}, usagef("--to %q: sim: takes nothing behind the colon; for a simulator that runs elsewhere give its http address", s)
		}
		return target{kind: toSimulator, text: "sim:"}, nil
	case "dir":
		if rest == "" {
			return target{}, usagef("--to %q: names no directory", s)
		}
		abs, err := filepath.Abs(rest)
		if err != nil {
			return target{}, usagef("--to %q: %w", s, err)
		}
		return target{kind: toDirectory, text: "dir:" + abs, dir: abs}, nil
	case "https", "http":
		return parseCluster(s)
	}
	return target{}, usagef("--to %q: %s", s, targetForms)
}

func parseCluster(s string) (target, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		// The parser's own text repeats the URL, user info and all.
		return target{}, usagef("--to: is not a URL; it %s", targetForms)
	case u.User != nil:
		return target{}, usagef("--to: a cluster's URL holds no user name or password; see --auth")
	case u.RawQuery != "" || u.Fragment != "":
		return target{}, usagef("--to: a cluster's URL has no query; the database is given with --database")
	case u.Host == "" || u.Hostname() == "":
		return target{}, usagef("--to %q: has no host; two slashes follow the scheme, https://HOST", s)
	}
	loopback := ingest.IsLoopback(u.Hostname())
	if u.Scheme == "http" && !loopback {
		return target{}, usagef("--to %q: http is for this machine's own addresses only; a cluster is reached over https", s)
	}
	u.Host = strings.ToLower(u.Host)
	u.Path = strings.TrimSuffix(u.Path, "/")
	return target{kind: toCluster, text: u.String(), endpoint: u.String(), loopback: loopback}, nil
}

// defaultSpool is the spool directory of a target for which none was named:
// the same one for each run, another one for each target.
func (t target) defaultSpool() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", usagef("--spool is missing, and there is no user cache directory to default to: %w", err)
	}
	sum := sha256.Sum256([]byte(t.text))
	return filepath.Join(base, "kustospool", hex.EncodeToString(sum[:8])), nil
}

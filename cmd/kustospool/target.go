package main

import (
	"errors"
	"net/url"
	"path/filepath"
	"strings"

	"kustospool/ingest"
	"kustospool/transport/address"
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
	name     string // the same for all spellings of one target
	text     string // as it can be given again
	endpoint string // of toCluster
	database string // that the address of a cluster names; empty for none
	given    string // of toCluster, as older versions wrote it
	dir      string // of toDirectory
	loopback bool   // of toCluster
}

const targetForms = "must be a cluster's URL such as https://ingest-NAME.REGION.kusto.windows.net, or dir:PATH, or sim:"

// parseTarget reads --to. It does not look at the network or the disk.
func parseTarget(s string) (target, error) {
	if s == "" {
		return target{}, usagef("--to is missing: it %s", targetForms)
	}
	scheme, rest, _ := strings.Cut(s, ":")
	switch strings.ToLower(scheme) {
	case "sim":
		if rest != "" {
			return target{}, usagef("--to %q: sim: takes nothing behind the colon; for a simulator that runs elsewhere give its http address", s)
		}
		return target{kind: toSimulator, name: "sim:", text: "sim:"}, nil
	case "dir":
		if rest == "" {
			return target{}, usagef("--to %q: names no directory", s)
		}
		abs, err := filepath.Abs(rest)
		if err != nil {
			return target{}, usagef("--to %q: %w", s, err)
		}
		return target{kind: toDirectory, name: "dir:" + abs, text: "dir:" + abs, dir: abs}, nil
	}
	return parseCluster(s)
}

func parseCluster(s string) (target, error) {
	a, err := address.Parse(s)
	bad, ok := errors.AsType[*ingest.FieldError](err)
	switch {
	case ok && bad.Value != "":
		return target{}, usagef("--to %s: %s; or give dir:PATH, or sim:", bad.Value, bad.Rule)
	case ok:
		return target{}, usagef("--to: %s; or give dir:PATH, or sim:", bad.Rule)
	case err != nil:
		return target{}, usagef("--to: %w", err)
	}
	t := target{kind: toCluster, name: a.Name, text: a.Engine, endpoint: a.Engine, database: a.Database, loopback: a.Loopback}
	if u, err := url.Parse(s); err == nil {
		t.given = strings.ToLower(u.Scheme + "://" + u.Host)
	}
	return t, nil
}

// databaseOr is the database that is named: with --database, in the address, or the
// same one in both.
func (t target) databaseOr(named string) (string, error) {
	switch {
	case t.database == "" || t.database == named:
		return named, nil
	case named == "":
		return t.database, nil
	}
	return "", usagef("--to names the database %q, and --database %q: the address needs none", t.database, named)
}

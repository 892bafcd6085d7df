package main

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
)

// defaultSpool is the spool directory of a target for which none was named: the
// same one for each run and for each spelling, another one for each target.
//
// Before all spellings were one target each had a spool of its own. Where there
// is one of those and no other, it is the target's; others that may still hold
// something are older.
func (t target) defaultSpool() (dir string, older []string, err error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", nil, usagef("--spool is missing, and there is no user cache directory to default to: %w", err)
	}
	of := func(spelling string) string {
		sum := sha256.Sum256([]byte(spelling))
		return filepath.Join(base, "kustospool", hex.EncodeToString(sum[:8]))
	}
	dir = of(t.name)
	exists := mustBeSpool(dir) == nil
	for _, spelling := range t.olderSpellings() {
		switch other := of(spelling); {
		case other == dir || mustBeSpool(other) != nil:
		case !exists:
			dir, exists = other, true
		default:
			if n, err := spooledIn(other, true); n > 0 || err != nil {
				older = append(older, other)
			}
		}
	}
	return dir, older, nil
}

// olderSpellings are those under which the target may have a spool of an older
// version. They lowered the host, and cut a slash at the end.
func (t target) olderSpellings() []string {
	if t.kind != toCluster {
		return nil
	}
	scheme, host, _ := strings.Cut(t.name, "://")
	port := ":443"
	if scheme == "http" {
		port = ":80"
	}
	var all []string
	for _, prefix := range []string{"ingest-", "", "private-ingest-", "private-"} {
		for _, end := range []string{"", port} {
			all = append(all, scheme+"://"+prefix+host+end)
		}
	}
	return append(all, t.given)
}

// tellOlder names the other spools of a target.
func (t target) tellOlder(c *console, older []string) {
	for _, dir := range older {
		c.tell("Another spool of this target, made under another spelling of it, may hold records that are not delivered: %s. To deliver them:\n  %s", dir, goOn(t, dir))
	}
}

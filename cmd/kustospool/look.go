package main

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"kustospool/engine"
	"kustospool/store"
)

// spoolSettings are the flags that name a spool that is there.
type spoolSettings struct {
	to    string
	spool string
	trust bool
}

func (s *spoolSettings) register(fs *pflag.FlagSet) {
	fs.StringVar(&s.spool, "spool", "", "spool directory")
	fs.StringVar(&s.to, "to", "", "target whose default spool is meant, where --spool is not given")
	fs.BoolVar(&s.trust, "trust-directory", false, trustUsage)
}

// lookSettings are the flags of the commands that look at a spool once.
type lookSettings struct {
	spoolSettings
	json bool
	lock time.Duration
}

func (s *lookSettings) register(fs *pflag.FlagSet) {
	s.spoolSettings.register(fs)
	fs.BoolVar(&s.json, "json", false, "print JSON")
	fs.DurationVar(&s.lock, "lock-timeout", time.Second, "how long to wait for a spool that another process has open")
}

// dir is as of spoolSettings.
func (s *lookSettings) dir(c *console) (string, error) {
	if s.lock < 0 {
		return "", usagef("--lock-timeout %s: must not be negative", s.lock)
	}
	return s.spoolSettings.dir(c)
}

// dir is the spool's directory. It is there. Other spools that the target may
// have are told of.
func (s *spoolSettings) dir(c *console) (string, error) {
	dir := s.spool
	switch {
	case dir == "" && s.to == "":
		return "", usagef("name the spool: either --spool DIR, or --to TARGET for the target's default one")
	case dir == "":
		t, err := parseTarget(s.to)
		if err != nil {
			return "", err
		}
		var older []string
		if dir, older, err = t.defaultSpool(); err != nil {
			return "", err
		}
		t.tellOlder(c, older)
	}
	return dir, mustBeSpool(dir)
}

// look opens the spool for reading, for the table that drain is to create. found
// hears of damage.
func (s *lookSettings) look(dir string, found *findings) (*store.Picture, error) {
	p, err := store.Look(dir, &store.Options{Logger: slog.New(openingLog{found: found}), TrustDirectory: s.trust, LockTimeout: s.lock})
	var locked *store.LockedError
	if errors.As(err, &locked) {
		return nil, refusedError{fmt.Errorf("%w, which delivers it: create the table in the service, or stop that process first", err)}
	}
	return p, err
}

// view opens the spool for reading. found hears of damage. One in use is an
// [engine.LockedError].
func (s *lookSettings) view(dir string, found *findings) (*engine.View, error) {
	return engine.Look(dir, &engine.Options{Logger: slog.New(openingLog{found: found}), TrustDirectory: s.trust, LockTimeout: s.lock})
}

// tableLanes are the lanes of a table that is named as TABLE or DB.TABLE.
func tableLanes(p *store.Picture, name string) ([]uint32, error) {
	var lanes []uint32
	tables := map[string]bool{}
	databases := map[string]bool{}
	for _, id := range p.Lanes() {
		props, _ := p.LaneProperties(id)
		full := props.Database + "." + props.Table
		tables[full] = true
		if name == full || name == props.Table {
			lanes = append(lanes, id)
			databases[props.Database] = true
		}
	}
	switch {
	case len(lanes) == 0 && len(tables) == 0:
		return nil, usagef("table %q: the spool has no table", name)
	case len(lanes) == 0:
		return nil, usagef("table %q: must be one of the spool's: %s", name, strings.Join(slices.Sorted(maps.Keys(tables)), ", "))
	case len(databases) > 1:
		return nil, usagef("table %q: is in the databases %s; name it as DB.TABLE", name, strings.Join(slices.Sorted(maps.Keys(databases)), ", "))
	}
	return lanes, nil
}

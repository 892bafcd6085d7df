package main

import (
	"strings"
	"time"

	"github.com/spf13/pflag"

	"kustospool/engine"
)

// orderSettings are the flags that say what goes first.
type orderSettings struct {
	classes    []string
	freshFirst bool
	freshShare int
	freshFor   time.Duration
}

func (s *orderSettings) register(fs *pflag.FlagSet) {
	fs.StringArrayVar(&s.classes, "class", nil, "which tables go first: alarm, normal or bulk, of the table that is sent, or of all; DATABASE.TABLE=CLASS for one; may be repeated")
	fs.BoolVar(&s.freshFirst, "fresh-first", false, "send what is new before what waits from earlier; default the order of acceptance")
	fs.IntVar(&s.freshShare, "fresh-share", engine.DefaultFreshShare, "with --fresh-first: what the new has of the link while older data waits, in percent; the older has the rest")
	fs.DurationVar(&s.freshFor, "fresh-for", engine.DefaultFreshFor, "with --fresh-first: how long a batch counts as new")
}

// apply sets what the flags say. A class without a table is that of own, or of
// all tables where own names none.
func (s *orderSettings) apply(opts *engine.Options, own engine.TableName) error {
	if s.freshShare < 1 || s.freshShare > 99 {
		return usagef("--fresh-share %d: must be from 1 to 99 percent", s.freshShare)
	}
	if s.freshFor < time.Second {
		return usagef("--fresh-for %s: must be at least a second", s.freshFor)
	}
	opts.FreshShare, opts.FreshFor = s.freshShare, s.freshFor
	if s.freshFirst {
		opts.Order = engine.FreshFirst
		if opts.Senders == 1 {
			return usagef("--fresh-first: wants --senders 2 at least, so that what is new need not wait for an old batch on the wire")
		}
	}
	for _, text := range s.classes {
		i := strings.LastIndexByte(text, '=')
		class, err := engine.ParseClass(text[i+1:])
		if err != nil {
			return usageError{err}
		}
		name := own
		if i >= 0 {
			database, table, ok := strings.Cut(text[:i], ".")
			if !ok || database == "" || table == "" {
				return usagef("--class %q: a table is named DATABASE.TABLE", text)
			}
			name = engine.TableName{Database: database, Table: table}
		}
		if name == (engine.TableName{}) {
			opts.Class = class
			continue
		}
		if opts.Tables == nil {
			opts.Tables = make(map[engine.TableName]engine.TableOptions)
		}
		t := opts.Tables[name]
		t.Class = class
		opts.Tables[name] = t
	}
	return nil
}

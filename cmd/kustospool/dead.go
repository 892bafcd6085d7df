package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/internal/quantity"
)

type deadSettings struct {
	lookSettings
	table  string
	code   string
	since  sinceTime
	before sinceTime
	all    bool
	limit  int

	out string

	from      string
	toDB      string
	toTable   string
	toMapping string
	noMapping bool
	doubles   bool
	apply     bool
	maxDisk   byteSize
}

func deadCommand() *command {
	return &command{
		name:     "dead",
		synopsis: "list|show|export|retry|drop [ID...] --spool DIR | --to TARGET [flags]",
		summary:  "list, show, export, retry or drop the dead letters of a spool",
		help: `A dead letter is a batch that the service refuses for good, a line of an input that is no
record, or what is left of damaged data; mostly it is one record. It waits in the spool
until somebody deals with it.

  list     the dead letters that wait: since when, table, records, and why
  show     one or some of them, with the beginning of their records
  export   write their records to files of the directory --out, to be repaired there
  retry    store their records again, as new ones, and take the dead letters away
  drop     delete them and their records

Which: by their IDs, and by --table, --code, --since and --before, which all must fit;
retry and drop want one of these, or --all. TIME is a time such as 2026-11-27T05:00:00Z, a
date, or how long ago, such as 48h.

retry and drop print a plan and change nothing; --apply does it. A retry goes to the same
table by the same mapping unless flags name others, as part of a new batch. A repeat, or
the end of the process at any moment, doubles nothing and loses nothing. Where the
outcome of an attempt was never learned the records may be in the table already: that is
told, and --accept-doubles sends them all the same. --from names a file with the
repaired records of one dead letter, or a directory as export has written it, whose
files are the repaired records of the dead letters that they are named after; they take
the place of the old ones as a whole.

A spool that a process has open is asked through its socket, and does what it is told;
repaired records may then have 4 MiB at most. What is retried waits in the spool until it
is delivered, by the program whose spool it is or by kustospool drain. --apply and what else
says what is to be done is taken from the command line alone.

Examples:
  kustospool dead list --spool /var/spool/fleet
  kustospool dead show 8b5c0f3e-7d1a-8c42-9d0e-3f2b1a6c7d88 --spool /var/spool/fleet
  kustospool dead export --table Readings --out repaired --spool /var/spool/fleet
  kustospool dead retry --from repaired --apply --spool /var/spool/fleet
  kustospool dead retry --code BadRequest_MappingReferenceWasNotFound \
      --to-mapping readings_v2 --apply --spool /var/spool/fleet
  kustospool dead drop --before 720h --apply --spool /var/spool/fleet

Exit codes: 0 shown or done, 1 of some it could not be done, or one cannot be read, 2 the
command is wrong or the spool cannot be had.`,
		flags: func(fs *pflag.FlagSet) any {
			s := new(deadSettings)
			fs.StringVar(&s.table, "table", "", "those of this table, TABLE or DB.TABLE")
			fs.StringVar(&s.code, "code", "", "those whose failure has this code or class, such as BadRecord or malformed")
			fs.Var(&s.since, "since", "those that were set aside at this time or later")
			fs.Var(&s.before, "before", "those that were set aside before this time")
			fs.BoolVar(&s.all, "all", false, "all of them")
			fs.IntVar(&s.limit, "limit", 50, "how many to list or show, and of how many the plan is printed; 0 means all")
			fs.StringVar(&s.out, "out", "", "export: directory to write to; it is made where it is missing, and no file is overwritten")
			fs.StringVar(&s.from, "from", "", "retry: file with repaired records, or directory of such files")
			onLineOnly(fs, "from")
			fs.StringVar(&s.toDB, "to-database", "", "retry: database to send them to instead")
			fs.StringVar(&s.toTable, "to-table", "", "retry: table to send them to instead")
			fs.StringVar(&s.toMapping, "to-mapping", "", "retry: mapping at the service to use instead")
			fs.BoolVar(&s.noMapping, "no-mapping", false, "retry: use no mapping")
			fs.BoolVar(&s.doubles, "accept-doubles", false, "retry: also what may be in the table already")
			fs.BoolVar(&s.apply, "apply", false, "retry, drop: do it")
			fs.Var(&s.maxDisk, "max-disk", "retry, of a spool at rest: bound on all of its files; default 8GiB")
			for _, name := range []string{"all", "out", "from", "to-database", "to-table", "to-mapping", "no-mapping", "accept-doubles", "apply"} {
				fs.Lookup(name).Annotations = map[string][]string{lineOnly: {}} // an environment must not apply a plan
			}
			s.register(fs)
			return s
		},
		run: func(ctx context.Context, c *console, settings any, args []string) (int, error) {
			return dead(ctx, c, settings.(*deadSettings), args)
		},
	}
}

// deadReader is where dead letters are read: a spool at rest, or one in use.
type deadReader interface {
	DeadLetters() iter.Seq2[engine.DeadLetter, error]
	OpenDeadLetter(ingest.BatchID) (io.ReadCloser, error)
	PlanRetry(context.Context, ingest.BatchID, *engine.Retry) (engine.RetryPlan, error)
	Close() error
}

// deadHandler can also deal with them.
type deadHandler interface {
	deadReader
	RetryDeadLetter(context.Context, ingest.BatchID, *engine.Retry) (engine.Retried, error)
	RemoveDeadLetter(ingest.BatchID) error
}

// deadVerbs are what dead can do, with the flags that are for it alone.
var deadVerbs = map[string][]string{
	"list":   nil,
	"show":   nil,
	"export": {"out"},
	"retry":  {"from", "to-database", "to-table", "to-mapping", "no-mapping", "accept-doubles", "max-disk", "apply"},
	"drop":   {"apply"},
}

func dead(ctx context.Context, c *console, s *deadSettings, args []string) (code int, err error) {
	const verbs = "list, show, export, retry or drop"
	if len(args) == 0 {
		return 0, usagef("say what to do: %s", verbs)
	}
	verb := args[0]
	if _, ok := deadVerbs[verb]; !ok {
		return 0, usagef("dead %q: must be %s", verb, verbs)
	}
	var ids []ingest.BatchID
	for _, text := range args[1:] {
		id, err := ingest.ParseBatchID(text)
		if err != nil {
			return 0, usagef("%q: must be the ID of a dead letter, as kustospool dead list prints it", text)
		}
		ids = append(ids, id)
	}
	if err := s.check(verb, ids); err != nil {
		return 0, err
	}
	dir, err := s.dir(c)
	if err != nil {
		return 0, err
	}
	box, handler, err := s.open(ctx, dir)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, box.Close()) }()
	chosen, broken, err := s.choose(box, ids)
	if err != nil {
		return 0, err
	}
	if len(broken) > 0 {
		code = exitFailed
		for _, err := range broken {
			c.note("kustospool dead: %s", err)
		}
	}
	done := exitOK
	switch verb {
	case "list":
		err = s.list(c, chosen)
	case "show":
		err = s.show(c, box, chosen)
	case "export":
		done, err = s.export(ctx, c, box, chosen)
	case "retry":
		done, err = s.retry(ctx, c, box, handler, chosen)
	case "drop":
		done, err = s.drop(ctx, c, handler, chosen)
	}
	return max(code, done), err
}

// check refuses flags that do not fit.
func (s *deadSettings) check(verb string, ids []ingest.BatchID) error {
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"out", s.out != ""}, {"from", s.from != ""}, {"to-database", s.toDB != ""}, {"to-table", s.toTable != ""}, {"to-mapping", s.toMapping != ""},
		{"no-mapping", s.noMapping}, {"accept-doubles", s.doubles}, {"apply", s.apply}, {"max-disk", s.maxDisk != 0},
	} {
		if f.set && !slices.Contains(deadVerbs[verb], f.name) {
			return usagef("--%s is not for dead %s", f.name, verb)
		}
	}
	chosen := len(ids) > 0 || s.all || s.table != "" || s.code != "" || !s.since.IsZero() || !s.before.IsZero()
	switch {
	case s.limit < 0:
		return usagef("--limit %d: must not be negative", s.limit)
	case s.all && len(ids) > 0:
		return usagef("--all: must not be given beside IDs")
	case verb == "export" && s.out == "":
		return usagef("dead export wants a directory to write to: --out DIR")
	case s.toMapping != "" && s.noMapping:
		return usagef("--no-mapping: must not be given beside --to-mapping")
	case s.maxDisk != 0 && s.maxDisk < leastDisk:
		return usagef("--max-disk %d: must be at least %d bytes, %s", int64(s.maxDisk), leastDisk, quantity.Size(leastDisk))
	case (verb == "show" || verb == "drop" || verb == "retry" && s.from == "") && !chosen:
		return usagef("dead %s: say which, by ID, --table, --code, --since or --before; or --all", verb)
	}
	return nil
}

// open opens the spool: for a look, which changes nothing, or where --apply is
// given to be changed. Of one in use its process is asked.
func (s *deadSettings) open(ctx context.Context, dir string) (deadReader, deadHandler, error) {
	o := &engine.Options{TrustDirectory: s.trust, LockTimeout: s.lock, MaxDiskBytes: int64(s.maxDisk)}
	if s.maxDisk > 0 {
		o.SegmentBytes = min(int64(s.maxDisk)/8, mostSegment)
	}
	var box deadReader
	var handler deadHandler
	var err error
	if s.apply {
		var idle *engine.Idle
		idle, err = engine.OpenIdle(dir, o)
		box, handler = idle, idle
	} else {
		box, err = engine.Look(dir, o)
	}
	var locked *engine.LockedError
	if errors.As(err, &locked) {
		client, err := s.owner(ctx, locked)
		if err != nil {
			return nil, nil, err
		}
		owned := &deadInUse{ctx, client}
		return owned, owned, nil
	}
	return box, handler, err
}

// choose gives the dead letters that are meant, the oldest first, and the
// errors of those that cannot be read.
func (s *deadSettings) choose(box deadReader, ids []ingest.BatchID) (chosen []engine.DeadLetter, broken []error, err error) {
	filter := engine.DeadLetterFilter{Batches: ids, Code: s.code, From: s.since.Time, Before: s.before.Time}
	missing := map[ingest.BatchID]bool{}
	for _, id := range ids {
		missing[id] = true
	}
	for d, err := range box.DeadLetters() {
		if err != nil {
			broken = append(broken, err)
			continue
		}
		delete(missing, d.Batch.ID)
		p := &d.Batch.Properties
		if filter.Match(&d) && (s.table == "" || s.table == p.Table || s.table == p.Database+"."+p.Table) {
			chosen = append(chosen, d)
		}
	}
	for _, id := range ids {
		if missing[id] && len(broken) == 0 {
			return nil, nil, usagef("%s: there is no such dead letter; see kustospool dead list", id)
		}
	}
	slices.SortStableFunc(chosen, func(a, b engine.DeadLetter) int {
		return cmp.Or(a.Updated.Compare(b.Updated), strings.Compare(a.Batch.ID.String(), b.Batch.ID.String()))
	})
	return chosen, broken, nil
}

// shown is as many of them as --limit lets be seen.
func (s *deadSettings) shown(c *console, all []engine.DeadLetter) []engine.DeadLetter {
	if s.limit > 0 && len(all) > s.limit {
		c.tell("%d more are not shown; see --limit.", len(all)-s.limit)
		return all[:s.limit]
	}
	return all
}

// lettersIn counts dead letters and their records, in words.
func lettersIn(n int, records int64) string {
	letters, words := "dead letters", "records"
	if n == 1 {
		letters = "dead letter"
	}
	if records == 1 {
		words = "record"
	}
	return fmt.Sprintf("%d %s with %d %s", n, letters, records, words)
}

// mustBeDir makes a directory where there is none.
func mustBeDir(path string) error {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return usagef("--out %s: %w", path, err)
	}
	return nil
}

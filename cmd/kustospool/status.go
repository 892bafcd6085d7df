package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"kustospool/operate"
)

type statusSettings struct {
	lookSettings
	limit  int
	watch  bool
	every  time.Duration
	nagios bool
	bounds nagiosBounds
}

func statusCommand() *command {
	return &command{
		name:     "status",
		synopsis: "[RECEIPT] --spool DIR | --to TARGET [flags]",
		summary:  "show what a spool holds, since when and why, without a network",
		help: `Shows the troubles of a spool and what to do about each, its counters, what each table
waits for and since when, the batches that are not settled with what the service last said
about them, the dead letters, what was set aside because of damage, and damage that it
finds. Of a spool in use its process is asked, by the socket that it listens on; then
there are rates, the time until it is empty, and its bound on disk as well. One at rest
is read. It delivers nothing, repairs nothing, and leaves every file as it is. Of one
whose ledger is damaged it says what opening it would do.

With a RECEIPT, which an ingestion returned, it tells of its records alone: which wait,
and what became of the others. RECEIPT is the id of a record, or ID+N for N records.

With --watch it goes on until it is interrupted, on a screen that fits the terminal.

With --nagios it prints one line with performance data, for Nagios, Icinga and what is
like them. It is critical when a trouble is, or a bound of --critical-... is reached, and
a warning when a trouble is one, or a bound of --warn-... is reached.

Examples:
  kustospool status --spool /var/spool/fleet
  kustospool status --spool /var/spool/fleet --watch
  kustospool status --spool /var/spool/fleet --nagios --warn-age 10m --critical-age 2h
  kustospool status ds14c7fk5v9ke000001000000000000a+5 --spool /var/spool/fleet
  kustospool status --to https://ingest-help.westeurope.kusto.windows.net --json

Exit codes: 0 shown, 1 the ledger cannot be read, 2 the command is wrong or the spool
cannot be had; with --nagios 0 well, 1 warning, 2 critical, 3 not known.`,
		flags: func(fs *pflag.FlagSet) any {
			s := new(statusSettings)
			s.register(fs)
			fs.IntVar(&s.limit, "limit", 20, "how many batches, dead letters and files to list; 0 means all, and 2000 are the most")
			fs.BoolVar(&s.watch, "watch", false, "show it again and again, until interrupted")
			fs.DurationVar(&s.every, "every", 2*time.Second, "how often --watch looks")
			fs.BoolVar(&s.nagios, "nagios", false, "print one line as monitoring plugins do, and exit as they do")
			s.bounds.register(fs)
			return s
		},
		run: func(ctx context.Context, c *console, settings any, args []string) (int, error) {
			return status(ctx, c, settings.(*statusSettings), args)
		},
	}
}

// leastWatch is how often --watch may look.
const leastWatch = 100 * time.Millisecond

func (s *statusSettings) check(args []string) error {
	switch {
	case len(args) > 1:
		return usagef("status takes one receipt at most, and %d were given; the spool is named with --spool", len(args))
	case s.limit < 0:
		return usagef("--limit %d: must not be negative", s.limit)
	case s.every < leastWatch:
		return usagef("--every %s: must be at least %s", s.every, leastWatch)
	case s.watch && s.nagios, len(args) == 1 && (s.watch || s.nagios):
		return usagef("a receipt, --watch and --nagios do not go together")
	}
	return s.bounds.check()
}

func status(ctx context.Context, c *console, s *statusSettings, args []string) (int, error) {
	if err := s.check(args); err != nil {
		return s.unknown(c, err)
	}
	dir, err := s.dir(c)
	if err != nil {
		return s.unknown(c, err)
	}
	if s.watch {
		return s.watchIt(ctx, c, dir)
	}
	if len(args) == 1 {
		return s.receipt(ctx, c, dir, args[0])
	}
	shown, err := s.now(ctx, dir)
	switch {
	case err != nil:
		return s.unknown(c, err)
	case s.nagios:
		return s.bounds.judge(c.out, shown)
	case s.json:
		return exitOK, json.NewEncoder(c.out).Encode(shown)
	}
	return exitOK, writeStatus(c.out, shown)
}

// unknown ends a status that could not be had. A monitor is told in its own way.
func (s *statusSettings) unknown(c *console, err error) (int, error) {
	if s.nagios {
		return nagiosUnknown(c.out, err)
	}
	return 0, err
}

// now asks for the status.
func (s *statusSettings) now(ctx context.Context, dir string) (*operate.Status, error) {
	a, err := s.ask(ctx, dir)
	if err != nil {
		return nil, err
	}
	limit := s.limit
	if limit == 0 {
		limit = operate.MaxListed
	}
	shown, err := a.Status(ctx, operate.StatusQuery{Limit: limit})
	if err := errors.Join(err, a.close()); err != nil {
		return nil, err
	}
	if found := a.found.end(); len(found) > 0 {
		shown.Found = append(shown.Found, found...)
		shown.Troubles = operate.Diagnose(shown)
	}
	shown.Spool = dir // a process may know it by another name
	return shown, nil
}

func (s *statusSettings) receipt(ctx context.Context, c *console, dir, text string) (int, error) {
	a, err := s.ask(ctx, dir)
	if err != nil {
		return 0, err
	}
	shown, err := a.Receipt(ctx, operate.ReceiptQuery{Receipt: text})
	if err := errors.Join(err, a.close()); err != nil {
		return 0, err
	}
	if s.json {
		return exitOK, json.NewEncoder(c.out).Encode(shown)
	}
	return exitOK, writeReceipt(c.out, shown)
}

// mustBeSpool refuses a directory without a spool, so that draining one never
// creates one.
func mustBeSpool(dir string) error {
	_, err := os.Stat(filepath.Join(dir, "manifest.db"))
	if errors.Is(err, os.ErrNotExist) {
		// A spool that has lost its manifest is rebuilt from its segments.
		if _, err = os.Stat(filepath.Join(dir, "segments")); errors.Is(err, os.ErrNotExist) {
			return usagef("there is no spool in %s", dir)
		}
	}
	if err != nil {
		return usageError{err}
	}
	return nil
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/pflag"

	"kustospool/internal/quantity"
	"kustospool/internal/visible"
	"kustospool/operate"
)

type historySettings struct {
	lookSettings
	table string
	since sinceTime
	limit int
}

func historyCommand() *command {
	return &command{
		name:     "history",
		synopsis: "--spool DIR | --to TARGET [--table TABLE] [--since TIME] [flags]",
		summary:  "show the batches of a spool that are settled, and how",
		help: `Shows the batches that reached an end, the newest last: when, outcome, table, records,
size, attempts, when they were sealed, the id by which the service knows a batch (the
value of its ingest-by tag; none for at-least-once), and for what was not ingested the
service's last words, with its code and the ids that it gave. A spool keeps the last 7
days, and 100,000 batches, unless its program says otherwise. It changes no file. Of a
spool in use its process is asked.

TIME is a time such as 2026-11-27T05:00:00Z, a date, or how long ago, such as 90m or 48h.

Examples:
  kustospool history --spool /var/spool/fleet --since 24h
  kustospool history --spool /var/spool/fleet --table Fleet.Readings --limit 0 --json

Exit codes: 0 shown, 1 a part of the history cannot be read, 2 the command is wrong or
the spool cannot be had.`,
		flags: func(fs *pflag.FlagSet) any {
			s := new(historySettings)
			fs.StringVar(&s.table, "table", "", "show this table only, TABLE or DB.TABLE")
			fs.Var(&s.since, "since", "show what was settled at this time or later")
			fs.IntVar(&s.limit, "limit", 50, "how many of the newest to show; 0 means all")
			s.register(fs)
			return s
		},
		run: func(ctx context.Context, c *console, settings any, args []string) (int, error) {
			return history(ctx, c, settings.(*historySettings), args)
		},
	}
}

// sinceTime is a flag's time: a moment, a date of UTC, or how long ago.
type sinceTime struct{ time.Time }

// Set reads the text form.
func (t *sinceTime) Set(s string) error {
	if ago, err := time.ParseDuration(s); err == nil && ago >= 0 {
		t.Time = time.Now().Add(-ago)
		return nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(layout, s); err == nil {
			t.Time = at
			return nil
		}
	}
	return errors.New("must be a time such as 2026-11-27T05:00:00Z, a date such as 2026-11-27, or how long ago, such as 48h")
}

// String is empty for the zero value, so that help shows no default.
func (t *sinceTime) String() string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.RFC3339)
}

// Type is what help calls the value.
func (t *sinceTime) Type() string { return "time" }

func history(ctx context.Context, c *console, s *historySettings, args []string) (code int, err error) {
	switch {
	case len(args) > 0:
		return 0, usagef("history %q: history takes no arguments; a table is named with --table", args[0])
	case s.limit < 0:
		return 0, usagef("--limit %d: must not be negative", s.limit)
	}
	dir, err := s.dir(c)
	if err != nil {
		return 0, err
	}
	a, err := s.ask(ctx, dir)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, a.close()) }()
	var rows []operate.SettledBatch // the newest first
	var broken error
	q := operate.HistoryQuery{Table: s.table, Since: s.since.Time}
	for more := true; more; {
		if s.limit > 0 {
			q.Limit = min(s.limit-len(rows), operate.MaxHistory)
		}
		h, err := a.History(ctx, q)
		if err != nil {
			return 0, err
		}
		rows = append(rows, h.Batches...)
		if h.Unreadable > 0 {
			broken = fmt.Errorf("%d rows are not shown: %s", h.Unreadable, h.Error)
		}
		if more = h.More > 0 && len(h.Batches) > 0; more {
			last := &rows[len(rows)-1]
			q.Before, q.BeforeID = last.Updated, last.ID
			if s.limit > 0 && len(rows) >= s.limit {
				c.tell("%d older ones are not shown; see --limit.", h.More)
				break
			}
		}
	}
	slices.Reverse(rows)
	if s.json {
		d := json.NewEncoder(c.out)
		for i := range rows {
			if err := d.Encode(&rows[i]); err != nil {
				return 0, err
			}
		}
		return exitOK, broken
	}
	return exitOK, errors.Join(writeHistory(c.out, rows), broken)
}

func writeHistory(w io.Writer, rows []operate.SettledBatch) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SETTLED\tOUTCOME\tTABLE\tRECORDS\tSIZE\tATTEMPTS\tSEALED\tID\tSAID")
	for i := range rows {
		b := &rows[i].Batch
		said := ""
		if b.Failure != nil {
			said = visible.String(b.Failure.String())
		}
		fmt.Fprintf(t, "%s\t%s\t%s.%s\t%d\t%s\t%d\t%s\t%s\t%s\n", b.Updated.Format(time.RFC3339), b.State, visible.String(b.Database), visible.String(b.Table),
			b.Records, quantity.Size(b.RawBytes), b.Attempts, b.SealedAt.Format(time.RFC3339), b.ID, said)
	}
	return t.Flush()
}

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/pflag"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/internal/visible"
	"kustospool/store"
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
days, and 100,000 batches, unless its program says otherwise. It changes no file. A
spool that another process has open is not shown.

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

// settledBatch is a settled batch, in the form of --json.
type settledBatch struct {
	batchStatus
	IngestBy           string `json:"ingest_by,omitempty"` // by which the service knows it
	WireBytes          int64  `json:"compressed_bytes"`
	Unresolved         int    `json:"unresolved,omitempty"` // attempts of which the outcome was never learned
	PossibleDuplicates int64  `json:"possible_duplicates,omitempty"`
	First              string `json:"first"` // ids of its records
	Last               string `json:"last"`
}

// statusOf is an entry of the store as the engine tells of it.
func statusOf(e *store.Entry) *engine.BatchStatus {
	return &engine.BatchStatus{Batch: e.Batch, State: e.State, Attempts: e.Attempts, Updated: e.Updated, NextAttempt: e.NextAttempt, Failure: e.Failure,
		DataBytes: e.DataBytes()}
}

func settledOf(id ingest.SpoolID, e store.Entry) settledBatch {
	b := e.Batch
	return settledBatch{batchStatus: batchOf(statusOf(&e)), IngestBy: b.IngestBy(), WireBytes: e.WireBytes,
		Unresolved: e.Unresolved, PossibleDuplicates: e.PossibleDuplicates,
		First: ingest.NewID(id, b.Lane, b.First).String(), Last: ingest.NewID(id, b.Lane, b.Last).String()}
}

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
	p, err := s.look(dir, new(findings))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	var lanes []uint32
	if s.table != "" {
		if lanes, err = tableLanes(p, s.table); err != nil {
			return 0, err
		}
	}
	var rows []store.Entry
	var broken error
	for e, err := range p.History() {
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		switch {
		case err != nil:
			if broken == nil {
				broken = err
			}
		case e.Updated.Before(s.since.Time), s.table != "" && !slices.Contains(lanes, e.Batch.Lane):
		default:
			rows = append(rows, e)
		}
	}
	slices.SortStableFunc(rows, func(a, b store.Entry) int { return a.Updated.Compare(b.Updated) })
	if more := len(rows) - s.limit; s.limit > 0 && more > 0 {
		c.tell("%d older ones are not shown; see --limit.", more)
		rows = rows[more:]
	}
	if s.json {
		d := json.NewEncoder(c.out)
		for _, e := range rows {
			if err := d.Encode(settledOf(p.ID(), e)); err != nil {
				return 0, err
			}
		}
		return exitOK, broken
	}
	return exitOK, errors.Join(writeHistory(c.out, rows), broken)
}

func writeHistory(w io.Writer, rows []store.Entry) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SETTLED\tOUTCOME\tTABLE\tRECORDS\tSIZE\tATTEMPTS\tSEALED\tID\tSAID")
	for _, e := range rows {
		b := batchOf(statusOf(&e))
		said := ""
		if b.Failure != nil {
			said = visible.String(b.Failure.String())
		}
		fmt.Fprintf(t, "%s\t%s\t%s.%s\t%d\t%s\t%d\t%s\t%s\t%s\n", b.Updated.Format(time.RFC3339), b.State, visible.String(b.Database), visible.String(b.Table),
			b.Records, shortBytes(b.RawBytes), b.Attempts, b.SealedAt.Format(time.RFC3339), b.ID, said)
	}
	return t.Flush()
}

// fate is what became of some neighbouring records of a receipt.
type fate struct {
	First   string        `json:"first"`
	Last    string        `json:"last"`
	Records int64         `json:"records"`
	State   string        `json:"state"` // of a batch, or "forgotten"
	Batch   *settledBatch `json:"batch,omitempty"`

	from uint64
}

// receiptStatus is what status prints of a receipt, in the form of --json.
type receiptStatus struct {
	Receipt string           `json:"receipt"`
	Table   string           `json:"table"`
	Records int64            `json:"records"`
	States  map[string]int64 `json:"states"` // they add up to Records
	Parts   []fate           `json:"parts"`
}

// forgotten is the state of records whose history is pruned.
const forgotten = "forgotten"

// receipt tells the outcome of the records of a receipt.
func receiptOf(p *store.Picture, text string) (*receiptStatus, error) {
	r, err := ingest.ParseReceipt(text)
	if err != nil {
		return nil, err
	}
	lane, first, last := r.ID.Lane(), r.ID.Seq(), r.ID.Seq()+uint64(r.Records)-1
	props, known := p.LaneProperties(lane)
	sealed, end := p.LaneMarks(lane)
	switch {
	case r.ID.Spool() != p.ID():
		return nil, usagef("receipt %q: is of spool %s, and this one is %s", text, r.ID.Spool(), p.ID())
	case !known:
		return nil, usagef("receipt %q: the spool has no lane %d", text, lane)
	case first == 0 || last > end:
		return nil, usagef("receipt %q: its records must be among the %d that the spool was given for %s.%s", text, end, props.Database, props.Table)
	}
	out := &receiptStatus{Receipt: r.String(), Table: props.Database + "." + props.Table, Records: r.Records, States: map[string]int64{}}
	var batches []store.Entry
	for e, err := range p.History() {
		if err != nil {
			return nil, err
		}
		if e.Batch.Lane == lane && e.Batch.First <= last && e.Batch.Last >= first {
			batches = append(batches, e)
		}
	}
	for _, e := range p.Live() {
		if e.Batch.Lane == lane && e.Batch.First <= last && e.Batch.Last >= first {
			batches = append(batches, e)
		}
	}
	slices.SortFunc(batches, func(a, b store.Entry) int { return cmp.Compare(a.Batch.First, b.Batch.First) })
	// part tells of neighbouring records that share a fate.
	part := func(from, to uint64, state string, b *settledBatch) {
		n := int64(to - from + 1)
		out.States[state] += n
		out.Parts = append(out.Parts, fate{ingest.NewID(p.ID(), lane, from).String(), ingest.NewID(p.ID(), lane, to).String(), n, state, b, from})
	}
	// between tells of records that no batch has: they are open, or their batch is forgotten.
	between := func(from, to uint64) {
		if settled := min(to, sealed); from <= settled {
			part(from, settled, forgotten, nil)
			from = settled + 1
		}
		if from <= to {
			part(from, to, ingest.Open.String(), nil)
		}
	}
	next := first
	for _, e := range batches {
		from, to := max(e.Batch.First, next), min(e.Batch.Last, last)
		if from > to {
			continue
		}
		between(next, from-1)
		b := settledOf(p.ID(), e)
		part(from, to, e.State.String(), &b)
		next = to + 1
	}
	between(next, last)
	return out, nil
}

func (r *receiptStatus) writeText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "receipt\t%s\ntable\t%s\nrecords\t%d\n", r.Receipt, visible.String(r.Table), r.Records)
	for _, f := range r.Parts {
		fmt.Fprintf(t, "%s\t%d from number %d on", f.State, f.Records, f.from)
		switch b := f.Batch; {
		case b != nil:
			fmt.Fprintf(t, ", batch %s of %d records, attempts %d, at %s", b.ID, b.batchStatus.Records, b.Attempts, b.Updated.Format(time.RFC3339))
			if b.Failure != nil {
				fmt.Fprintf(t, ": %s", visible.String(b.Failure.String()))
			}
		case f.State == forgotten:
			fmt.Fprint(t, ": settled, and the history does not say how any more")
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}

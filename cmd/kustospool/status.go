package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/spf13/pflag"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/internal/visible"
	"kustospool/store"
)

type statusSettings struct {
	lookSettings
	limit int
}

func statusCommand() *command {
	return &command{
		name:     "status",
		synopsis: "[RECEIPT] --spool DIR | --to TARGET [flags]",
		summary:  "show what a spool holds, without a network",
		help: `Shows the counters of a spool, what each table waits for, the batches that are not
settled with what the service last said about them, the dead letters, and damage that
it finds. It delivers nothing, repairs nothing, and leaves every file as it is. A spool
that another process has open is not shown; the message names that process. Of one
whose ledger is damaged it says what opening it would do.

With a RECEIPT, which an ingestion returned, it tells of its records alone: which wait,
and what became of the others. RECEIPT is the id of a record, or ID+N for N records.

With a RECEIPT, which an ingestion returned, it tells of its records alone: which wait,
and what became of the others. RECEIPT is the id of a record, or ID+N for N records.

Examples:
  kustospool status --spool /var/spool/fleet
  kustospool status 0123456789abcdef00000001000000000000002a+5 --spool /var/spool/fleet
  kustospool status ds14c7fk5v9ke000001000000000000a+5 --spool /var/spool/fleet
  kustospool status --to https://ingest-help.westeurope.kusto.windows.net --json

Exit codes: 0 shown, 1 the spool is in use or its ledger cannot be read, 2 the command is wrong.`,
		flags: func(fs *pflag.FlagSet) any {
			s := new(statusSettings)
			s.register(fs)
			fs.IntVar(&s.limit, "limit", 20, "how many batches and dead letters to list; 0 means all")
			return s
		},
		run: func(ctx context.Context, c *console, settings any, args []string) (int, error) {
			return status(c, settings.(*statusSettings), args)
		},
	}
}

// spoolStatus is what status prints, in the form of --json.
type spoolStatus struct {
	Spool    string         `json:"spool"`
	ID       string         `json:"id"`
	Counters spoolCounters  `json:"counters"`
	Lanes    []laneBacklog  `json:"lanes"`   // those with something spooled
	Batches  []batchStatus  `json:"batches"` // not settled, oldest of each lane first
	Dead     []batchStatus  `json:"dead_letters"`
	Cut      map[string]int `json:"cut,omitempty"`   // how many more there are of a list
	Found    []string       `json:"found,omitempty"` // damage that is not dealt with yet
}

type spoolCounters struct {
	Acked              int64     `json:"acked"`
	Open               int64     `json:"open"`
	Sealed             int64     `json:"sealed"`
	Ingested           int64     `json:"ingested"` // skipped included
	Skipped            int64     `json:"skipped"`
	HandedOver         int64     `json:"handed_over"`
	DeadLettered       int64     `json:"dead_lettered"`
	Dropped            int64     `json:"dropped"`
	PossibleDuplicates int64     `json:"possible_duplicates"`
	RawBytes           int64     `json:"raw_bytes"`
	CompressedBytes    int64     `json:"compressed_bytes"`
	DiskBytes          int64     `json:"disk_bytes"`
	FreeBytes          int64     `json:"free_bytes"` // on the volume; -1 where the system does not tell
	Damaged            int64     `json:"damaged"`
	Oldest             time.Time `json:"oldest,omitzero"` // when the oldest record that waits was accepted
	DeadWaiting        int64     `json:"dead_letters_waiting"`
	DeadHandled        int64     `json:"dead_letters_handled"`
}

type laneBacklog struct {
	Database string          `json:"database"`
	Table    string          `json:"table"`
	Format   ingest.Format   `json:"format"`
	Blobs    bool            `json:"blobs,omitempty"` // the records are addresses of blobs
	Open     int64           `json:"open"`
	Batches  int64           `json:"batches"`
	Records  int64           `json:"records"`           // in those batches
	RawBytes int64           `json:"raw_bytes"`         // of all that waits; 0 of blobs, whose size shows when they are sent
	Oldest   time.Time       `json:"oldest,omitzero"`   // when the oldest record that waits was accepted
	Failure  *ingest.Failure `json:"failure,omitempty"` // the newest
}

type batchStatus struct {
	ID          ingest.BatchID  `json:"id"`
	Database    string          `json:"database"`
	Table       string          `json:"table"`
	State       ingest.State    `json:"state"`
	Records     int64           `json:"records"`
	RawBytes    int64           `json:"raw_bytes"`
	Attempts    int             `json:"attempts"`
	SealedAt    time.Time       `json:"sealed_at"`
	Updated     time.Time       `json:"updated,omitzero"`
	NextAttempt time.Time       `json:"next_attempt,omitzero"`
	Failure     *ingest.Failure `json:"failure,omitempty"`
}

func status(c *console, s *statusSettings, args []string) (int, error) {
	switch {
	case len(args) > 1:
		return 0, usagef("status takes one receipt at most, and %d were given; the spool is named with --spool", len(args))
	case s.limit < 0:
		return 0, usagef("--limit %d: must not be negative", s.limit)
	}
	dir, err := s.dir(c)
	if err != nil {
		return 0, err
	}
	found := new(findings)
	log := slog.New(openingLog{found: found})
	if len(args) == 1 {
		p, err := store.Look(dir, &store.Options{Logger: log, TrustDirectory: s.trust, LockTimeout: s.lock})
		if err != nil {
			return 0, err
		}
		shown, err := receiptOf(p, args[0])
		if err := errors.Join(err, p.Close()); err != nil {
			return 0, err
		}
		if s.json {
			return exitOK, json.NewEncoder(c.out).Encode(shown)
		}
		return exitOK, shown.writeText(c.out)
	}
	v, err := engine.Look(dir, &engine.Options{Logger: log, TrustDirectory: s.trust, LockTimeout: s.lock})
	if err != nil {
		return 0, err
	}
	shown, err := collect(v, dir, s.limit)
	if err := errors.Join(err, v.Close()); err != nil {
		return 0, err
	}
	shown.Found = found.end()
	if s.json {
		return exitOK, json.NewEncoder(c.out).Encode(shown)
	}
	return exitOK, shown.writeText(c.out)
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

func collect(v *engine.View, dir string, limit int) (*spoolStatus, error) {
	n := v.Stats()
	out := &spoolStatus{Spool: dir, ID: n.Spool.String(), Lanes: []laneBacklog{}, Batches: []batchStatus{}, Dead: []batchStatus{}, Cut: map[string]int{},
		Counters: spoolCounters{
			Acked: n.Acked, Open: n.Waiting.Open, Sealed: n.Waiting.Records - n.Waiting.Open, Ingested: n.Settled.Ingested + n.Settled.Skipped,
			Skipped: n.Settled.Skipped, HandedOver: n.Settled.HandedOver, DeadLettered: n.Settled.DeadLettered, Dropped: n.Settled.Dropped,
			PossibleDuplicates: n.Duplicates.Possible, RawBytes: n.RawBytes, CompressedBytes: n.WireBytes, DiskBytes: n.Disk.Bytes,
			FreeBytes: n.Disk.Free, Damaged: n.Disk.Damaged, Oldest: n.Waiting.Oldest,
			DeadWaiting: n.DeadLetters.Waiting, DeadHandled: n.DeadLetters.Handled,
		}}
	for _, l := range n.Backlogged() {
		p := &l.Properties
		if p.ByReference {
			l.Waiting.Bytes = 0 // that of the addresses
		}
		out.Lanes = append(out.Lanes, laneBacklog{Database: p.Database, Table: p.Table, Format: p.Format, Blobs: p.ByReference,
			Open: l.Waiting.Open, Batches: l.Batches.Live(), Records: l.Waiting.Records - l.Waiting.Open, RawBytes: l.Waiting.Bytes,
			Oldest: l.Waiting.Oldest, Failure: l.Failure})
	}
	live := v.Batches()
	for i := range live {
		if limit > 0 && i == limit {
			out.Cut["batches"] = len(live) - limit
			break
		}
		out.Batches = append(out.Batches, batchOf(&live[i]))
	}
	for b, err := range v.DeadLetters() {
		if err != nil {
			return nil, err
		}
		if limit > 0 && len(out.Dead) == limit {
			out.Cut["dead_letters"]++
			continue
		}
		out.Dead = append(out.Dead, batchOf(&b.BatchStatus))
	}
	return out, nil
}

func batchOf(b *engine.BatchStatus) batchStatus {
	p := &b.Batch.Properties
	return batchStatus{ID: b.Batch.ID, Database: p.Database, Table: p.Table, State: b.State, Records: b.Batch.Records(),
		RawBytes: b.DataBytes, Attempts: b.Attempts, SealedAt: b.Batch.SealedAt, Updated: b.Updated,
		NextAttempt: b.NextAttempt, Failure: b.Failure}
}

func (s *spoolStatus) writeText(w io.Writer) error {
	n := s.Counters
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "spool\t%s\nidentity\t%s\n", visible.String(s.Spool), s.ID)
	for _, line := range []struct {
		name   string
		n      int64
		always bool
	}{
		{"acked (durable)", n.Acked, true}, {"in no batch yet", n.Open, true}, {"in batches", n.Sealed, true},
		{"ingested", n.Ingested, true}, {"of them skipped", n.Skipped, false}, {"handed over", n.HandedOver, false},
		{"dead-lettered", n.DeadLettered, true}, {"dead letters waiting", n.DeadWaiting, false},
		{"dead letters handled", n.DeadHandled, false}, {"dropped", n.Dropped, false},
		{"possible duplicates", n.PossibleDuplicates, true}, {"damage found", n.Damaged, false},
	} {
		if line.always || line.n != 0 {
			fmt.Fprintf(t, "%s\t%d\n", line.name, line.n)
		}
	}
	fmt.Fprintf(t, "disk\t%s", shortBytes(n.DiskBytes))
	if n.FreeBytes >= 0 {
		fmt.Fprintf(t, ", %s free", shortBytes(n.FreeBytes))
	}
	fmt.Fprintln(t)
	for _, line := range s.Found {
		fmt.Fprintf(t, "found\t%s\n", visible.String(line))
	}
	for _, l := range s.Lanes {
		format := string(l.Format)
		if l.Blobs {
			format += ", blobs by reference"
		}
		size := shortBytes(l.RawBytes)
		if l.Blobs {
			size = "of a size that shows when they are sent"
		}
		fmt.Fprintf(t, "\ntable\t%s.%s (%s)\nwaiting\t%d records in no batch, %d in %d batches (%s)\n",
			visible.String(l.Database), visible.String(l.Table), visible.String(format), l.Open, l.Records, l.Batches, size)
		if !l.Oldest.IsZero() {
			fmt.Fprintf(t, "oldest\taccepted %s\n", l.Oldest.Format(time.RFC3339))
		}
		if f := l.Failure; f != nil {
			fmt.Fprintf(t, "last failure\t%s (%s", visible.String(f.String()), f.At.Format(time.RFC3339))
			if !f.First.IsZero() {
				fmt.Fprintf(t, ", since %s", f.First.Format(time.RFC3339))
			}
			fmt.Fprintln(t, ")")
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if err := writeBatches(w, "Batches", s.Batches, s.Cut["batches"]); err != nil {
		return err
	}
	return writeBatches(w, "Dead letters in "+visible.String(deadDir(s.Spool)), s.Dead, s.Cut["dead_letters"])
}

func writeBatches(w io.Writer, title string, batches []batchStatus, more int) error {
	if len(batches) == 0 {
		return nil
	}
	if _, err := fmt.Fprintf(w, "\n%s:\n", title); err != nil {
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "  ID\tTABLE\tSTATE\tRECORDS\tSIZE\tATTEMPTS\tSAID")
	for _, b := range batches {
		said := ""
		if b.Failure != nil {
			said = visible.String(b.Failure.String())
		}
		fmt.Fprintf(t, "  %s\t%s.%s\t%s\t%d\t%s\t%d\t%s\n", b.ID, visible.String(b.Database), visible.String(b.Table), b.State, b.Records, shortBytes(b.RawBytes), b.Attempts, said)
	}
	if more > 0 {
		fmt.Fprintf(t, "  and %d more; see --limit\n", more)
	}
	return t.Flush()
}

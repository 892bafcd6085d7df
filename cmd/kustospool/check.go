package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/pflag"

	"kustospool/internal/visible"
	"kustospool/store"
)

func checkCommand() *command {
	return &command{
		name:     "check",
		synopsis: "--spool DIR | --to TARGET [flags]",
		summary:  "read all of a spool and tell what is damaged",
		help: `Reads every record that a spool has, in the log and in its objects, and proves it by
its checksum; reads the dead letters; and adds the books up. It tells what was read by
file and by table, and read is good and bad together. "Bad" are the records that cannot
be read; those of them that wait would not be delivered, and the others are settled, so
that nothing is lost with them. It changes no file: what it finds is dealt with by the
next send or drain, or by the program that opens the spool.

A spool that another process has open is not checked.

Examples:
  kustospool check --spool /var/spool/fleet
  kustospool check --to https://ingest-help.westeurope.kusto.windows.net --json

Exit codes: 0 all is sound, 1 damage was found, or a file could not be read, 2 the
command is wrong or the spool cannot be had.`,
		flags: func(fs *pflag.FlagSet) any {
			s := new(checkSettings)
			s.register(fs)
			fs.BoolVarP(&s.quiet, "quiet", "q", false, "show no progress")
			return s
		},
		run: func(ctx context.Context, c *console, settings any, args []string) (int, error) {
			return check(ctx, c, settings.(*checkSettings), args)
		},
	}
}

type checkSettings struct {
	lookSettings
	quiet bool
}

// tally counts records: Read == Good + Bad.
type tally struct {
	Read       int64  `json:"read"`
	Good       int64  `json:"good"`
	Bad        int64  `json:"bad"`
	Waiting    int64  `json:"waiting"`     // of Read: not settled
	BadWaiting int64  `json:"bad_waiting"` // of both
	Bytes      int64  `json:"bytes"`       // that were read
	Error      string `json:"error,omitempty"`
}

func (t *tally) add(records, waiting, bytes int64, err error) {
	t.Read += records
	t.Waiting += waiting
	t.Bytes += bytes
	if err == nil {
		t.Good += records
		return
	}
	t.Bad += records
	t.BadWaiting += waiting
	if t.Error == "" {
		t.Error = err.Error()
	}
}

// checkReport is what check prints, in the form of --json.
type checkReport struct {
	Spool string `json:"spool"`
	ID    string `json:"id"`
	Sound bool   `json:"sound"`
	tally
	Files   []fileTally  `json:"files"`
	Tables  []tableTally `json:"tables"`
	Dead    deadTally    `json:"dead_letters"`
	Books   []string     `json:"books"`           // what does not add up, or cannot be read
	Found   []string     `json:"found,omitempty"` // told by the opening of the files
	Seconds float64      `json:"seconds"`
}

type fileTally struct {
	File string `json:"file"` // empty for records that no file claims
	tally
}

type tableTally struct {
	Database string `json:"database"`
	Table    string `json:"table"`
	tally
}

// deadTally counts dead letters, and Records the records of the good ones.
type deadTally struct {
	Read    int64       `json:"read"`
	Good    int64       `json:"good"`
	Bad     int64       `json:"bad"`
	Records int64       `json:"records"`
	Bytes   int64       `json:"bytes"`
	Errors  []deadError `json:"errors,omitempty"`
}

type deadError struct {
	File  string `json:"file"`
	Error string `json:"error"`
}

func check(ctx context.Context, c *console, s *checkSettings, args []string) (code int, err error) {
	if len(args) > 0 {
		return 0, usagef("check %q: check takes no files; the spool is named with --spool", args[0])
	}
	dir, err := s.dir(c)
	if err != nil {
		return 0, err
	}
	c.quiet = s.quiet
	begun := time.Now()
	found := new(findings)
	p, err := s.look(dir, found)
	if err != nil {
		return 0, err
	}
	defer func() {
		if cerr := p.Close(); err == nil {
			err = cerr
		}
	}()
	r := &checkReport{Spool: dir, ID: p.ID().String(), Files: []fileTally{}, Tables: []tableTally{}, Books: []string{}}
	if err := r.records(ctx, c, p); err != nil {
		return 0, err
	}
	if err := r.dead(ctx, p); err != nil {
		return 0, err
	}
	r.books(p)
	r.Found = found.end()
	r.Sound = r.Bad == 0 && r.Dead.Bad == 0 && len(r.Books) == 0 && len(r.Found) == 0
	r.Seconds = time.Since(begun).Seconds()
	if s.json {
		err = json.NewEncoder(c.out).Encode(r)
	} else {
		err = r.writeText(c.out)
	}
	if !r.Sound {
		code = exitFailed
	}
	return code, err
}

// records reads the log and the objects.
func (r *checkReport) records(ctx context.Context, c *console, p *store.Picture) error {
	const unit = 1 << 20
	phase := c.begin("checked", "MiB", p.Stats().DiskBytes/unit)
	defer phase.End()
	files := map[string]*fileTally{}
	tables := map[[2]string]*tableTally{}
	for part, err := range p.Check() {
		if err = firstError(err, ctx.Err()); err != nil {
			return err
		}
		props, _ := p.LaneProperties(part.Lane)
		table := [2]string{props.Database, props.Table}
		if files[part.File] == nil {
			files[part.File] = &fileTally{File: part.File}
		}
		if tables[table] == nil {
			tables[table] = &tableTally{Database: props.Database, Table: props.Table}
		}
		for _, t := range []*tally{&r.tally, &files[part.File].tally, &tables[table].tally} {
			t.add(part.Records(), part.Waiting, part.Bytes, part.Err)
		}
		note := ""
		if r.Bad > 0 {
			note = fmt.Sprintf("%d records are bad", r.Bad)
		}
		phase.Show(time.Now(), r.Bytes/unit, note)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		r.Files = append(r.Files, *files[name])
	}
	for _, name := range slices.SortedFunc(maps.Keys(tables), func(a, b [2]string) int { return slices.Compare(a[:], b[:]) }) {
		r.Tables = append(r.Tables, *tables[name])
	}
	r.Error = ""
	return nil
}

func (r *checkReport) dead(ctx context.Context, p *store.Picture) error {
	for d, err := range p.CheckDead() {
		if err = firstError(err, ctx.Err()); err != nil {
			return err
		}
		r.Dead.Read++
		r.Dead.Bytes += d.Bytes
		if d.Err == nil {
			r.Dead.Good++
			r.Dead.Records += d.Records
			continue
		}
		r.Dead.Bad++
		r.Dead.Errors = append(r.Dead.Errors, deadError{d.File, d.Err.Error()})
	}
	return nil
}

// mostBooks bounds what is told of the books.
const mostBooks = 100

// books compares the counters with each other and with what was read.
func (r *checkReport) books(p *store.Picture) {
	n := p.Stats()
	if sum := n.Open + n.Sealed + n.Ingested + n.Skipped + n.HandedOver + n.DeadLettered + n.Dropped; sum != n.Acked {
		r.Books = append(r.Books, fmt.Sprintf("%d records were acknowledged, and the books account for %d", n.Acked, sum))
	}
	if waiting := n.Open + n.Sealed; waiting != r.Waiting {
		r.Books = append(r.Books, fmt.Sprintf("%d records wait by the books, and %d were met", waiting, r.Waiting))
	}
	for e, err := range p.History() {
		switch {
		case err != nil:
			r.Books = append(r.Books, fmt.Sprintf("history: %v", err))
		case !e.State.Final():
			r.Books = append(r.Books, fmt.Sprintf("history: batch %s is %s, which is not final", e.Batch.ID, e.State))
		}
		if len(r.Books) >= mostBooks {
			break
		}
	}
}

func (r *checkReport) writeText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	verdict := "sound"
	if !r.Sound {
		verdict = "damaged"
	}
	fmt.Fprintf(t, "spool\t%s\nidentity\t%s\nfound\t%s\n", visible.String(r.Spool), r.ID, verdict)
	fmt.Fprintf(t, "records read\t%d (%d wait)\ngood\t%d\nbad\t%d (%d wait)\n", r.Read, r.Waiting, r.Good, r.Bad, r.BadWaiting)
	fmt.Fprintf(t, "dead letters read\t%d\ngood\t%d (%d records)\nbad\t%d\n", r.Dead.Read, r.Dead.Good, r.Dead.Records, r.Dead.Bad)
	bytes := r.Bytes + r.Dead.Bytes
	fmt.Fprintf(t, "read\t%s in %.3f s\n", shortBytes(bytes), r.Seconds)
	if r.Seconds > 0 {
		fmt.Fprintf(t, "rate\t%s/s\n", shortBytes(int64(float64(bytes)/r.Seconds)))
	}
	for _, line := range r.Found {
		fmt.Fprintf(t, "damage\t%s\n", visible.String(line))
	}
	for _, line := range r.Books {
		fmt.Fprintf(t, "books\t%s\n", visible.String(line))
	}
	if len(r.Tables) > 0 {
		fmt.Fprint(t, "\nTABLE\tREAD\tGOOD\tBAD\tBAD, WAITING\n")
	}
	for _, l := range r.Tables {
		fmt.Fprintf(t, "%s.%s\t%d\t%d\t%d\t%d\n", visible.String(l.Database), visible.String(l.Table), l.Read, l.Good, l.Bad, l.BadWaiting)
	}
	if len(r.Files) > 0 {
		fmt.Fprint(t, "\nFILE\tREAD\tGOOD\tBAD\tBAD, WAITING\tWHY\n")
	}
	for _, f := range r.Files {
		name := f.File
		if name == "" {
			name = "(no file has them)"
		}
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%s\n", visible.String(name), f.Read, f.Good, f.Bad, f.BadWaiting, visible.String(f.Error))
	}
	for _, d := range r.Dead.Errors {
		fmt.Fprintf(t, "%s\t\t\t\t\t%s\n", visible.String(d.File), visible.String(d.Error))
	}
	return t.Flush()
}

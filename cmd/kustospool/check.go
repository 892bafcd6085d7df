package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/pflag"

	"kustospool/cmd/kustospool/internal/progress"
	"kustospool/engine"
	"kustospool/internal/quantity"
	"kustospool/internal/visible"
	"kustospool/operate"
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

A spool that a process has open is checked by that process, through its socket: what was
committed when the check began, at no more than 64 MiB a second, without a lock that
an acknowledgement waits for. What is delivered and gone before it was read is told as such.

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

// checkReport is what check prints, in the form of --json.
type checkReport struct {
	Spool string `json:"spool"`
	ID    string `json:"id"`
	Sound bool   `json:"sound"`
	InUse bool   `json:"in_use"`
	engine.Tally
	Gone    int64               `json:"gone,omitempty"` // settled and given back while it was read
	Files   []engine.FileTally  `json:"files"`
	Tables  []engine.TableTally `json:"tables"`
	Dead    engine.LetterTally  `json:"dead_letters"`
	Books   []string            `json:"books"`           // what does not add up, or cannot be read
	Found   []string            `json:"found,omitempty"` // told by the opening of the files
	Seconds float64             `json:"seconds"`
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
	r, err := checkAtRest(ctx, c, s, dir)
	if locked, ok := errors.AsType[*engine.LockedError](err); ok {
		r, err = checkInUse(ctx, c, s, dir, locked)
	}
	if err != nil {
		return 0, err
	}
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

// checkAtRest checks a spool that no process has open.
func checkAtRest(ctx context.Context, c *console, s *checkSettings, dir string) (r *checkReport, err error) {
	found := new(findings)
	v, err := s.view(dir, found)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	show := showCheck(c)
	defer show.end()
	checked, err := v.Check(ctx, &engine.CheckOptions{Progress: show.progress})
	if err != nil {
		return nil, err
	}
	return newCheckReport(dir, v.Stats().Spool.String(), checked, found.end()), nil
}

// checkEvery is how often the process that checks its spool is asked how far it is.
const checkEvery = 250 * time.Millisecond

// checkInUse has the process check the spool that has it open.
func checkInUse(ctx context.Context, c *console, s *checkSettings, dir string, locked *engine.LockedError) (*checkReport, error) {
	client, err := s.owner(ctx, locked)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	st, err := client.Status(ctx, operate.StatusQuery{Limit: 1})
	if err != nil {
		return nil, err
	}
	now, err := client.StartCheck(ctx)
	if err != nil {
		return nil, err
	}
	show := showCheck(c)
	defer show.end()
	for !now.Done {
		show.progress(engine.CheckProgress{Bytes: now.Bytes, Total: now.Total, Records: now.Records, Bad: now.Bad})
		select {
		case <-time.After(checkEvery):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if now, err = client.Check(ctx, operate.CheckQuery{ID: now.ID}); err != nil {
			return nil, err
		}
	}
	if now.Error != "" {
		return nil, errors.New(now.Error)
	}
	var checked engine.CheckReport
	if err := json.Unmarshal(now.Report, &checked); err != nil {
		return nil, fmt.Errorf("the report of %w cannot be read: %w", locked, err)
	}
	r := newCheckReport(dir, st.ID, &checked, nil)
	r.InUse = true
	return r, nil
}

func newCheckReport(dir, id string, checked *engine.CheckReport, found []string) *checkReport {
	return &checkReport{Spool: dir, ID: id, Sound: checked.Sound() && len(found) == 0, Tally: checked.Records, Gone: checked.Gone, Files: checked.Files,
		Tables: checked.Tables, Dead: checked.Dead, Books: checked.Books, Found: found, Seconds: checked.Took.Seconds()}
}

// checkShow is the line of progress of a check.
type checkShow struct {
	c     *console
	phase *progress.Phase // nil until there is something to show
}

func showCheck(c *console) *checkShow { return &checkShow{c: c} }

func (s *checkShow) progress(p engine.CheckProgress) {
	const unit = 1 << 20
	if s.phase == nil {
		s.phase = s.c.begin("checked", "MiB", p.Total/unit)
	}
	note := ""
	if p.Bad > 0 {
		note = count(p.Bad, "bad record")
	}
	s.phase.Show(time.Now(), p.Bytes/unit, note)
}

func (s *checkShow) end() {
	if s.phase != nil {
		s.phase.End()
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
	fmt.Fprintf(t, "dead letters read\t%d\ngood\t%d (%s)\nbad\t%d\n", r.Dead.Read, r.Dead.Good, count(r.Dead.Records, "record"), r.Dead.Bad)
	if r.Gone > 0 {
		fmt.Fprintf(t, "delivered meanwhile\t%d, and not read\n", r.Gone)
	}
	bytes := r.Bytes + r.Dead.Bytes
	fmt.Fprintf(t, "read\t%s in %.3f s\n", quantity.Size(bytes), r.Seconds)
	if r.Seconds > 0 {
		fmt.Fprintf(t, "rate\t%s/s\n", quantity.Size(int64(float64(bytes)/r.Seconds)))
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

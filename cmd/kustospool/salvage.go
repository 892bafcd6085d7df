package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"text/tabwriter"

	"github.com/spf13/pflag"

	"kustospool/internal/visible"
	"kustospool/store"
)

func salvageCommand() *command {
	return &command{
		name:     "salvage",
		synopsis: "--spool DIR | --to TARGET [--apply] [flags]",
		summary:  "take what can be read from files that were set aside",
		help: `Opening a spool takes whatever can be read from the files of its log, and sets aside in
quarantine what it cannot use. Salvage is for what is left: segments that were set aside
and can be read after all (the disk was mended, or the file was copied back), and a ledger
that is lost. It is for a spool that no process has open.

Without --apply it shows what it would do and changes nothing: by file, how many records
were read, good (they prove themselves) and bad, and of the good ones how many

  lost       wait in the spool and cannot be read there: the file goes back into the log
  dead       were dead-lettered because they could not be read, or will be, since their
             batch was made without them: stored as new, and the dead letters of which all
             is found are dealt with
  doubtful   may have been delivered before, which nobody knows any more or is not known of
             an attempt: stored as new with --doubtful, and counted as possible duplicates
  settled    or there: in the spool, nothing is to be done
  homeless   of no table that is known, or in an object; they stay where they are

With --apply it does that, and keeps all files that it replaces or has used up in a
directory that it names. Nothing is stored twice, also when it is cut off and given again
within a day. A lost ledger is made anew first: all records in the log are open again then,
and count as possible duplicates; give the command again for the rest.

Examples:
  kustospool salvage --spool /var/spool/fleet
  kustospool salvage --spool /var/spool/fleet --apply
  kustospool salvage --spool /var/spool/fleet --apply --doubtful --json

Exit codes: 0 shown, or done, 1 it failed, 2 the command is wrong or the spool cannot be had.`,
		flags: func(fs *pflag.FlagSet) any {
			s := new(salvageSettings)
			fs.BoolVar(&s.apply, "apply", false, "do what is planned")
			fs.BoolVar(&s.doubtful, "doubtful", false, "with --apply: also store what may have been delivered before")
			s.register(fs)
			return s
		},
		run: func(ctx context.Context, c *console, settings any, args []string) (int, error) {
			return salvage(ctx, c, settings.(*salvageSettings), args)
		},
	}
}

type salvageSettings struct {
	lookSettings
	apply    bool
	doubtful bool
}

// salvageReport is what salvage prints, in the form of --json.
type salvageReport struct {
	Spool   string         `json:"spool"`
	Ledger  string         `json:"ledger,omitempty"`       // what is wrong with it
	Again   int64          `json:"open_again,omitempty"`   // records that its loss opens again
	Files   []salvagedFile `json:"files"`                  //
	Letters int            `json:"dead_letters,omitempty"` // that are dealt with
	Applied bool           `json:"applied"`
	// What follows is of --apply.
	Kept     string `json:"kept,omitempty"`
	PutBack  int64  `json:"put_back"`
	Stored   int64  `json:"stored"`
	Doubtful int64  `json:"stored_doubtful"`
}

type salvagedFile struct {
	File     string `json:"file"`
	Read     int64  `json:"read"`
	Good     int64  `json:"good"`
	Bad      int64  `json:"bad"`
	Lost     int64  `json:"lost"`
	Dead     int64  `json:"dead"`
	Doubtful int64  `json:"doubtful"`
	Settled  int64  `json:"settled"`
	There    int64  `json:"there"`
	Homeless int64  `json:"homeless"`
	Error    string `json:"error,omitempty"`
}

func salvage(ctx context.Context, c *console, s *salvageSettings, args []string) (int, error) {
	if len(args) > 0 {
		return 0, usagef("salvage %q: salvage takes no files; the spool is named with --spool", args[0])
	}
	dir, err := s.dir(c)
	if err != nil {
		return 0, err
	}
	opts := &store.Options{TrustDirectory: s.trust, LockTimeout: max(s.lock, 1), Logger: slog.New(openingLog{found: new(findings)})}
	done := new(store.Salvaged)
	if s.apply {
		done, err = store.ApplySalvage(ctx, dir, opts, s.doubtful)
	} else {
		done.Plan, err = store.PlanSalvage(dir, opts)
	}
	if _, ok := errors.AsType[*store.LockedError](err); ok {
		err = refusedError{fmt.Errorf("%w; a spool in use is not salvaged: stop that process first", err)}
	}
	if err != nil {
		return 0, err
	}
	r := newSalvageReport(dir, s.apply, done)
	if s.json {
		return exitOK, json.NewEncoder(c.out).Encode(r)
	}
	return exitOK, r.writeText(c.out)
}

func newSalvageReport(dir string, applied bool, done *store.Salvaged) *salvageReport {
	plan := done.Plan
	r := &salvageReport{Spool: dir, Files: []salvagedFile{}, Letters: len(plan.Letters), Applied: applied,
		PutBack: done.PutBack, Stored: done.Stored, Doubtful: done.Doubtful}
	if plan.Ledger != nil {
		r.Ledger, r.Again = plan.Ledger.Err.Error(), plan.Ledger.Records
	}
	if done.Kept != "" {
		r.Kept = filepath.Join(dir, filepath.FromSlash(done.Kept))
	}
	for i := range plan.Files {
		f := &plan.Files[i]
		out := salvagedFile{File: f.Name, Read: f.Read, Good: f.Good, Bad: f.Bad, Lost: f.Lost, Dead: f.Dead, Doubtful: f.Doubtful,
			Settled: f.Settled, There: f.There, Homeless: f.Homeless}
		if f.Err != nil {
			out.Error = f.Err.Error()
		}
		r.Files = append(r.Files, out)
	}
	return r
}

func (r *salvageReport) writeText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "spool\t%s\n", visible.String(r.Spool))
	if r.Ledger != "" {
		fmt.Fprintf(t, "ledger\tcannot be read: %s\nopen again\t%s, which may have been delivered\n", visible.String(r.Ledger), count(r.Again, "record"))
	} else if len(r.Files) == 0 {
		fmt.Fprintf(t, "found\tno segment that was set aside\n")
	}
	if r.Letters > 0 {
		fmt.Fprintf(t, "dead letters\t%d are found again\n", r.Letters)
	}
	if len(r.Files) > 0 {
		fmt.Fprint(t, "\nFILE\tREAD\tGOOD\tBAD\tLOST\tDEAD\tDOUBTFUL\tSETTLED\tTHERE\tHOMELESS\tWHY\n")
	}
	for _, f := range r.Files {
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\n", visible.String(f.File), f.Read, f.Good, f.Bad, f.Lost, f.Dead, f.Doubtful,
			f.Settled, f.There, f.Homeless, visible.String(f.Error))
	}
	switch {
	case !r.Applied:
		fmt.Fprintln(t, "\nNothing was changed. --apply does it.")
	case r.Kept == "":
		fmt.Fprintln(t, "\nThere was nothing to do.")
	default:
		fmt.Fprintf(t, "\nput back\t%d\nstored as new\t%d (%d of them doubtful)\nkept\t%s\n", r.PutBack, r.Stored, r.Doubtful, visible.String(r.Kept))
	}
	return t.Flush()
}

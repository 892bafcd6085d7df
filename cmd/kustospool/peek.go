package main

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"time"
	"unicode/utf8"

	"github.com/spf13/pflag"

	"kustospool/ingest"
	"kustospool/internal/visible"
	"kustospool/store"
)

// longestRecord is how much of a record the text form shows.
const longestRecord = 4 << 10

type peekSettings struct {
	lookSettings
	from  uint64
	grep  string
	limit int
}

func peekCommand() *command {
	return &command{
		name:     "peek",
		synopsis: "TABLE --spool DIR | --to TARGET [flags]",
		summary:  "show the records of a table that wait in a spool",
		help: `Shows the records of a table that are durable and not settled, in the order in which
they came: number, time, state of their batch, and the record as it would be sent.
TABLE is a table's name, or DB.TABLE. Records of the same table that differ in format,
mapping, tags or the like are lanes of their own, each with its numbers. Of a record of
more than 4 KiB the beginning is shown, and --json shows up to a megabyte of it.
Records that cannot be read are told in their place. It changes no file. A spool that
another process has open is not shown.

With --json it prints one object a line; "record" is the record itself where that is a
JSON value, and else text; "base64" is there for what is no text.

Examples:
  kustospool peek Readings --spool /var/spool/fleet
  kustospool peek Fleet.Readings --spool /var/spool/fleet --from 1000 --limit 5 --json
  kustospool peek Readings --spool /var/spool/fleet --grep '"vessel":"Ida"' --limit 0

Exit codes: 0 shown, also when nothing waits, 1 a record shown cannot be read, or the
ledger cannot, 2 the command is wrong or the spool cannot be had.`,
		flags: func(fs *pflag.FlagSet) any {
			s := new(peekSettings)
			fs.Uint64Var(&s.from, "from", 0, "number of the first record to show")
			fs.StringVar(&s.grep, "grep", "", "show records that match this regular expression (RE2), of long ones the first megabyte")
			fs.IntVar(&s.limit, "limit", 20, "how many records to show; 0 means all")
			s.register(fs)
			return s
		},
		run: func(ctx context.Context, c *console, settings any, args []string) (int, error) {
			return peek(ctx, c, settings.(*peekSettings), args)
		},
	}
}

// peeked is a record, in the form of --json.
type peeked struct {
	Database string          `json:"database"`
	Table    string          `json:"table"`
	Format   ingest.Format   `json:"format"`
	Lane     uint32          `json:"lane"`
	Seq      uint64          `json:"seq"`
	Last     uint64          `json:"last,omitempty"` // of the records that cannot be read
	ID       string          `json:"id"`
	At       time.Time       `json:"at,omitzero"`
	State    ingest.State    `json:"state"`
	Batch    *ingest.BatchID `json:"batch,omitempty"`
	Record   json.RawMessage `json:"record,omitempty"`
	Base64   []byte          `json:"base64,omitempty"`
	Cut      bool            `json:"cut,omitempty"` // there is more of it
	Error    string          `json:"error,omitempty"`
}

func peek(ctx context.Context, c *console, s *peekSettings, args []string) (code int, err error) {
	switch {
	case len(args) != 1:
		return 0, usagef("peek takes the name of one table, TABLE or DB.TABLE; %d were given", len(args))
	case s.limit < 0:
		return 0, usagef("--limit %d: must not be negative", s.limit)
	}
	match, err := regexp.Compile(s.grep)
	if err != nil {
		return 0, usagef("--grep %q: must be a regular expression: %v", s.grep, err)
	}
	dir, err := s.dir(c)
	if err != nil {
		return 0, err
	}
	p, err := s.look(dir, new(findings))
	if err != nil {
		return 0, err
	}
	defer func() {
		if cerr := p.Close(); err == nil {
			err = cerr
		}
	}()
	lanes, err := tableLanes(p, args[0])
	if err != nil {
		return 0, err
	}
	shown, code := 0, exitOK
	for _, lane := range lanes {
		head := true
		for w, err := range p.Waiting(lane, s.from) {
			if err = firstError(err, ctx.Err()); err != nil {
				return 0, err
			}
			if s.grep != "" && (w.Err != nil || !match.Match(w.Data)) {
				continue
			}
			if s.limit > 0 && shown == s.limit {
				c.tell("There is more; see --limit and --from.")
				return code, nil
			}
			shown++
			if w.Err != nil {
				code = exitFailed
			}
			if err := s.show(c, p, lane, &w, head); err != nil {
				return 0, err
			}
			head = false
		}
	}
	if shown == 0 {
		c.tell("Nothing waits that was asked for.")
	}
	return code, nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// show prints a record, and before the first of a lane what the lane is.
func (s *peekSettings) show(c *console, p *store.Picture, lane uint32, w *store.Waiting, head bool) error {
	props, _ := p.LaneProperties(lane)
	e, err := p.Find(lane, w.Seq)
	if err != nil {
		return err
	}
	if s.json {
		out := peeked{Database: props.Database, Table: props.Table, Format: props.Format, Lane: lane, Seq: w.Seq,
			ID: ingest.NewID(p.ID(), lane, w.Seq).String(), At: w.At, State: e.State, Cut: w.Cut}
		if e.State != ingest.Open {
			out.Batch = &e.Batch.ID
		}
		switch {
		case w.Err != nil:
			out.Error, out.Last = w.Err.Error(), w.Last
		case !w.Cut && utf8.Valid(w.Data) && json.Valid(w.Data):
			out.Record = w.Data
		case utf8.Valid(w.Data):
			if out.Record, err = json.Marshal(string(w.Data)); err != nil {
				return err
			}
		default:
			out.Base64 = w.Data
		}
		return json.NewEncoder(c.out).Encode(out)
	}
	if head {
		blobs := ""
		if props.ByReference {
			blobs = ", addresses of blobs"
		}
		if _, err := fmt.Fprintf(c.out, "%s.%s, lane %d (%s%s)\n", visible.String(props.Database), visible.String(props.Table), lane,
			visible.String(string(props.Format)), blobs); err != nil {
			return err
		}
	}
	if w.Err != nil {
		_, err := fmt.Fprintf(c.out, "%d..%d\tcannot be read: %s\n", w.Seq, w.Last, visible.String(w.Err.Error()))
		return err
	}
	text, more := w.Data, ""
	if len(text) > longestRecord {
		n := longestRecord
		for n > longestRecord-utf8.UTFMax && !utf8.RuneStart(text[n]) {
			n--
		}
		text = text[:n]
	}
	switch {
	case w.Cut:
		more = fmt.Sprintf(" ... more than %s", shortBytes(int64(len(w.Data))))
	case len(text) < len(w.Data):
		more = fmt.Sprintf(" ... %s in all", shortBytes(int64(len(w.Data))))
	}
	_, err = fmt.Fprintf(c.out, "%d\t%s\t%s\t%s%s\n", w.Seq, w.At.Format(time.RFC3339), e.State, visible.String(string(text)), more)
	return err
}

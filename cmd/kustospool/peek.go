package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"time"
	"unicode/utf8"

	"github.com/spf13/pflag"

	"kustospool/internal/quantity"
	"kustospool/internal/visible"
	"kustospool/operate"
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
Records that cannot be read are told in their place. It changes no file. Of a spool in
use its process is asked, and what is settled meanwhile is shown or not.

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
			onLineOnly(fs, "from")
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
	Format   string          `json:"format"`
	Lane     uint32          `json:"lane"`
	Seq      uint64          `json:"seq"`
	Last     uint64          `json:"last,omitempty"` // of the records that cannot be read
	ID       string          `json:"id"`
	At       time.Time       `json:"at,omitzero"`
	State    string          `json:"state"`
	Batch    string          `json:"batch,omitempty"`
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
	if _, err := regexp.Compile(s.grep); err != nil {
		return 0, usagef("--grep %q: must be a regular expression: %v", s.grep, err)
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
	q := operate.PeekQuery{Table: args[0], From: s.from, Grep: s.grep}
	shown, lane := 0, uint32(0)
	for {
		q.Limit = operate.MaxPeek
		if s.limit > 0 {
			q.Limit = min(q.Limit, s.limit-shown)
		}
		if q.Limit == 0 { // whether there is more is known by one more
			q.Limit = 1
		}
		page, err := a.Peek(ctx, q)
		if err != nil {
			return 0, err
		}
		for i := range page.Records {
			r := &page.Records[i]
			if s.limit > 0 && shown == s.limit {
				c.tell("There is more; see --limit and --from.")
				return code, nil
			}
			shown++
			if r.Error != "" {
				code = exitFailed
			}
			if err := s.show(c, r, shown == 1 || r.Lane != lane); err != nil {
				return 0, err
			}
			lane = r.Lane
		}
		if page.Next == nil {
			break
		}
		q.Lane, q.Seq = page.Next.Lane, page.Next.Seq
	}
	if shown == 0 {
		c.tell("Nothing waits that was asked for.")
	}
	return code, nil
}

// show prints a record, and before the first of a lane what the lane is.
func (s *peekSettings) show(c *console, r *operate.WaitingRecord, head bool) error {
	if s.json {
		out := peeked{Database: r.Database, Table: r.Table, Format: r.Format, Lane: r.Lane, Seq: r.Seq, Last: r.Last, ID: r.ID, At: r.At,
			State: r.State, Batch: r.Batch, Cut: r.Cut, Error: r.Error}
		switch {
		case r.Error != "":
		case !r.Cut && utf8.Valid(r.Data) && json.Valid(r.Data):
			out.Record = r.Data
		case utf8.Valid(r.Data):
			text, err := json.Marshal(string(r.Data))
			if err != nil {
				return err
			}
			out.Record = text
		default:
			out.Base64 = r.Data
		}
		return json.NewEncoder(c.out).Encode(out)
	}
	if head {
		blobs := ""
		if r.Reference {
			blobs = ", addresses of blobs"
		}
		if _, err := fmt.Fprintf(c.out, "%s.%s, lane %d (%s%s)\n", visible.String(r.Database), visible.String(r.Table), r.Lane,
			visible.String(r.Format), blobs); err != nil {
			return err
		}
	}
	if r.Error != "" {
		_, err := fmt.Fprintf(c.out, "%d..%d\tcannot be read: %s\n", r.Seq, r.Last, visible.String(r.Error))
		return err
	}
	text, more := r.Data, ""
	if len(text) > longestRecord {
		n := longestRecord
		for n > longestRecord-utf8.UTFMax && !utf8.RuneStart(text[n]) {
			n--
		}
		text = text[:n]
	}
	switch {
	case r.Cut:
		more = fmt.Sprintf(" ... more than %s", quantity.Size(int64(len(r.Data))))
	case len(text) < len(r.Data):
		more = fmt.Sprintf(" ... %s in all", quantity.Size(int64(len(r.Data))))
	}
	_, err := fmt.Fprintf(c.out, "%d\t%s\t%s\t%s%s\n", r.Seq, r.At.Format(time.RFC3339), r.State, visible.String(string(text)), more)
	return err
}

package main

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/store"
	"kustospool/transport/admin"
)

func drainCommand() *command {
	return &command{
		name:     "drain",
		synopsis: "--to TARGET [--spool DIR] [flags]",
		summary:  "deliver what a spool holds",
		help: `Opens a spool that an earlier send has left behind, delivers what it holds and
waits for the outcome. Without --spool it is the target's default one. What the
spool holds goes to --to, also when an earlier send was for another target.

What waits for a table that is missing goes on once --create-table has made it.
--table says which one that is, as TABLE or DB.TABLE; where records of one table wait, it
need not be named.

Blobs that an earlier send was given with a SAS are fetched with one in
KUSTOSPOOL_BLOB_SAS, because none is stored: see kustospool help send.

Examples:
  kustospool drain --to https://ingest-help.westeurope.kusto.windows.net
  kustospool drain --to dir:/media/usb --spool /var/spool/fleet --timeout 10m
  kustospool drain --to https://ingest-help.westeurope.kusto.windows.net \
      --table Fleet.Readings --create-table 'ts:datetime,vessel:string,knots:real'

Exit codes: 0 nothing is left to deliver, 1 something was dead-lettered or failed,
2 the command is wrong or the spool cannot be had, 3 not all is delivered yet.
Dead letters of earlier runs are told and do not count.`,
		flags: func(fs *pflag.FlagSet) any {
			s := &drainSettings{deliverySettings: deliverySettings{retarget: true}} // who drains says where to
			fs.StringVar(&s.createTable, "create-table", "", "create a table before, or add the columns it lacks: NAME:TYPE,...; needs the role Database User")
			fs.StringVar(&s.table, "table", "", "the table of --create-table: TABLE or DB.TABLE; default the one that has records waiting")
			s.register(fs)
			return s
		},
		run: func(ctx context.Context, c *console, settings any, args []string) (int, error) {
			return drain(ctx, c, settings.(*drainSettings), args)
		},
	}
}

type drainSettings struct {
	deliverySettings
	createTable string
	table       string
}

func drain(ctx context.Context, c *console, s *drainSettings, args []string) (int, error) {
	if len(args) > 0 {
		return 0, usagef("drain takes no files; the spool is named with --spool")
	}
	t, err := parseTarget(s.to)
	if err != nil {
		return 0, err
	}
	c.quiet = s.quiet
	opts, err := s.options(c.err, engine.TableName{})
	if err != nil {
		return 0, err
	}
	dir := s.spool
	if dir == "" {
		if t.kind == toSimulator {
			return 0, usagef("--spool is missing: sim: has no spool of its own between runs")
		}
		var older []string
		if dir, older, err = t.defaultSpool(); err != nil {
			return 0, err
		}
		t.tellOlder(c, older)
	}
	if err := mustBeSpool(dir); err != nil {
		return 0, err
	}
	blobs, err := newBlobInputs()
	if err != nil {
		return 0, err
	}
	create, table, err := s.creation(t, dir)
	if err != nil {
		return 0, err
	}
	dest, err := reach(t, &s.deliverySettings, "", "", blobs)
	if err != nil {
		return 0, err
	}
	if err := create.run(ctx, c, dest, &s.deliverySettings, table); err != nil {
		return 0, errors.Join(err, dest.abandon())
	}
	x, err := openSession(ctx, c, &s.deliverySettings, dest, opts)
	if err != nil {
		return 0, err
	}
	why, err := x.deliver(ctx)
	return x.finish(report{}, outcome{why: why, err: err})
}

// creation reads --create-table and --table. The properties name the table.
func (s *drainSettings) creation(t target, dir string) (c creation, p ingest.Properties, err error) {
	switch {
	case s.createTable == "": // and --table may be there for other commands
		return c, p, nil
	case t.kind == toDirectory:
		return c, p, usagef("--create-table wants a cluster or sim:; a directory has no tables")
	}
	if c.columns, err = admin.ParseColumns(s.createTable); err != nil {
		return c, p, usagef("--create-table: %w", err)
	}
	look := lookSettings{spoolSettings: spoolSettings{trust: s.trust}, lock: s.lock}
	picture, err := look.look(dir, new(findings))
	if err != nil {
		return c, p, err
	}
	p, err = tableToCreate(picture, s.table)
	return c, p, errors.Join(err, picture.Close())
}

// tableToCreate is the table that is named, or the only one that has something waiting.
func tableToCreate(picture *store.Picture, name string) (ingest.Properties, error) {
	if name != "" {
		lanes, err := tableLanes(picture, name)
		if err != nil {
			return ingest.Properties{}, err
		}
		p, _ := picture.LaneProperties(lanes[0])
		return p, nil
	}
	waiting := map[string]ingest.Properties{}
	_, lanes := picture.Snapshot()
	for _, l := range lanes {
		if l.Open+l.Sealed > 0 {
			waiting[l.Properties.Database+"."+l.Properties.Table] = *l.Properties
		}
	}
	if len(waiting) == 1 {
		for _, p := range waiting {
			return p, nil
		}
	}
	if len(waiting) == 0 {
		return ingest.Properties{}, usagef("--create-table: no records wait in the spool; name the table with --table")
	}
	return ingest.Properties{}, usagef("--create-table: records of several tables wait; name one with --table: %s", strings.Join(slices.Sorted(maps.Keys(waiting)), ", "))
}

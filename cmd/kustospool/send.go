package main

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync/atomic"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"kustospool/cmd/kustospool/internal/input"
	"kustospool/engine"
	"kustospool/ingest"
)

type sendSettings struct {
	deliverySettings
	database         string
	table            string
	format           string
	mapping          string
	mappingReference string
	tags             []string
	creationTime     string
	createTable      string
	createMapping    bool
	skipHeader       bool
	gzip             bool
	onBadRecord      string
	uncheckedJSON    bool
	noWait           bool
	again            bool
	rowsOut          string
	blobs            []string
}

func sendCommand() *command {
	return &command{
		name:     "send",
		synopsis: "--to TARGET --database DB --table TABLE [flags] [FILE|BLOB-URL...|-]",
		summary:  "spool files or standard input, deliver, and report",
		help: `Reads records from files, or from standard input, makes them durable in a spool
directory, delivers them to the target and waits until the service has said of
each what became of it.

Files of line formats (json, csv, tsv, psv, txt ...) hold one record a line; blank
lines are passed over and counted, a row of blanks or of empty fields is a row;
csv fields that begin with a double quote may hold line ends up to the closing
one. A json record is one JSON object on its line. Files of multijson hold objects
or arrays of them, each object a record. Files of other formats (parquet, avro,
orc, singlejson ...) are one record as a whole, of up to 4 GiB.
A name that ends in .gz, or --gzip, is decompressed, and an archive whose name ends
in .zip is unpacked, all of its files or none, but for resource forks and dot files.
The format follows from the file's extension, .jsonl and .ndjson included; standard
input is json unless --format says otherwise. What begins like something else
(an archive, parquet, UTF-16, bytes with NULs; a .log without a # directive) is
refused. Files are read once beforehand, so that a bad one is refused before
anything is stored.

What is no record (a torn line of json, a quote that is never closed) stops the
run before anything of a file is stored; of a pipe it becomes a dead letter whose
reason names its line, and the rest goes on. --on-bad-record says otherwise.

What of a file is stored is remembered in the spool, in the same commit as the
records. The same command, with the same spool, goes on behind it: after a run
that was cut, and with a file that has grown. A file that is stored whole is not
sent again; --again sends it. A file is known by its path, the table and the
properties it goes with, and the checksum of the first 64 KiB of what is stored:
one that begins otherwise is a new file. Of pipes nothing is remembered, and of
files the latest 512. An archive, and an object such as parquet, is stored whole
or not at all.

An input that is a URL is a blob in storage, which the service fetches by itself:
with the SAS in the URL's query, as ";impersonate" or ";managed_identity=system"
behind it says, or with one in KUSTOSPOOL_BLOB_SAS: URLs of containers or accounts
with their SAS, for the blobs below them. A SAS is held in memory and never
stored: a later drain needs that variable. The arguments of a process are for
others to see; the variable is not.

Examples:
  kustospool send --to sim: --database Demo --table Telemetry testdata/telemetry.jsonl
  kustospool send --to https://ingest-help.westeurope.kusto.windows.net \
      --database Fleet --table Readings --mapping-reference readings log-*.jsonl.gz
  journal-exporter | kustospool send --to https://... --database Ops --table Log --no-wait -
  kustospool send --to https://... --database Fleet --table Readings \
      --create-table 'ts:datetime,vessel:string,knots:real' readings.csv
  kustospool send --to https://... --database Fleet --table Readings \
      'https://ACCOUNT.blob.core.windows.net/in/log.csv.gz;managed_identity=system'
  kustospool send --to dir:/media/usb --database Fleet --table Readings *.csv --skip-header

Exit codes: 0 all is ingested (with --no-wait: durable), 1 something was
dead-lettered or failed, 2 the command or its input is wrong, or the spool cannot
be had, and this run stored nothing, 3 durable but not delivered yet, 4 a part of
the input is stored and the rest is not, 5 an input changed while it was read.
With 4 and 5 the report says how many records of which input are stored.`,
		flags: func(fs *pflag.FlagSet) any {
			s := new(sendSettings)
			fs.StringVar(&s.database, "database", "", "database to ingest into; default the one that the address of --to names, if any")
			fs.StringVar(&s.table, "table", "", "table to ingest into")
			fs.StringVar(&s.format, "format", "", "format of all inputs; default by each file's extension")
			fs.StringVar(&s.mapping, "mapping", "", "ingestion mapping, as JSON or as @FILE")
			fs.StringVar(&s.mappingReference, "mapping-reference", "", "name of an ingestion mapping of the table")
			fs.StringVar(&s.createTable, "create-table", "", "create the table before, or add the columns it lacks: NAME:TYPE,...; needs the role Database User")
			fs.BoolVar(&s.createMapping, "create-mapping", false, "create or replace the mapping --mapping before, under the name --mapping-reference")
			fs.StringArrayVar(&s.tags, "tag", nil, "extent tag such as drop-by:2026-11; may be repeated")
			fs.StringVar(&s.creationTime, "creation-time", "", "creation time of the extents, for back-filling: RFC 3339, or a date such as 2017-02-13")
			fs.BoolVar(&s.skipHeader, "skip-header", false, "drop the first record of each input")
			fs.BoolVar(&s.gzip, "gzip", false, "the inputs are gzip data, whatever their names say")
			fs.StringVar(&s.onBadRecord, "on-bad-record", "", "what to do with what is no record: stop, skip or dead-letter; default dead-letter for a pipe, and for files stop, with nothing stored")
			fs.BoolVar(&s.uncheckedJSON, "unchecked-json", false, "do not check that json records are JSON objects; the service passes over what is none without a word")
			fs.BoolVar(&s.again, "again", false, "send files from their beginning, whatever earlier runs have stored of them")
			fs.BoolVar(&s.retarget, "retarget", false, "deliver what the spool holds for another target to this one as well")
			fs.BoolVar(&s.noWait, "no-wait", false, "end when everything is durable")
			fs.StringArrayVar(&s.blobs, "blob", nil, "URL of a blob that the service is to fetch, as an argument; may be repeated")
			s.register(fs)
			fs.StringVar(&s.rowsOut, "rows-out", "", "with --to sim:, write the table's rows to this file (- for standard output) as JSON lines")
			return s
		},
		run: func(ctx context.Context, c *console, settings any, args []string) (int, error) {
			code, err := send(ctx, c, settings.(*sendSettings), args)
			if err != nil && code == 0 {
				// There was no spool yet: whatever failed, nothing was stored.
				if code = codeOf(err); code == exitFailed {
					code = exitUsage
				}
			}
			return code, err
		},
	}
}

// send checks everything that can be checked without storing, then spools,
// delivers and reports.
func send(ctx context.Context, c *console, s *sendSettings, args []string) (int, error) {
	c.quiet = s.quiet
	t, err := parseTarget(s.to)
	if err != nil {
		return 0, err
	}
	if s.database, err = t.databaseOr(s.database); err != nil {
		return 0, err
	}
	if err := checkRows(t, s.rowsOut, s.json); err != nil {
		return 0, err
	}
	opts, err := s.options(c.err, engine.TableName{Database: s.database, Table: s.table})
	if err != nil {
		return 0, err
	}
	args, blobs, err := s.references(t, args)
	if err != nil {
		return 0, err
	}
	var sources []input.Source
	if len(args) > 0 || len(blobs.list) == 0 {
		if sources, err = s.sources(c, args); err != nil {
			return 0, err
		}
	}
	properties, err := s.properties()
	if err != nil {
		return 0, err
	}
	if err := validate(properties, sources); err != nil {
		return 0, err
	}
	for _, in := range blobs.list {
		if p := in.properties(properties, s.skipHeader); p.Validate() != nil {
			return 0, usageError{p.Validate()}
		}
	}
	expect, err := checkAll(ctx, c, sources)
	if err != nil {
		return 0, err
	}
	opts.UncheckedJSON = s.uncheckedJSON
	if len(sources) > 0 && sources[0].OnBadRecord != 0 {
		opts.OnBadRecord = sources[0].OnBadRecord
	}
	create, err := s.creation(t, sources, blobs)
	if err != nil {
		return 0, err
	}
	dest, err := reach(t, &s.deliverySettings, s.database, s.table, blobs)
	if err != nil {
		return 0, err
	}
	if err := create.run(ctx, c, dest, &s.deliverySettings, properties); err != nil {
		return 0, errors.Join(err, dest.abandon())
	}
	if err := dest.openRows(c, s.rowsOut); err != nil {
		return 0, errors.Join(err, dest.abandon())
	}
	x, err := openSession(ctx, c, &s.deliverySettings, dest, opts)
	if err != nil {
		return 0, err
	}
	in := &intake{sources: sources, spooled: x.spool, tables: make(map[ingest.Format]*engine.Table), inputs: newInputReports(sources, blobs)}
	for _, src := range sources {
		p := properties
		p.Format = src.Format
		if in.tables[src.Format], err = x.spool.Table(p); err != nil {
			return x.finish(in.report(), outcome{err: err, unread: true})
		}
	}
	if err := in.resume(x.spool, s.again); err != nil {
		return x.finish(in.report(), outcome{err: err, unread: true})
	}
	if slices.ContainsFunc(in.resumed, func(r resumption) bool { return r.whole || r.from > 0 }) {
		expect = 0 // how many are left shows as they are read
	}
	if len(sources) > maxMarks {
		c.tell("These are %d files, and a spool remembers %d: after a run that is cut, the same command would send some of them twice.", len(sources), maxMarks)
	}
	why, err := x.spoolAll(ctx, in, expect, func(ctx context.Context) error {
		if err := in.spool(ctx); err != nil {
			return err
		}
		return blobs.ingest(ctx, x.spool, properties, s.skipHeader, in, len(sources))
	})
	switch {
	case why != done:
		return x.finish(in.report(), outcome{why: why, err: err, unread: true})
	case s.noWait:
		blobs.advise(c)
		return x.finish(in.report(), outcome{noWait: true})
	}
	if why, err = x.deliver(ctx); why != done {
		blobs.advise(c)
	}
	return x.finish(in.report(), outcome{why: why, err: err})
}

// references takes the blobs out of the arguments, and adds those of --blob.
func (s *sendSettings) references(t target, args []string) (files []string, blobs *blobInputs, err error) {
	if blobs, err = newBlobInputs(); err != nil {
		return nil, nil, err
	}
	var format ingest.Format
	if s.format != "" {
		if format, err = ingest.ParseFormat(s.format); err != nil {
			return nil, nil, usageError{err}
		}
	}
	uris := s.blobs
	for _, arg := range args {
		if isBlob(arg) {
			uris = append(uris, arg)
		} else {
			files = append(files, arg)
		}
	}
	for _, uri := range uris {
		if err := blobs.add(uri, format); err != nil {
			return nil, nil, err
		}
	}
	if len(uris) > 0 && (t.kind == toDirectory || s.mode == "streaming") {
		return nil, nil, usagef("a blob is fetched by the service: it can be sent to a cluster or to sim:, with --mode queued, direct or managed")
	}
	return files, blobs, nil
}

// sources makes an input of each argument. No argument means standard input.
func (s *sendSettings) sources(c *console, args []string) ([]input.Source, error) {
	if len(args) == 0 {
		args = []string{input.Stdin}
		if f, ok := c.in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
			return nil, usagef("no input: name files, or - for standard input")
		}
	}
	var format ingest.Format
	if s.format != "" {
		f, err := ingest.ParseFormat(s.format)
		if err != nil {
			return nil, usageError{err}
		}
		format = f
	}
	var bad engine.BadRecordPolicy
	if s.onBadRecord != "" {
		var err error
		if bad, err = engine.ParseBadRecordPolicy(s.onBadRecord); err != nil {
			return nil, usagef("--on-bad-record %q: must be stop, skip or dead-letter", s.onBadRecord)
		}
	}
	var out []input.Source
	stdins := 0
	for _, name := range args {
		src := input.Source{Name: name, Format: format, SkipHeader: s.skipHeader, Gzip: s.gzip, OnBadRecord: bad, Unchecked: s.uncheckedJSON}
		if name == input.Stdin {
			src.Reader = c.in
			if stdins++; stdins > 1 {
				return nil, usagef("standard input can be read only once")
			}
		}
		if src.Format == "" {
			f, ok := ingest.FormatOf(name)
			switch {
			case ok:
				src.Format = f
			case name == input.Stdin:
				src.Format = ingest.JSON
			default:
				return nil, usagef("%s: the name does not tell the format; give --format", name)
			}
		}
		if s.skipHeader && !hasHeader(src.Format) {
			return nil, usagef("--skip-header: %s of format %s has no header line", name, src.Format)
		}
		out = append(out, src)
	}
	return out, nil
}

func hasHeader(f ingest.Format) bool {
	return f.MappingKind() == ingest.MappingCSV && f.Concatenates()
}

// checkAll reads the inputs that can be read twice, and returns the number of
// records in all of them, 0 where it cannot be known. All that is wrong with
// any of them is reported at once, one error an input.
func checkAll(ctx context.Context, c *console, sources []input.Source) (records int64, err error) {
	var (
		errs       []error
		passedOver []string
		streamed   bool
		checked    atomic.Int64
	)
	check := func(ctx context.Context) error {
		for i := range sources {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			x, err := sources[i].Check()
			if err != nil {
				errs = append(errs, err)
			}
			passedOver = append(passedOver, x.PassedOver...)
			streamed = streamed || x.Streamed
			records += x.Records
			checked.Add(1)
		}
		return nil
	}
	phase := c.begin("checked", "inputs", int64(len(sources)))
	why, err := attend(ctx, phase, new(patience), check, func() view { return view{n: checked.Load()} })
	switch {
	case err != nil:
		return 0, err
	case why != done:
		return 0, errors.New("stopped while the input was checked; nothing was stored")
	case streamed:
		records = 0
	}
	for _, name := range passedOver {
		c.tell("Passed over: %s", name)
	}
	return records, errors.Join(errs...)
}

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"kustospool/ingest"
	"kustospool/internal/kustosim"
)

type simSettings struct {
	listen                        string
	tables                        []string
	autoCreate                    bool
	strict                        bool
	merge                         bool
	rights                        string
	maxBlocks                     int
	tagRetention, extentRetention time.Duration
	preferREST                    bool
	noREST                        bool
	blobHosts                     []string
	hosts                         []string
	token                         string
	principals                    []string
	batchTime                     time.Duration
	batchItems                    int
	accounts                      int
	capacity                      int
	sas                           time.Duration
	tokens                        time.Duration
	verbose                       bool
}

func simCommand() *command {
	return &command{
		name:     "sim",
		synopsis: "[--listen ADDRESS] [--table DB.TABLE]... [flags]",
		summary:  "run a simulated service to try things out on",
		help: `Runs a simulated Kusto cluster with its storage account on loopback ports until it
is interrupted, and prints how to point a client at it and how to read a table's
rows back. It holds everything in memory and asks for no credential, unless
--token or --principal name one. What a web page of another site makes a browser
send is refused on every port.

A table is DB.TABLE, which keeps every document as it came, or has columns:
DB.TABLE(column:type,...).

It can be made to fail while it runs, by requests to it: docs/simulator.md.

Examples:
  kustospool sim --listen 127.0.0.1:8080 --table Demo.Telemetry
  kustospool sim --table 'Demo.Readings(at:datetime,value:real,labels:dynamic)'`,
		flags: func(fs *pflag.FlagSet) any {
			s := new(simSettings)
			fs.StringVar(&s.listen, "listen", "127.0.0.1:0", "loopback address of the cluster; port 0 picks a free one")
			fs.StringArrayVar(&s.tables, "table", nil, "table to create, DB.TABLE or DB.TABLE(column:type,...); may be repeated")
			onLineOnly(fs, "table")
			fs.BoolVar(&s.autoCreate, "auto-create", false, "create unknown tables when data arrives for them; on when no --table is given")
			fs.BoolVar(&s.strict, "strict-json", false, "fail a blob for a malformed JSON line, which the service passes over in silence")
			fs.BoolVar(&s.preferREST, "prefer-rest", false, "tell clients to submit over REST instead of by queue")
			fs.BoolVar(&s.noREST, "no-rest", false, "be a service without the REST API for queued ingestion")
			fs.StringVar(&s.token, "token", "", "bearer token that the cluster asks for; its holder is an Admin")
			fs.StringArrayVar(&s.principals, "principal", nil, "TOKEN=ROLE, a further bearer token whose holder is Viewer, Ingestor, User, Monitor or Admin, or some of them joined by +; may be repeated")
			fs.DurationVar(&s.batchTime, "batch-time", 0, "how long untagged blobs are aggregated; default 50ms, the service's is 5m")
			fs.IntVar(&s.batchItems, "batch-items", 0, "blobs at which an aggregation is sealed; default 500")
			fs.IntVar(&s.accounts, "accounts", 0, "storage accounts, 1 to 16; default 2")
			fs.BoolVar(&s.merge, "merge-extents", false, "merge a table's extents, and their tags, with each commit")
			fs.DurationVar(&s.tagRetention, "tag-retention", 0, "after how long an extent loses its ingest-by: tags; default never")
			fs.DurationVar(&s.extentRetention, "extent-retention", 0, "after how long an extent goes with its rows; default never")
			fs.IntVar(&s.maxBlocks, "max-blocks", 0, "blocks that a blob may have; default 50000, and twice as many uncommitted ones")
			fs.StringVar(&s.rights, "container-rights", "", "letters of racwdl, the rights of the signatures for containers; default all")
			fs.IntVar(&s.capacity, "capacity", 0, "ingestion commands under way at once; default 48")
			fs.DurationVar(&s.sas, "sas-lifetime", 0, "how long signatures are valid; default 24h")
			fs.DurationVar(&s.tokens, "token-lifetime", 0, "how long identity tokens are valid; default 24h")
			fs.StringArrayVar(&s.blobHosts, "blob-host", nil, "web server of this machine, HOST:PORT, from which blobs may be fetched; may be repeated")
			fs.StringArrayVar(&s.hosts, "host", nil, "name by which clients reach the simulator besides loopback, as through a proxy; may be repeated")
			fs.BoolVarP(&s.verbose, "verbose", "v", false, "log requests to standard error")
			return s
		},
		run: func(ctx context.Context, c *console, settings any, args []string) (int, error) {
			return simulate(ctx, c, settings.(*simSettings), args)
		},
	}
}

func simulate(ctx context.Context, c *console, s *simSettings, args []string) (int, error) {
	if len(args) > 0 {
		return 0, usagef("sim takes no arguments; tables are named with --table")
	}
	opts, tables, err := s.options()
	if err != nil {
		return 0, err
	}
	if s.verbose {
		opts.Logger = slog.New(slog.NewTextHandler(c.err, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	sim, err := startSim(opts, tables)
	if err != nil {
		return 0, usageError{err}
	}
	if err := announce(c, sim.Endpoint(), tables, len(opts.Principals) > 0 || opts.Token != ""); err != nil {
		return 0, errors.Join(err, sim.Close())
	}
	<-ctx.Done()
	return exitOK, sim.Close()
}

// startSim runs a simulator with its tables. The error is about the options.
func startSim(opts *kustosim.Options, tables []tableSpec) (*kustosim.Sim, error) {
	sim, err := kustosim.Start(opts)
	if err != nil {
		return nil, err
	}
	for _, spec := range tables {
		if err := sim.CreateTable(spec.database, spec.table, spec.columns...); err != nil {
			return nil, errors.Join(err, sim.Close())
		}
	}
	return sim, nil
}

// options are what the flags say, checked as far as the simulator does not.
func (s *simSettings) options() (*kustosim.Options, []tableSpec, error) {
	var tables []tableSpec
	for _, text := range s.tables {
		spec, err := parseTable(text)
		if err != nil {
			return nil, nil, err
		}
		tables = append(tables, spec)
	}
	opts := &kustosim.Options{
		Listen:            s.listen,
		AutoCreate:        s.autoCreate || len(tables) == 0,
		FailMalformedJSON: s.strict,
		BlobHosts:         s.blobHosts,
		Hosts:             s.hosts,
		Token:             s.token,
		BatchTime:         s.batchTime,
		BatchItems:        s.batchItems,
		Accounts:          s.accounts,
		IngestCapacity:    s.capacity,
		MergeExtents:      s.merge,
		TagRetention:      s.tagRetention,
		ExtentRetention:   s.extentRetention,
		MaxBlocks:         s.maxBlocks,
		ContainerRights:   s.rights,
		SASLifetime:       s.sas,
		TokenLifetime:     s.tokens,
	}
	for _, text := range s.principals {
		token, role, err := parsePrincipal(text)
		if err != nil {
			return nil, nil, err
		}
		if opts.Principals == nil {
			opts.Principals = make(map[string]kustosim.Role)
		}
		opts.Principals[token] = role
	}
	if s.noREST {
		opts.PreferredIngestion = "-"
	}
	if s.preferREST && s.noREST {
		return nil, nil, usagef("--prefer-rest and --no-rest exclude each other")
	}
	if s.preferREST {
		opts.PreferredIngestion = "Rest"
	}
	return opts, tables, nil
}

// announce tells how to use the simulator. The first line is for scripts. It
// never prints a token.
func announce(c *console, endpoint string, tables []tableSpec, authorized bool) error {
	bearer, credential := "", ", without a credential"
	if authorized {
		bearer, credential = ` -H "Authorization: Bearer $TOKEN"`, ", with a bearer token"
	}
	database, table := "Demo", "Telemetry"
	if len(tables) > 0 {
		database, table = tables[0].database, tables[0].table
	}
	query := url.Values{"db": {database}, "table": {table}}.Encode()
	_, err := fmt.Fprintf(c.out, `listening on %[1]s

To send to it:
  kustospool send --to %[1]s --database %[2]s --table %[3]s FILE
Any other client of queued ingestion takes that address as its cluster%[5]s.

To read the rows back as JSON lines:
  curl -s%[6]s '%[1]s/sim/rows?%[4]s'
Counters:
  curl -s%[6]s %[1]s/sim/stats

It keeps everything in memory and ends with an interrupt.
`, endpoint, shellWord(database), shellWord(table), query, credential, bearer)
	return err
}

// parsePrincipal reads TOKEN=ROLE, or TOKEN=ROLE+ROLE. A token may hold equals signs.
func parsePrincipal(s string) (token string, role kustosim.Role, err error) {
	at := strings.LastIndexByte(s, '=')
	if at > 0 {
		if r, ok := kustosim.ParseRole(s[at+1:]); ok {
			return s[:at], r, nil
		}
	}
	return "", 0, usagef("--principal: must be TOKEN=ROLE, with the role Viewer, Ingestor, User, Monitor or Admin, or some of them joined by +")
}

// tableSpec is a parsed --table.
type tableSpec struct {
	database, table string
	columns         []kustosim.Column
}

// parseTable reads DB.TABLE or DB.TABLE(column:type,...). The database ends at
// the first point.
func parseTable(s string) (tableSpec, error) {
	bad := func(rule string) (tableSpec, error) {
		return tableSpec{}, usagef("--table %q: %s", s, rule)
	}
	name, columns, hasColumns := strings.Cut(s, "(")
	database, table, ok := strings.Cut(name, ".")
	if !ok {
		return bad("must be DB.TABLE or DB.TABLE(column:type,...)")
	}
	p := ingest.Properties{Database: database, Table: table, Format: ingest.JSON}
	if err := p.Validate(); err != nil {
		return tableSpec{}, usagef("--table %q: %w", s, err)
	}
	spec := tableSpec{database: database, table: table}
	if !hasColumns {
		return spec, nil
	}
	if columns, ok = strings.CutSuffix(columns, ")"); !ok {
		return bad("the list of columns is not closed")
	}
	for _, column := range strings.Split(columns, ",") {
		name, kind, ok := strings.Cut(column, ":")
		name, kind = strings.TrimSpace(name), strings.TrimSpace(kind)
		if !ok || name == "" || kind == "" {
			return bad("a column is NAME:TYPE")
		}
		spec.columns = append(spec.columns, kustosim.Column{Name: name, Type: kind})
	}
	return spec, nil
}

package kustosim

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// managerConfig is what management commands work on.
type managerConfig struct {
	catalog   *catalog
	tokens    *tokenBook
	resources resourceLister
	ingestor  directIngestor
	stats     *statsBook
	notify    func()          // called after every effect
	done      <-chan struct{} // closed when the simulator ends

	anyDatabase     bool // unknown databases are created on first use
	unknownResource bool // tell of a resource of an unknown type
	tagHitAsFailed  bool
	ingestCapacity  int           // .ingest commands at once
	ingestTime      time.Duration // of each, at least
}

// resourceLister tells the resources of ingestion, with fresh signatures.
type resourceLister interface {
	resources() ([]resource, error)
}

// directIngestor carries out ingestion commands.
type directIngestor interface {
	held(*ingestCommand) <-chan struct{}
	direct(context.Context, *ingestCommand) (e *Extent, hit string, bad *ingestError)
}

// manager runs management commands and remembers those that ingest.
type manager struct {
	managerConfig
	commands commandLog
	running  sync.WaitGroup // async commands
}

func newManager(c managerConfig) *manager { return &manager{managerConfig: c} }

// wait returns when no async command is under way. No more may be begun.
func (s *manager) wait() { s.running.Wait() }

// Command is a management command as a client sent it.
type Command struct {
	clientID string // x-ms-client-request-id
	db       string
	text     string
}

// manage runs a management command. What it does not know is a permanent 400.
func (s *manager) manage(ctx context.Context, c Command) (*dataset, *kustoError) {
	tokens, data, piped, err := lexHead(c.text)
	if err != nil {
		return nil, badCommand("General_BadRequest", "Syntax error: "+err.Error())
	}
	m := &reader{tokens: tokens}
	if inline := m.words(".ingest", "inline"); inline || piped {
		if !inline || !piped {
			return nil, badCommand("General_BadRequest", "Syntax error: the simulator does not know this command.")
		}
		return s.ingest(ctx, c, m, data, true)
	}
	switch {
	case m.words(".ingest"):
		return s.ingest(ctx, c, m, "", false)
	case m.words(".show", "commands"):
		return s.showCommands(m)
	case m.words(".show", "operations"):
		return s.showOperations(m)
	case m.words(".show", "capacity"):
		return s.showCapacity(), nil
	case m.words(".alter", "table"):
		return s.alterTable(c.db, m)
	case m.words(".get", "ingestion", "resources"), m.words(".show", "ingestion", "resources"):
		return s.resourceRows()
	case m.words(".get", "kusto", "identity", "token"):
		s.stats.add(func(st *Stats) { st.TokensIssued++ })
		return &dataset{columns("AuthorizationContext", "string"), [][]any{{s.tokens.issue(time.Now())}}}, nil
	case m.words(".show", "version"):
		return &dataset{
			columns("BuildVersion", "string", "BuildTime", "datetime", "ServiceType", "string", "ProductVersion", "string"),
			[][]any{{"1.0.0.0", "2025-01-01T00:00:00Z", "Engine", "kustosim"}}}, nil
	case m.words(".show", "tables"):
		return s.showTables(c.db)
	case m.words(".show", "databases"):
		return s.showDatabases(), nil
	case m.words(".show", "table"):
		return s.showExtents(c.db, m)
	case m.words(".create-merge", "table"):
		return s.createTable(c.db, m, true)
	case m.words(".create", "table"), m.words(".create-or-alter", "table"):
		return s.createTable(c.db, m, false)
	case m.words(".drop", "table"):
		name := m.next()
		if name.kind != wordToken || !s.catalog.dropTable(c.db, name.text) {
			return nil, entityNotFound("Table", name.text)
		}
		return s.showTables(c.db)
	default:
		return nil, badCommand("General_BadRequest", "Syntax error: the simulator does not know this command.")
	}
}

var errTableSyntax = badCommand("General_BadRequest", "Syntax error: the table definition is not understood.")

// createTable runs `.create[-merge] table T (a:string, ...)` and
// `.create table T ingestion json mapping 'M' '[...]'`.
func (s *manager) createTable(db string, m *reader, merge bool) (*dataset, *kustoError) {
	name := m.next()
	if name.kind != wordToken {
		return nil, errTableSyntax
	}
	if !s.catalog.hasDatabase(db) && !s.anyDatabase {
		return nil, entityNotFound("Database", db)
	}
	if m.words("ingestion") {
		kind, isMapping := m.next(), m.words("mapping")
		mappingName, text := m.next(), m.next()
		if !isMapping || mappingName.kind != textToken || text.kind != textToken || !m.done() {
			return nil, badCommand("General_BadRequest", "Syntax error: the mapping definition is not understood.")
		}
		if err := s.catalog.createMapping(db, name.text, kind.text, mappingName.text, text.text); err != nil {
			if errors.Is(err, ErrTableNotFound) {
				return nil, entityNotFound("Table", name.text)
			}
			return nil, badCommand("BadRequest_InvalidMapping", err.Error())
		}
		return &dataset{columns("Name", "string", "Kind", "string", "Mapping", "string", "Database", "string", "Table", "string"),
			[][]any{{mappingName.text, kind.text, text.text, db, name.text}}}, nil
	}
	var schema []Column
	if !m.done() {
		if !m.words("(") {
			return nil, errTableSyntax
		}
		for !m.words(")") {
			column, colon, kind := m.next(), m.words(":"), m.next()
			if column.kind != wordToken || !colon || kind.kind != wordToken {
				return nil, errTableSyntax
			}
			schema = append(schema, Column{column.text, kind.text})
			m.words(",")
		}
	}
	var folder, doc string
	if m.words("with", "(") {
		for !m.words(")") {
			key, equals, value := m.next(), m.words("="), m.next()
			switch {
			case !equals || value.kind != textToken:
				return nil, errTableSyntax
			case key.is("folder"):
				folder = value.text
			case key.is("docstring"):
				doc = value.text
			default:
				return nil, errTableSyntax
			}
			m.words(",")
		}
	}
	if !m.done() {
		return nil, errTableSyntax
	}
	if err := s.catalog.create(db, name.text, schema, merge); err != nil {
		code := "General_BadRequest"
		if errors.Is(err, ErrTableExists) {
			code = "BadRequest_EntityNameAlreadyExists"
		}
		return nil, badCommand(code, err.Error())
	}
	schema, _ = s.catalog.columns(db, name.text)
	var told []string
	for _, c := range schema {
		told = append(told, c.Name+":"+c.Type)
	}
	return &dataset{columns("TableName", "string", "Schema", "string", "DatabaseName", "string", "Folder", "string", "DocString", "string"),
		[][]any{{name.text, strings.Join(told, ","), db, folder, doc}}}, nil
}

func (s *manager) showTables(db string) (*dataset, *kustoError) {
	names, ok := s.catalog.tables(db)
	if !ok && !s.anyDatabase {
		return nil, entityNotFound("Database", db)
	}
	set := &dataset{columns: columns("TableName", "string", "DatabaseName", "string", "Folder", "string", "DocString", "string")}
	for _, name := range names {
		set.rows = append(set.rows, []any{name, db, "", ""})
	}
	return set, nil
}

func (s *manager) showDatabases() *dataset {
	set := &dataset{columns: columns("DatabaseName", "string")}
	for _, name := range s.catalog.databaseNames() {
		set.rows = append(set.rows, []any{name})
	}
	return set
}

// showExtents runs `.show table T extents [where tags has|!has|contains|!contains 'x' [and tags ..]]`.
func (s *manager) showExtents(db string, m *reader) (*dataset, *kustoError) {
	name := m.next()
	if name.kind != wordToken || !m.words("extents") {
		return nil, badCommand("General_BadRequest", "Syntax error: the simulator does not know this command.")
	}
	if _, ok := s.catalog.columns(db, name.text); !ok {
		return nil, entityNotFound("Table", name.text)
	}
	var filters []func(tags []string) bool
	for m.words("where") || m.words("and") {
		tags, negated := m.words("tags"), m.words("!")
		op, value := m.next(), m.next()
		if !tags || value.kind != textToken || !op.is("has") && !op.is("contains") {
			return nil, badCommand("General_BadRequest", "Syntax error: the condition on tags is not understood.")
		}
		filters = append(filters, func(tags []string) bool {
			return negated != slices.ContainsFunc(tags, func(t string) bool {
				return t == value.text || op.is("contains") && strings.Contains(strings.ToLower(t), strings.ToLower(value.text))
			})
		})
	}
	if !m.done() {
		return nil, badCommand("General_BadRequest", "Syntax error: the simulator does not know this command.")
	}
	set := &dataset{columns: columns("ExtentId", "guid", "DatabaseName", "string", "TableName", "string", "MaxCreatedOn", "datetime", "RowCount", "long", "MinCreatedOn", "datetime", "Tags", "string")}
next:
	for _, e := range s.catalog.extents(db, name.text) {
		for _, keep := range filters {
			if !keep(e.Tags) {
				continue next
			}
		}
		set.rows = append(set.rows, []any{e.ID, db, name.text, kustoTime(e.Created), e.RowCount, kustoTime(e.Created), strings.Join(e.Tags, "\r\n")})
	}
	return set, nil
}

// resourceRows answers `.get ingestion resources`.
func (s *manager) resourceRows() (*dataset, *kustoError) {
	list, err := s.managerConfig.resources.resources()
	if err != nil {
		return nil, kustoErrorOf(http.StatusInternalServerError)
	}
	if s.unknownResource {
		list = append(list, resource{"SimulatedFutureResource", "https://localhost/future?sig=none"})
	}
	set := &dataset{columns: columns("ResourceTypeName", "string", "StorageRoot", "string")}
	for _, r := range list {
		set.rows = append(set.rows, []any{r.kind, r.root})
	}
	return set, nil
}

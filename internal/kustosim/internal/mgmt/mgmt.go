package mgmt

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"kustospool/internal/kustosim/internal/catalog"
	"kustospool/internal/kustosim/internal/ingestor"
	"kustospool/internal/kustosim/internal/lex"
	"kustospool/internal/kustosim/internal/parse"
	"kustospool/internal/kustosim/internal/reply"
	"kustospool/internal/kustosim/internal/stats"
	"kustospool/internal/kustosim/internal/storage"
)

// Config is what management commands work on.
type Config struct {
	Catalog   *catalog.Catalog
	Tokens    *ingestor.Tokens
	Resources Resources
	Ingestor  Ingestor
	Stats     *stats.Book
	Notify    func()          // called after every effect
	Done      <-chan struct{} // closed when the simulator ends

	AnyDatabase     bool // unknown databases are created on first use
	UnknownResource bool // tell of a resource of an unknown type
	TagHitAsFailed  bool
	IngestCapacity  int           // .ingest commands at once
	IngestTime      time.Duration // of each, at least
}

// Resources tells the resources of ingestion, with fresh signatures.
type Resources interface {
	Resources() ([]storage.Resource, error)
}

// Ingestor carries out ingestion commands.
type Ingestor interface {
	Held(*ingestor.Command) <-chan struct{}
	Direct(context.Context, *ingestor.Command) (e *catalog.Extent, hit string, bad *parse.Error)
}

// Manager runs management commands and remembers those that ingest.
type Manager struct {
	Config
	commands commandLog
	running  sync.WaitGroup // async commands
}

// New makes a manager.
func New(c Config) *Manager { return &Manager{Config: c} }

// Wait returns when no async command is under way. No more may be begun.
func (s *Manager) Wait() { s.running.Wait() }

// Command is a management command as a client sent it.
type Command struct {
	ClientID  string // x-ms-client-request-id
	Principal string // who sent it
	SeesAll   bool   // sees what others have sent
	DB        string
	Text      string
}

// Run runs a management command. What it does not know is a permanent 400.
func (s *Manager) Run(ctx context.Context, c Command) (*reply.Table, *reply.Error) {
	tokens, data, piped, err := lex.Head(c.Text)
	if err != nil {
		return nil, reply.BadCommand("General_BadRequest", "Syntax error: "+err.Error())
	}
	m := &lex.Reader{Tokens: tokens}
	if inline := m.Words(".ingest", "inline"); inline || piped {
		if !inline || !piped {
			return nil, reply.BadCommand("General_BadRequest", "Syntax error: the simulator does not know this command.")
		}
		return s.ingest(ctx, c, m, data, true)
	}
	switch {
	case m.Words(".ingest"):
		return s.ingest(ctx, c, m, "", false)
	case m.Words(".show", "commands"):
		return s.showCommands(c, m)
	case m.Words(".show", "operations"):
		return s.showOperations(c, m)
	case m.Words(".show", "capacity"):
		return s.showCapacity(), nil
	case m.Words(".alter", "table"):
		return s.alterTable(c.DB, m)
	case m.Words(".get", "ingestion", "resources"), m.Words(".show", "ingestion", "resources"):
		return s.resourceRows()
	case m.Words(".get", "kusto", "identity", "token"):
		s.Stats.Add(func(st *stats.Stats) { st.TokensIssued++ })
		return &reply.Table{Columns: reply.Columns("AuthorizationContext", "string"), Rows: [][]any{{s.Tokens.Issue(c.Principal, time.Now())}}}, nil
	case m.Words(".show", "version"):
		return &reply.Table{
			Columns: reply.Columns("BuildVersion", "string", "BuildTime", "datetime", "ServiceType", "string", "ProductVersion", "string"),
			Rows:    [][]any{{"1.0.0.0", "2025-01-01T00:00:00Z", "Engine", "kustosim"}}}, nil
	case m.Words(".show", "tables"):
		return s.showTables(c.DB)
	case m.Words(".show", "databases"):
		return s.showDatabases(), nil
	case m.Words(".show", "table"):
		return s.showExtents(c.DB, m)
	case m.Words(".create-merge", "table"):
		return s.createTable(c.DB, m, true)
	case m.Words(".create", "table"), m.Words(".create-or-alter", "table"):
		return s.createTable(c.DB, m, false)
	case m.Words(".drop", "table"):
		name := m.Next()
		if name.Kind != lex.Word || !s.Catalog.DropTable(c.DB, name.Text) {
			return nil, reply.EntityNotFound("Table", name.Text)
		}
		return s.showTables(c.DB)
	default:
		return nil, reply.BadCommand("General_BadRequest", "Syntax error: the simulator does not know this command.")
	}
}

var errTableSyntax = reply.BadCommand("General_BadRequest", "Syntax error: the table definition is not understood.")

// createTable runs `.create[-merge] table T (a:string, ...)` and
// `.create table T ingestion json mapping 'M' '[...]'`.
func (s *Manager) createTable(db string, m *lex.Reader, merge bool) (*reply.Table, *reply.Error) {
	name := m.Next()
	if name.Kind != lex.Word {
		return nil, errTableSyntax
	}
	if !s.Catalog.HasDatabase(db) && !s.AnyDatabase {
		return nil, reply.EntityNotFound("Database", db)
	}
	if m.Words("ingestion") {
		kind, isMapping := m.Next(), m.Words("mapping")
		mappingName, text := m.Next(), m.Next()
		if !isMapping || mappingName.Kind != lex.Text || text.Kind != lex.Text || !m.Done() {
			return nil, reply.BadCommand("General_BadRequest", "Syntax error: the mapping definition is not understood.")
		}
		if err := s.Catalog.CreateMapping(db, name.Text, kind.Text, mappingName.Text, text.Text); err != nil {
			if bad, ok := errors.AsType[*parse.Error](err); ok {
				return nil, reply.BadCommand(bad.Code, bad.Details)
			}
			return nil, reply.EntityNotFound("Table", name.Text)
		}
		return &reply.Table{Columns: reply.Columns("Name", "string", "Kind", "string", "Mapping", "string", "Database", "string", "Table", "string"),
			Rows: [][]any{{mappingName.Text, kind.Text, text.Text, db, name.Text}}}, nil
	}
	var schema []parse.Column
	if !m.Done() {
		if !m.Words("(") {
			return nil, errTableSyntax
		}
		for !m.Words(")") {
			column, colon, kind := m.Next(), m.Words(":"), m.Next()
			if column.Kind != lex.Word || !colon || kind.Kind != lex.Word {
				return nil, errTableSyntax
			}
			schema = append(schema, parse.Column{Name: column.Text, Type: kind.Text})
			m.Words(",")
		}
	}
	var folder, doc *string
	if m.Words("with", "(") {
		for !m.Words(")") {
			key, equals, value := m.Next(), m.Words("="), m.Next()
			switch {
			case !equals || value.Kind != lex.Text:
				return nil, errTableSyntax
			case key.Is("folder"):
				folder = &value.Text
			case key.Is("docstring"):
				doc = &value.Text
			default:
				return nil, errTableSyntax
			}
			m.Words(",")
		}
	}
	if !m.Done() {
		return nil, errTableSyntax
	}
	if err := s.Catalog.Create(db, name.Text, schema, merge); err != nil {
		code := "General_BadRequest"
		if errors.Is(err, catalog.ErrTableExists) {
			code = "BadRequest_EntityNameAlreadyExists"
		}
		return nil, reply.BadCommand(code, err.Error())
	}
	schema, _ = s.Catalog.Columns(db, name.Text)
	described := s.Catalog.Describe(db, name.Text, folder, doc)
	var told []string
	for _, c := range schema {
		told = append(told, c.Name+":"+c.Type)
	}
	return &reply.Table{Columns: reply.Columns("TableName", "string", "Schema", "string", "DatabaseName", "string", "Folder", "string", "DocString", "string"),
		Rows: [][]any{{name.Text, strings.Join(told, ","), db, described.Folder, described.DocString}}}, nil
}

func (s *Manager) showTables(db string) (*reply.Table, *reply.Error) {
	tables, ok := s.Catalog.Tables(db)
	if !ok && !s.AnyDatabase {
		return nil, reply.EntityNotFound("Database", db)
	}
	set := &reply.Table{Columns: reply.Columns("TableName", "string", "DatabaseName", "string", "Folder", "string", "DocString", "string")}
	for _, t := range tables {
		set.Rows = append(set.Rows, []any{t.Name, db, t.Folder, t.DocString})
	}
	return set, nil
}

func (s *Manager) showDatabases() *reply.Table {
	set := &reply.Table{Columns: reply.Columns("DatabaseName", "string")}
	for _, name := range s.Catalog.DatabaseNames() {
		set.Rows = append(set.Rows, []any{name})
	}
	return set
}

// showExtents runs `.show table T extents [where tags has|!has|contains|!contains 'x' [and tags ..]]`.
func (s *Manager) showExtents(db string, m *lex.Reader) (*reply.Table, *reply.Error) {
	name := m.Next()
	if name.Kind != lex.Word || !m.Words("extents") {
		return nil, reply.BadCommand("General_BadRequest", "Syntax error: the simulator does not know this command.")
	}
	if _, ok := s.Catalog.Columns(db, name.Text); !ok {
		return nil, reply.EntityNotFound("Table", name.Text)
	}
	var filters []func(tags []string) bool
	for m.Words("where") || m.Words("and") {
		tags, negated := m.Words("tags"), m.Words("!")
		op, value := m.Next(), m.Next()
		if !tags || value.Kind != lex.Text || !op.Is("has") && !op.Is("contains") {
			return nil, reply.BadCommand("General_BadRequest", "Syntax error: the condition on tags is not understood.")
		}
		filters = append(filters, func(tags []string) bool {
			return negated != slices.ContainsFunc(tags, func(t string) bool {
				return t == value.Text || op.Is("contains") && strings.Contains(strings.ToLower(t), strings.ToLower(value.Text))
			})
		})
	}
	if !m.Done() {
		return nil, reply.BadCommand("General_BadRequest", "Syntax error: the simulator does not know this command.")
	}
	set := &reply.Table{Columns: reply.Columns("ExtentId", "guid", "DatabaseName", "string", "TableName", "string", "MaxCreatedOn", "datetime", "RowCount", "long", "MinCreatedOn", "datetime", "Tags", "string")}
next:
	for _, e := range s.Catalog.Extents(db, name.Text) {
		for _, keep := range filters {
			if !keep(e.Tags) {
				continue next
			}
		}
		set.Rows = append(set.Rows, []any{e.ID, db, name.Text, parse.FormatTime(e.Created), e.RowCount, parse.FormatTime(e.Created), strings.Join(e.Tags, "\r\n")})
	}
	return set, nil
}

// resourceRows answers `.get ingestion resources`.
func (s *Manager) resourceRows() (*reply.Table, *reply.Error) {
	list, err := s.Config.Resources.Resources()
	if err != nil {
		return nil, reply.ErrorOf(http.StatusInternalServerError)
	}
	if s.UnknownResource {
		list = append(list, storage.Resource{Kind: "SimulatedFutureResource", Root: "https://localhost/future?sig=none"})
	}
	set := &reply.Table{Columns: reply.Columns("ResourceTypeName", "string", "StorageRoot", "string")}
	for _, r := range list {
		set.Rows = append(set.Rows, []any{r.Kind, r.Root})
	}
	return set, nil
}

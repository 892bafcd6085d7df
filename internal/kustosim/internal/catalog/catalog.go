package catalog

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"kustospool/ingest"
	"kustospool/internal/kustosim/internal/parse"
)

// Extent describes the rows that one blob brought in, committed at once, or those
// of extents that were merged.
type Extent struct {
	ID        string
	Tags      []string
	RowCount  int
	Source    string    // blob URI without credentials; empty once merged
	Operation string    // shared by the extents of one sealed batch
	Created   time.Time // the latest of those merged
	Oldest    time.Time // the first of those merged
}

// Mapping is an ingestion mapping of a table.
type Mapping struct {
	kind  string // lower case
	Items []parse.MappingItem
}

type extent struct {
	Extent
	rows []parse.Row
}

type table struct {
	columns  []parse.Column // none: without a schema
	mappings map[string]*Mapping
	extents  []*extent
	tags     map[string]int // extents that carry the tag
	count    int

	folder, doc string
	streaming   bool      // the streaming ingestion policy
	batching    *Batching // the ingestion batching policy; nil is the simulator's
}

// Catalog holds databases, tables and rows.
type Catalog struct {
	Aging Aging // written before the first use

	mu struct {
		sync.Mutex
		databases map[string]map[string]*table
	}
}

// Errors of [Catalog.Create] and [Catalog.CreateMapping].
var (
	ErrTableExists   = errors.New("kustosim: the table exists with other columns")
	ErrTableNotFound = errors.New("kustosim: no such table")
)

// New makes a catalog with these databases.
func New(databases []string) *Catalog {
	c := &Catalog{}
	c.mu.databases = make(map[string]map[string]*table)
	for _, db := range databases {
		c.mu.databases[db] = make(map[string]*table)
	}
	return c
}

// Create makes a table and its database. An equal one may exist; with merge,
// new columns are added to an existing one, unless one it has is given another type
// (https://learn.microsoft.com/kusto/management/create-merge-table-command).
func (c *Catalog) Create(db, name string, columns []parse.Column, merge bool) error {
	columns = slices.Clone(columns)
	seen := make(map[string]bool)
	for i := range columns {
		t, ok := parse.CanonicalType(columns[i].Type)
		if !ok {
			return fmt.Errorf("kustosim: column %q has unknown type %q", columns[i].Name, columns[i].Type)
		}
		if columns[i].Name == "" || seen[columns[i].Name] {
			return fmt.Errorf("kustosim: column name %q is empty or stands twice", columns[i].Name)
		}
		seen[columns[i].Name] = true
		columns[i].Type = t
	}
	if err := errors.Join(ingest.CheckName("database", db), ingest.CheckName("table", name)); err != nil {
		return fmt.Errorf("kustosim: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.databases[db] == nil {
		c.mu.databases[db] = make(map[string]*table)
	}
	t := c.mu.databases[db][name]
	if t == nil {
		c.mu.databases[db][name] = newTable(columns)
		return nil
	}
	if merge {
		for _, col := range columns {
			if have := t.typeOf(col.Name); have != "" && have != col.Type {
				return fmt.Errorf("kustosim: column %q of %s.%s has the type %s, which .create-merge does not change to %s", col.Name, db, name, have, col.Type)
			}
		}
		t.add(slices.DeleteFunc(columns, func(col parse.Column) bool { return t.typeOf(col.Name) != "" }))
		return nil
	}
	if !slices.Equal(t.columns, columns) {
		return fmt.Errorf("%w: %s.%s", ErrTableExists, db, name)
	}
	return nil
}

func newTable(columns []parse.Column) *table {
	return &table{columns: columns, mappings: make(map[string]*Mapping), tags: make(map[string]int)}
}

// typeOf is the type of a column, "" if there is none.
func (t *table) typeOf(column string) string {
	for _, c := range t.columns {
		if c.Name == column {
			return c.Type
		}
	}
	return ""
}

// add puts columns behind the others. The rows that are there hold nothing in
// them; in a table without a schema until now they stay what they are.
func (t *table) add(columns []parse.Column) {
	if len(columns) == 0 {
		return
	}
	if len(t.columns) > 0 {
		for _, e := range t.extents {
			rows := make([]parse.Row, len(e.rows)) // others may hold the old ones
			for i, row := range e.rows {
				rows[i] = parse.Widened(row, columns)
			}
			e.rows = rows
		}
	}
	t.columns = append(t.columns[:len(t.columns):len(t.columns)], columns...)
}

func mappingKey(kind, name string) string { return strings.ToLower(kind) + "\x00" + name }

// CreateMapping makes or replaces an ingestion mapping of a kind, in any case. The
// error is ErrTableNotFound or a *parse.Error about the JSON.
func (c *Catalog) CreateMapping(db, name, kind, mappingName, text string) error {
	items, bad := parse.ParseMapping(strings.ToLower(kind), text)
	if bad != nil {
		return bad
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.mu.databases[db][name]
	if t == nil {
		return fmt.Errorf("%w: %s.%s", ErrTableNotFound, db, name)
	}
	t.mappings[mappingKey(kind, mappingName)] = &Mapping{strings.ToLower(kind), items}
	return nil
}

// Schema returns a table's columns and one of its mappings. mappingName may be
// empty. The error has the code that an ingestion into it fails with.
func (c *Catalog) Schema(db, name, kind, mappingName string, autoCreate, anyDatabase bool) ([]parse.Column, *Mapping, *parse.Error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	tables := c.mu.databases[db]
	if tables == nil && anyDatabase {
		tables = make(map[string]*table)
		c.mu.databases[db] = tables
	}
	if tables == nil {
		return nil, nil, parse.Permanentf("BadRequest_DatabaseNotExist", "database %q does not exist", db)
	}
	t := tables[name]
	if t == nil && autoCreate {
		t = newTable(nil)
		tables[name] = t
	}
	if t == nil {
		return nil, nil, parse.Permanentf("BadRequest_TableNotExist", "table %q does not exist in database %q", name, db)
	}
	if mappingName == "" {
		return t.columns, nil, nil
	}
	m := t.mappings[mappingKey(kind, mappingName)]
	if m == nil {
		return nil, nil, parse.Permanentf("BadRequest_MappingReferenceWasNotFound", "%s mapping %q of table %q was not found", kind, mappingName, name)
	}
	return t.columns, m, nil
}

// Tagged returns the first of the ingest-by values that an extent of the table
// carries.
func (c *Catalog) Tagged(db, name string, values []string) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.table(db, name); t != nil {
		for _, v := range values {
			if t.tags["ingest-by:"+v] > 0 {
				return v, true
			}
		}
	}
	return "", false
}

// Change is what an ingestion changes in its table.
type Change struct {
	Create  bool           // the table, if it is not there
	Columns []parse.Column // to be added at the end, unless they are there
	Folder  string         // of the table; empty leaves it
}

// Commit adds an extent with its rows and tags, and the change that they need, at
// once. A column of the change that another commit made with another type is
// General_TransientSchemaMismatch, and nothing is done.
func (c *Catalog) Commit(db, name string, described Extent, rows []parse.Row, change Change) *parse.Error {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.mu.databases[db][name]
	if t == nil && change.Create && c.mu.databases[db] != nil {
		t = newTable(nil)
		c.mu.databases[db][name] = t
	}
	if t == nil {
		return parse.Permanentf("BadRequest_TableNotExist", "table %q does not exist in database %q", name, db)
	}
	var missing []parse.Column
	for _, col := range change.Columns {
		switch t.typeOf(col.Name) {
		case "":
			missing = append(missing, col)
		case col.Type:
		default:
			return parse.Transientf("General_TransientSchemaMismatch", "column %q of table %q was created with another type", col.Name, name)
		}
	}
	t.add(missing)
	if change.Folder != "" {
		t.folder = change.Folder
	}
	e := &extent{described, rows}
	e.Oldest = e.Created
	t.extents = append(t.extents, e)
	t.count += len(e.rows)
	for _, tag := range e.Tags {
		t.tags[tag]++
	}
	if c.Aging.Merge {
		t.merge()
	}
	return nil
}

// Columns returns a table's columns; ok is false if there is no such table.
func (c *Catalog) Columns(db, name string) (columns []parse.Column, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.mu.databases[db][name]
	if t == nil {
		return nil, false
	}
	return t.columns, true
}

// Table describes a table.
type Table struct{ Name, Folder, DocString string }

// Tables lists a database's tables in order; ok is false without the database.
func (c *Catalog) Tables(db string) (list []Table, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	tables, ok := c.mu.databases[db]
	for _, name := range slices.Sorted(maps.Keys(tables)) {
		list = append(list, Table{name, tables[name].folder, tables[name].doc})
	}
	return list, ok
}

// Describe sets a table's folder and documentation; nil leaves one as it is.
func (c *Catalog) Describe(db, name string, folder, doc *string) (now Table) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.mu.databases[db][name]
	if t == nil {
		return Table{Name: name}
	}
	if folder != nil {
		t.folder = *folder
	}
	if doc != nil {
		t.doc = *doc
	}
	return Table{name, t.folder, t.doc}
}

// HasDatabase reports whether the database exists.
func (c *Catalog) HasDatabase(db string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.databases[db] != nil
}

// DatabaseNames lists the databases in order.
func (c *Catalog) DatabaseNames() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.mu.databases))
}

// DropTable removes a table with its rows and tags.
func (c *Catalog) DropTable(db, name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.mu.databases[db][name]
	delete(c.mu.databases[db], name)
	return ok
}

package route

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"kustospool/ingest"
	"kustospool/transport"
)

// MaxNameBytes bounds the name of a transport.
const MaxNameBytes = 64

// Table names a table of a database.
type Table struct{ Database, Name string }

// String is database.table, for people.
func (t Table) String() string { return t.Database + "." + t.Name }

// Options say which transports there are and which table goes by which. [New]
// works on a copy.
type Options struct {
	// Transports by name; at least one. A name has 1 to MaxNameBytes letters,
	// digits, points, underscores or hyphens. The Router owns them and closes
	// each one once, so give each one once.
	Transports map[string]transport.Transport
	// Tables names the transport of single tables. It counts before Databases.
	Tables map[Table]string
	// Databases names the transport of all tables of a database.
	Databases map[string]string
	// Default names the transport of all other tables. It may be left empty
	// where there is only one transport.
	Default string
	// Before names the transport that the spool was opened with before it had a
	// Router: batches that it began belong to it. Empty is Default.
	Before string
}

// clone copies what New keeps.
func (o Options) clone() Options {
	o.Transports, o.Tables, o.Databases = maps.Clone(o.Transports), maps.Clone(o.Tables), maps.Clone(o.Databases)
	if o.Default == "" && len(o.Transports) == 1 {
		for name := range o.Transports {
			o.Default = name
		}
	}
	if o.Before == "" {
		o.Before = o.Default
	}
	return o
}

// validate reports every broken rule.
func (o Options) validate() error {
	var errs []error
	bad := func(field, value, rule string) {
		errs = append(errs, &ingest.FieldError{Field: "Options." + field, Value: fmt.Sprintf("%.80q", value), Rule: rule})
	}
	names := slices.Sorted(maps.Keys(o.Transports))
	known := "must be one of Transports: " + strings.Join(names, ", ")
	if len(names) == 0 {
		bad("Transports", "", "must hold a transport")
	}
	for _, name := range names {
		if !validName(name) {
			bad("Transports", name, fmt.Sprintf("must be named with 1 to %d letters, digits, points, underscores or hyphens", MaxNameBytes))
		}
		if o.Transports[name] == nil {
			bad("Transports["+name+"]", "", "must not be nil")
		}
	}
	check := func(field, name string) {
		if _, ok := o.Transports[name]; !ok {
			bad(field, name, known)
		}
	}
	for table, name := range o.Tables {
		if table.Database == "" || table.Name == "" {
			bad("Tables", table.String(), "must name a database and a table")
		}
		check(fmt.Sprintf("Tables[%.80q]", table), name)
	}
	for db, name := range o.Databases {
		if db == "" {
			bad("Databases", db, "must name a database")
		}
		check(fmt.Sprintf("Databases[%.80q]", db), name)
	}
	check("Default", o.Default)
	check("Before", o.Before)
	return errors.Join(errs...)
}

func validName(name string) bool {
	return name != "" && len(name) <= MaxNameBytes && !strings.ContainsFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r))
	})
}

// rule is the transport of a table by the rules of today.
func (o *Options) rule(p *ingest.Properties) string {
	if name, ok := o.Tables[Table{p.Database, p.Table}]; ok {
		return name
	}
	if name, ok := o.Databases[p.Database]; ok {
		return name
	}
	return o.Default
}

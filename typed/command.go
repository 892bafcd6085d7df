package typed

import (
	"encoding/json"
	"strings"

	"kustospool/ingest"
)

// CreateTable is the command that creates the table, or adds the columns that it
// lacks (https://learn.microsoft.com/kusto/management/create-merge-table-command). It
// fails at the service where a column is there with another type.
// The error says what is wrong with the name.
func (s *Schema) CreateTable(table string) (string, error) {
	if err := ingest.CheckName("table", table); err != nil {
		return "", err
	}
	columns := make([]string, len(s.columns))
	for i, c := range s.columns {
		columns[i] = entity(c.Name) + ":" + c.Type
	}
	return ".create-merge table " + entity(table) + " (" + strings.Join(columns, ", ") + ")", nil
}

// Mapping is the ingestion mapping, a JSON array for [ingest.Properties].Mapping or
// admin.Mapping (https://learn.microsoft.com/kusto/management/json-mapping).
func (s *Schema) Mapping() string {
	type properties struct{ Path string }
	type element struct {
		Column     string     `json:"column"`
		Datatype   string     `json:"datatype"`
		Properties properties `json:"Properties"`
	}
	elements := make([]element, len(s.columns))
	for i, c := range s.columns {
		// The rule of names leaves nothing to escape.
		elements[i] = element{c.Name, c.Type, properties{"$['" + c.Name + "']"}}
	}
	text, _ := json.Marshal(elements) // strings can be marshalled
	return string(text)
}

// CreateMapping is the command that creates the mapping under a name, or replaces
// it (https://learn.microsoft.com/kusto/management/create-or-alter-ingestion-mapping-command).
// The error says what is wrong with a name.
func (s *Schema) CreateMapping(table, mapping string) (string, error) {
	if err := ingest.CheckName("table", table); err != nil {
		return "", err
	}
	if err := ingest.CheckQuotedName("mapping", mapping); err != nil {
		return "", err
	}
	return ".create-or-alter table " + entity(table) + " ingestion json mapping " + literal(mapping) + " " + literal(s.Mapping()), nil
}

var escaped = strings.NewReplacer(`\`, `\\`, `'`, `\'`, `"`, `\"`)

// literal is a string in a command. What is given here is printable.
func literal(s string) string { return "'" + escaped.Replace(s) + "'" }

func entity(name string) string { return "[" + literal(name) + "]" }

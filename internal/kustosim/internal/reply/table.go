package reply

import "kustospool/internal/kustosim/internal/parse"

// Table is a v1 reply: one table, as management commands have it (protocol
// reference section 2.2).
type Table struct {
	Columns []parse.Column
	Rows    [][]any
}

// Columns makes columns of their names and types, one after the other.
func Columns(pairs ...string) []parse.Column {
	list := make([]parse.Column, len(pairs)/2)
	for i := range list {
		list[i] = parse.Column{Name: pairs[2*i], Type: pairs[2*i+1]}
	}
	return list
}

// netTypes are the DataType names of the v1 form.
var netTypes = map[string]string{
	"string": "String", "long": "Int64", "int": "Int32", "real": "Double", "decimal": "SqlDecimal", "bool": "SByte",
	"datetime": "DateTime", "timespan": "TimeSpan", "guid": "Guid", "dynamic": "Object",
}

// V1 is the form of /v1/rest/mgmt and /v1/rest/query.
func (d *Table) V1() any {
	type column struct{ ColumnName, DataType, ColumnType string }
	columns := make([]column, len(d.Columns))
	for i, c := range d.Columns {
		columns[i] = column{c.Name, netTypes[c.Type], c.Type}
	}
	rows := d.Rows
	if rows == nil {
		rows = [][]any{}
	}
	return struct{ Tables []any }{[]any{struct {
		TableName string
		Columns   []column
		Rows      [][]any
	}{"Table_0", columns, rows}}}
}

// V2 is the frames form of /v2/rest/query, without progress frames.
func (d *Table) V2() any {
	type column struct{ ColumnName, ColumnType string }
	columns := make([]column, len(d.Columns))
	for i, c := range d.Columns {
		columns[i] = column{c.Name, c.Type}
	}
	rows := d.Rows
	if rows == nil {
		rows = [][]any{}
	}
	return []any{
		struct {
			FrameType     string
			IsProgressive bool
			Version       string
		}{"DataSetHeader", false, "v2.0"},
		struct {
			FrameType string
			TableId   int
			TableKind string
			TableName string
			Columns   []column
			Rows      [][]any
		}{"DataTable", 0, "PrimaryResult", "PrimaryResult", columns, rows},
		struct {
			FrameType string
			HasErrors bool
			Cancelled bool
		}{"DataSetCompletion", false, false},
	}
}

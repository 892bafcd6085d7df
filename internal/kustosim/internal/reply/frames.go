package reply

import (
	"bytes"
	"encoding/json"
	"net/http"

	"kustospool/internal/kustosim/internal/parse"
)

type frameColumn struct{ ColumnName, ColumnType string }

func frameColumns(columns []parse.Column) []frameColumn {
	list := make([]frameColumn, len(columns))
	for i, c := range columns {
		list[i] = frameColumn{c.Name, c.Type}
	}
	return list
}

// dataTable is a frame that is a whole table.
type dataTable struct {
	FrameType string
	TableId   int
	TableKind string
	TableName string
	Columns   []frameColumn
	Rows      [][]any
}

// Fragmented is the frames form of /v2/rest/query for a request with the option
// results_v2_fragment_primary_tables: the table that was asked for is a header,
// fragments and a completion, between two tables about the query (the service's
// documentation, api/rest/response-v2). The fragment is one, and the tables
// about the query are empty.
func (d *Table) Fragmented() []any {
	rows := d.Rows
	if rows == nil {
		rows = [][]any{}
	}
	return []any{
		struct {
			FrameType               string
			IsProgressive           bool
			Version                 string
			IsFragmented            bool
			ErrorReportingPlacement string
		}{"DataSetHeader", false, "v2.0", true, "EndOfTable"},
		dataTable{"DataTable", 0, "QueryProperties", "@ExtendedProperties", frameColumns(Columns("TableId", "int", "Key", "string", "Value", "dynamic")), [][]any{}},
		struct {
			FrameType string
			TableId   int
			TableKind string
			TableName string
			Columns   []frameColumn
		}{"TableHeader", 1, "PrimaryResult", "PrimaryResult", frameColumns(d.Columns)},
		struct {
			FrameType         string
			TableFragmentType string
			TableId           int
			Rows              [][]any
		}{"TableFragment", "DataAppend", 1, rows},
		struct {
			FrameType string
			TableId   int
			RowCount  int
		}{"TableCompletion", 1, len(rows)},
		dataTable{"DataTable", 2, "QueryCompletionInformation", "QueryCompletionInformation",
			frameColumns(Columns("Timestamp", "datetime", "ClientRequestId", "string", "ActivityId", "guid", "Level", "int", "StatusCode", "int", "Payload", "string")), [][]any{}},
		struct {
			FrameType string
			HasErrors bool
			Cancelled bool
		}{"DataSetCompletion", false, false},
	}
}

// WriteFrames sends frames as a JSON array with a line for each, as a request
// with the option results_v2_newlines_between_frames has it: a reader can take
// one at a time, by its line.
func WriteFrames(w http.ResponseWriter, frames []any) {
	var body bytes.Buffer
	before := byte('[')
	for _, f := range frames {
		text, err := json.Marshal(f)
		if err != nil {
			write(w, http.StatusInternalServerError, noReply)
			return
		}
		body.WriteByte(before)
		body.Write(text)
		body.WriteByte('\n')
		before = ','
	}
	body.WriteString("]\n")
	write(w, http.StatusOK, body.Bytes())
}

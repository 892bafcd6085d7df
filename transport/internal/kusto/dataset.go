package kusto

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Table is one table of a v1 dataset (protocol reference section 2.2).
type Table struct {
	Name    string
	Columns []string
	Rows    [][]json.RawMessage // each as long as Columns
}

// ErrDataset is matched by the error for a reply that is no v1 dataset.
var ErrDataset = errors.New("the reply is not a dataset")

// Exception is what the service wrote into a reply that had begun with 200.
type Exception struct{ Message string }

// Error is the service's words, redacted and bounded.
func (e *Exception) Error() string { return e.Message }

// DecodeDataset reads a v1 dataset. A reply that is cut or malformed matches
// [ErrDataset]; one that reports a failure after its 200 is an [Exception].
func DecodeDataset(body []byte, secrets *Secrets) ([]Table, error) {
	var in struct {
		Tables []struct {
			TableName string
			Columns   []struct{ ColumnName string }
			Rows      []json.RawMessage
		}
		Exceptions []json.RawMessage
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, fmt.Errorf("%w: it is not the JSON that is expected", ErrDataset)
	}
	if len(in.Exceptions) > 0 {
		return nil, exception(in.Exceptions, secrets)
	}
	if len(in.Tables) == 0 {
		return nil, fmt.Errorf("%w: it has no table", ErrDataset)
	}
	out := make([]Table, 0, len(in.Tables))
	for _, t := range in.Tables {
		table := Table{Name: t.TableName, Rows: make([][]json.RawMessage, 0, len(t.Rows))}
		for _, c := range t.Columns {
			table.Columns = append(table.Columns, c.ColumnName)
		}
		for i, raw := range t.Rows {
			if len(raw) > 0 && raw[0] == '{' {
				var failed struct{ Exceptions []json.RawMessage }
				if json.Unmarshal(raw, &failed) == nil && len(failed.Exceptions) > 0 {
					return nil, exception(failed.Exceptions, secrets)
				}
			}
			var row []json.RawMessage
			if err := json.Unmarshal(raw, &row); err != nil || len(row) != len(table.Columns) {
				return nil, fmt.Errorf("%w: row %d does not have %d values", ErrDataset, i, len(table.Columns))
			}
			table.Rows = append(table.Rows, row)
		}
		out = append(out, table)
	}
	return out, nil
}

func exception(raw []json.RawMessage, secrets *Secrets) error {
	var s string
	if json.Unmarshal(raw[0], &s) != nil {
		s = string(raw[0])
	}
	return &Exception{Message: secrets.Words(s)}
}

// Column is the index of a column by its name, -1 where there is none.
func (t *Table) Column(name string) int {
	for i, c := range t.Columns {
		if c == name {
			return i
		}
	}
	return -1
}

// Text is the value of a column in a row as text: a JSON string without its
// quotes, any other value as it was written, null and a missing column empty.
func (t *Table) Text(row int, column string) string {
	c := t.Column(column)
	if c < 0 || row < 0 || row >= len(t.Rows) {
		return ""
	}
	raw := t.Rows[row][c]
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s // null leaves s empty
	}
	return string(raw)
}

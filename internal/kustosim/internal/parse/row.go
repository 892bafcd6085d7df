package parse

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// Row is one row of a table: a JSON object. In a table without a schema it is
// the document as it was sent, byte for byte, or {"c0":..,"c1":..} of a
// delimited record; in a table with one, an object of all columns in order,
// with null for what is missing or does not convert, and an empty string for a
// string that is missing.
type Row []byte

// Map decodes the row. Numbers are [json.Number], so that they compare
// exactly. A row is valid JSON, so the error is for callers who made their own.
func (r Row) Map() (map[string]any, error) {
	dec := json.NewDecoder(bytes.NewReader(r))
	dec.UseNumber()
	var m map[string]any
	err := dec.Decode(&m)
	return m, err
}

// MarshalJSON returns the row as it is.
func (r Row) MarshalJSON() ([]byte, error) { return r, nil }

// String returns the row's JSON.
func (r Row) String() string { return string(r) }

// Column is a column of a table. Type is one of the service's scalar types:
// string, long, int, real, decimal, bool, datetime, timespan, guid, dynamic.
type Column struct {
	Name string
	Type string
}

var scalarTypes = []string{"string", "long", "int", "real", "decimal", "bool", "datetime", "timespan", "guid", "dynamic"}

// CanonicalType maps the service's aliases to their types.
func CanonicalType(name string) (string, bool) {
	name = strings.ToLower(strings.TrimPrefix(name, "System."))
	switch name {
	case "", "object":
		if name == "" {
			return "string", true
		}
		return "dynamic", true
	case "int64":
		return "long", true
	case "int32":
		return "int", true
	case "double", "single", "float":
		return "real", true
	case "boolean", "sbyte":
		return "bool", true
	case "date":
		return "datetime", true
	case "time":
		return "timespan", true
	case "uuid", "uniqueid":
		return "guid", true
	}
	return name, slices.Contains(scalarTypes, name)
}

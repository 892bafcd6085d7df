package typed

import (
	"fmt"
	"reflect"
	"strings"

	"kustospool/ingest"
)

// MaxColumns bounds the columns of a struct, as transport/admin does those of a
// command.
const MaxColumns = 1000

// Column is a column of a table, with one of the service's scalar types.
type Column struct{ Name, Type string }

// Schema is what a struct says of its table. It does not change.
type Schema struct{ columns []column }

// column is a field of the struct, or of one embedded in it.
type column struct {
	Column
	field string // as errors call it: Reading.At
	index []int
	put   put
}

// SchemaOf reads the fields of T, which must be a struct. The error is an
// [ingest.FieldError].
func SchemaOf[T any]() (*Schema, error) { return schemaOf(reflect.TypeFor[T]()) }

func schemaOf(t reflect.Type) (*Schema, error) {
	if t.Kind() != reflect.Struct || t == timeType {
		return nil, refused("T", t, "must be a struct with a field for each column")
	}
	s := &Schema{}
	if err := s.add(t, t.Name(), nil); err != nil {
		return nil, err
	}
	if n := len(s.columns); n < 1 || n > MaxColumns {
		return nil, refused(t.Name(), fmt.Sprintf("of %d columns", n), fmt.Sprintf("must have from 1 to %d exported fields", MaxColumns))
	}
	seen := make(map[string]string)
	for _, c := range s.columns {
		if other, twice := seen[c.Name]; twice {
			return nil, refused(c.field, c.Name, "is the column of "+other+" already")
		}
		seen[c.Name] = c.field
	}
	return s, nil
}

// add reads the fields of t, found at index of the outermost struct.
func (s *Schema) add(t reflect.Type, where string, index []int) error {
	for i := range t.NumField() {
		f := t.Field(i)
		field := where + "." + f.Name
		at := append(index[:len(index):len(index)], i)
		tag, tagged := f.Tag.Lookup("kusto")
		if tag == "-" {
			continue
		}
		if f.Anonymous && !tagged && inlined(f.Type) {
			if err := s.add(f.Type, field, at); err != nil {
				return err
			}
			continue
		}
		if f.Anonymous && !tagged && f.Type.Kind() == reflect.Pointer {
			return refused(field, f.Type, "an embedded pointer must have a tag: a column's name, or \"-\"")
		}
		if !f.IsExported() {
			if f.Anonymous && !tagged && f.Type.Kind() == reflect.Struct {
				return refused(field, f.Type, "an embedded type that marshals itself must be exported, or have the tag \"-\"")
			}
			if tagged {
				return refused(field, tag, "a field with a tag must be exported")
			}
			continue
		}
		name, want, _ := strings.Cut(tag, ",")
		if name == "" {
			name = f.Name
		}
		if err := ingest.CheckName(field+", column", name); err != nil {
			return err
		}
		typ, p, rule := putterOf(f.Type, want)
		if rule != "" {
			value := f.Type.String()
			if want != "" {
				value += " as " + want
			}
			return refused(field, value, rule)
		}
		s.columns = append(s.columns, column{Column{name, typ}, field, at, p})
	}
	return nil
}

// inlined: an embedded struct that is no value by itself.
func inlined(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && t != timeType && !marshals(t, jsonMarshaler) && !marshals(t, textMarshaler)
}

// Columns lists the columns in the order of the fields. Each converts to an
// admin.Column.
func (s *Schema) Columns() []Column {
	out := make([]Column, len(s.columns))
	for i, c := range s.columns {
		out[i] = c.Column
	}
	return out
}

// refused is an error of this package; the value is shown bounded.
func refused(field string, value any, rule string) error {
	return &ingest.FieldError{Field: field, Value: fmt.Sprintf("%.60q", fmt.Sprint(value)), Rule: rule}
}

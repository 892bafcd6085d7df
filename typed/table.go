package typed

import (
	"context"
	"fmt"
	"reflect"

	"kustospool/ingest"
)

// Spool is where the rows go: a *engine.Table.
type Spool interface {
	Properties() ingest.Properties
	IngestAll(ctx context.Context, records [][]byte, at ...ingest.Position) ([]ingest.Receipt, error)
}

// Table ingests values of T as rows. It is safe for concurrent use, as long as nobody
// changes a value meanwhile, and needs no closing.
type Table[T any] struct {
	to     Spool
	schema *Schema
}

// NewTable checks T, and that the format of the table is json, multijson or
// singlejson. The error is an [ingest.FieldError].
func NewTable[T any](to Spool) (*Table[T], error) {
	schema, err := SchemaOf[T]()
	if err != nil {
		return nil, err
	}
	if p := to.Properties(); p.Format.MappingKind() != ingest.MappingJSON {
		return nil, &ingest.FieldError{Field: "format", Value: string(p.Format), Rule: "must be json, multijson or singlejson"}
	}
	return &Table[T]{to, schema}, nil
}

// Schema is that of T.
func (t *Table[T]) Schema() *Schema { return t.schema }

// Ingest makes a row durable, as engine.Table.Ingest does. An error that matches
// [ingest.ErrInvalid] names the field that cannot be a value of its column.
func (t *Table[T]) Ingest(ctx context.Context, row T, at ...ingest.Position) (ingest.Receipt, error) {
	data, err := t.Encode(row)
	if err != nil {
		return ingest.Receipt{}, err
	}
	receipts, err := t.to.IngestAll(ctx, [][]byte{data}, at...)
	if err != nil {
		return ingest.Receipt{}, err
	}
	return receipts[0], nil
}

// IngestAll makes all of the rows durable in one transaction, or none.
func (t *Table[T]) IngestAll(ctx context.Context, rows []T, at ...ingest.Position) ([]ingest.Receipt, error) {
	records := make([][]byte, len(rows))
	for i, row := range rows {
		var err error
		if records[i], err = t.Encode(row); err != nil {
			return nil, fmt.Errorf("row %d: %w", i, err)
		}
	}
	return t.to.IngestAll(ctx, records, at...)
}

// Encode is the row as Ingest stores it, such as for an [ingest.Request] with a key.
func (t *Table[T]) Encode(row T) ([]byte, error) { return t.schema.encode(reflect.ValueOf(row)) }

func (s *Schema) encode(row reflect.Value) (dst []byte, err error) {
	var c column
	defer func() { // a marshaller of the caller's
		if p := recover(); p != nil {
			dst, err = nil, &ingest.FieldError{Field: c.field, Rule: fmt.Sprintf("its marshaller panicked: %.200v", p)}
		}
	}()
	for i := range s.columns {
		c = s.columns[i]
		dst = append(dst, ",{"[boolIndex(i == 0)], '"')
		dst = append(append(dst, c.Name...), '"', ':') // a name has nothing to escape
		v := row.FieldByIndex(c.index)
		out, rule := c.put(dst, v)
		if rule != "" {
			return nil, refused(c.field, shown(v), rule)
		}
		dst = out
	}
	return append(dst, '}'), nil
}

func boolIndex(b bool) int {
	if b {
		return 1
	}
	return 0
}

// shown is a value as an error shows it: scalars as they are, of what may be large
// or have methods the type.
func shown(v reflect.Value) string {
	for v.Kind() == reflect.Pointer && !v.IsNil() {
		v = v.Elem()
	}
	switch k := v.Kind(); {
	case v.Type() == timeType:
		return v.Interface().(fmt.Stringer).String()
	case k == reflect.String:
		return fmt.Sprintf("%.60s", v.String())
	case k >= reflect.Bool && k <= reflect.Float64:
		return fmt.Sprintf("%v", reflect.ValueOf(v.Interface()))
	}
	return "of type " + v.Type().String()
}

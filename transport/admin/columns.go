package admin

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"kustospool/ingest"
)

// MaxColumns bounds the columns of one command.
const MaxColumns = 1000

// Column is a column of a table. Type is one of [Types].
type Column struct{ Name, Type string }

// Types are the service's scalar types.
var Types = []string{"bool", "datetime", "decimal", "dynamic", "guid", "int", "long", "real", "string", "timespan"}

// aliases are other names that the service has for them.
var aliases = map[string]string{"boolean": "bool", "date": "datetime", "double": "real", "uuid": "guid", "uniqueid": "guid", "time": "timespan"}

// ParseColumns reads "name:type,name:type", with white space as wanted. A name
// with a comma, a colon or a space stands in double quotes, as "a \"b\", c":string
// with backslashes before quotes and backslashes. The error matches
// [ingest.ErrInvalid] and names each bad column.
func ParseColumns(text string) ([]Column, error) {
	var columns []Column
	rest := text
	for {
		name, after, err := cutName(strings.TrimSpace(rest))
		if err != nil {
			return nil, err
		}
		kind, more, another := strings.Cut(after, ",")
		columns = append(columns, Column{name, strings.TrimSpace(kind)})
		if !another {
			break
		}
		rest = more
	}
	if err := checkColumns(columns); err != nil {
		return nil, err
	}
	for i, c := range columns {
		columns[i].Type = canonical(c.Type)
	}
	return columns, nil
}

// cutName takes a column's name and the colon behind it off the front of s.
func cutName(s string) (name, rest string, err error) {
	bad := &ingest.FieldError{Field: "columns", Value: fmt.Sprintf("%.60q", s), Rule: "must be like name:type,name:type"}
	if !strings.HasPrefix(s, `"`) {
		name, rest, ok := strings.Cut(s, ":")
		if !ok || strings.ContainsAny(name, `,"`) {
			return "", "", bad
		}
		return strings.TrimSpace(name), rest, nil
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case s[i] == '"':
			rest, ok := strings.CutPrefix(strings.TrimSpace(s[i+1:]), ":")
			if !ok {
				return "", "", bad
			}
			return b.String(), rest, nil
		default:
			b.WriteByte(s[i])
		}
	}
	return "", "", bad
}

func canonical(kind string) string {
	kind = strings.ToLower(kind)
	if c, ok := aliases[kind]; ok {
		return c
	}
	return kind
}

// checkColumns reports every bad column.
func checkColumns(columns []Column) error {
	var errs []error
	bad := func(i int, value, rule string) {
		errs = append(errs, &ingest.FieldError{Field: fmt.Sprintf("column %d", i+1), Value: fmt.Sprintf("%.60q", value), Rule: rule})
	}
	if len(columns) == 0 || len(columns) > MaxColumns {
		errs = append(errs, &ingest.FieldError{Field: "columns", Value: fmt.Sprintf("of %d", len(columns)), Rule: fmt.Sprintf("must be from 1 to %d", MaxColumns)})
	}
	seen := make(map[string]bool)
	for i, c := range columns {
		if err := ingest.CheckQuotedName(fmt.Sprintf("column %d", i+1), c.Name); err != nil {
			errs = append(errs, err)
		} else if seen[c.Name] {
			bad(i, c.Name, "stands twice")
		}
		seen[c.Name] = true
		if !slices.Contains(Types, canonical(c.Type)) {
			bad(i, c.Type, "is no type; must be one of "+strings.Join(Types, ", "))
		}
	}
	return errors.Join(errs...)
}

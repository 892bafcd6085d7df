package parse

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"kustospool/internal/kustosim/internal/lex"
)

const maxPathSteps = 64

// MappingItem says where one column comes from.
type MappingItem struct {
	column    string
	kind      string // canonical type, "" if the mapping does not say
	ordinal   int    // -1 without
	path      []pathStep
	field     string // top-level name, for the formats that map by field
	constant  *string
	transform string // lower case
}

// ParseMapping reads a mapping of a kind, in lower case: an array of
// {"column","datatype","Properties":{..}}, names in any case. The flat form of old
// mappings, with the properties beside the column, is read too. What is
// documented and not simulated is BadRequest_NotSupported, everything else that
// is refused BadRequest_InvalidMapping.
func ParseMapping(kind, text string) ([]MappingItem, *Error) {
	var raw []map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &raw); err != nil {
		return nil, Permanentf("BadRequest_InvalidMapping", "the mapping is not a JSON array of objects")
	}
	if len(raw) == 0 {
		return nil, Permanentf("BadRequest_InvalidMapping", "the mapping is empty")
	}
	items := make([]MappingItem, len(raw))
	for i, entry := range raw {
		props := make(map[string]string)
		err := flatten(entry, props, true)
		if err == nil {
			items[i], err = newMappingItem(kind, props)
		}
		switch {
		case errors.Is(err, errNotSimulated):
			return nil, Permanentf("BadRequest_NotSupported", "mapping element %d: %v", i, err)
		case err != nil:
			return nil, Permanentf("BadRequest_InvalidMapping", "mapping element %d: %v", i, err)
		}
	}
	return items, nil
}

// Creates are the columns that a mapping tells in full, or nil if it leaves one
// without a datatype.
func Creates(items []MappingItem) []Column {
	var columns []Column
	for _, item := range items {
		if item.kind == "" {
			return nil
		}
		if columnIndex(columns, item.column) < 0 {
			columns = append(columns, Column{item.column, item.kind})
		}
	}
	return columns
}

func flatten(entry map[string]json.RawMessage, props map[string]string, top bool) error {
	for k, v := range entry {
		name := strings.ToLower(k)
		if name == "properties" && top {
			var inner map[string]json.RawMessage
			if err := json.Unmarshal(v, &inner); err != nil {
				return errors.New("its Properties are not an object")
			}
			if err := flatten(inner, props, false); err != nil {
				return err
			}
			continue
		}
		if string(v) == "null" {
			continue
		}
		var s string
		if json.Unmarshal(v, &s) != nil {
			s = string(v)
		}
		props[name] = s
	}
	return nil
}

func newMappingItem(kind string, props map[string]string) (MappingItem, error) {
	item := MappingItem{column: props["column"], ordinal: -1, field: props["field"], transform: strings.ToLower(props["transform"])}
	if item.column == "" {
		item.column = props["name"]
	}
	if item.column == "" {
		return item, errors.New("it has no column")
	}
	if text := props["datatype"]; text != "" {
		kind, ok := CanonicalType(text)
		if !ok {
			return item, fmt.Errorf("unknown datatype %q", text)
		}
		item.kind = kind
	}
	if text, ok := props["constvalue"]; ok {
		item.constant = &text
	}
	if text, ok := props["ordinal"]; ok {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return item, errors.New("its Ordinal is not a count")
		}
		item.ordinal = n
	}
	if text, ok := props["path"]; ok && kind == "json" && !strings.HasPrefix(text, "$") {
		item.constant = &text // json-mapping: "it's interpreted as a constant value"
	} else if ok {
		path, err := parsePath(text)
		if err != nil {
			return item, err
		}
		item.path = path
	}
	return item, item.check(kind)
}

// errNotSimulated marks what a service knows and the simulator does not.
var errNotSimulated = errors.New("not simulated")

// transforms of https://learn.microsoft.com/kusto/management/mappings, in lower
// case; false is one that is not simulated.
var transforms = map[string]bool{"": true, "sourcelocation": true, "sourcelinenumber": true, "propertybagarraytodictionary": true,
	"datetimefromunixseconds": true, "datetimefromunixmilliseconds": true, "datetimefromunixmicroseconds": true, "datetimefromunixnanoseconds": true,
	"dropmappedfields": false, "bytesasbase64": false}

// check asks for what an element must contain
// (https://learn.microsoft.com/kusto/management/csv-mapping and json-mapping).
func (item *MappingItem) check(kind string) error {
	simulated, known := transforms[item.transform]
	switch {
	case !known:
		return fmt.Errorf("unknown Transform %q", item.transform)
	case !simulated:
		return fmt.Errorf("the Transform %s is %w", item.transform, errNotSimulated)
	case item.constant != nil || item.transform != "":
		return nil
	case kind == "csv" && item.ordinal < 0:
		return errors.New("it must contain an Ordinal, a ConstValue or a Transform")
	case kind == "json" && item.path == nil:
		return errors.New("it must contain a Path, a ConstValue or a Transform")
	}
	return nil
}

// pathStep is a name or, with isIndex, a place in an array.
type pathStep struct {
	name    string
	index   int
	isIndex bool
}

var errPath = errors.New("the path is not of the form $.a.b, $['a'] or $[0]")

// parsePath reads the JSON paths of mappings
// (https://learn.microsoft.com/kusto/query/jsonpath, and json-mapping for
// $.['a b']). A lone $ is the whole document: an empty, non-nil path. Wildcards,
// recursion, unions and slices are none of the service's either. A filter,
// $.a[?(@.Key == 'x')], is documented, but not what its value is
// (https://learn.microsoft.com/azure/data-explorer/ingest-json-formats).
func parsePath(text string) ([]pathStep, error) {
	rest, ok := strings.CutPrefix(text, "$")
	if !ok {
		return nil, errPath
	}
	path := []pathStep{}
	for rest != "" {
		if len(path) == maxPathSteps {
			return nil, errPath
		}
		if strings.HasPrefix(rest, ".[") {
			rest = rest[1:]
		}
		switch {
		case strings.HasPrefix(rest, "['"), strings.HasPrefix(rest, `["`):
			name, after, err := lex.CutLiteral(rest[1:])
			if err != nil || !strings.HasPrefix(after, "]") {
				return nil, errPath
			}
			path, rest = append(path, pathStep{name: name}), after[1:]
		case strings.HasPrefix(rest, "[?("):
			return nil, fmt.Errorf("a filter in a path is %w", errNotSimulated)
		case rest[0] == '[':
			text, after, ok := strings.Cut(rest[1:], "]")
			n, err := strconv.Atoi(text)
			if !ok || err != nil || n < 0 {
				return nil, errPath
			}
			path, rest = append(path, pathStep{index: n, isIndex: true}), after
		case rest[0] == '.':
			end := strings.IndexAny(rest[1:], ".[")
			if end < 0 {
				end = len(rest) - 1
			}
			if end == 0 || rest[1:1+end] == "*" {
				return nil, errPath
			}
			path, rest = append(path, pathStep{name: rest[1 : 1+end]}), rest[1+end:]
		default:
			return nil, errPath
		}
	}
	return path, nil
}

// walk follows a path through a document; nil means not there.
func walk(doc json.RawMessage, path []pathStep) json.RawMessage {
	for _, step := range path {
		if step.isIndex {
			var list []json.RawMessage
			if json.Unmarshal(doc, &list) != nil || step.index >= len(list) {
				return nil
			}
			doc = list[step.index]
			continue
		}
		var object map[string]json.RawMessage
		if json.Unmarshal(doc, &object) != nil {
			return nil
		}
		doc = object[step.name]
	}
	return doc
}

// toDictionary merges an array of objects into one, as the transform
// PropertyBagArrayToDictionary does: {"events":[{"n1":"v1"},{"n2":"v2"}]} becomes
// {"n1":"v1","n2":"v2"} (https://learn.microsoft.com/kusto/management/mappings).
// Of two members of a name the last counts. ok is false for anything else.
func toDictionary(value json.RawMessage) (_ json.RawMessage, ok bool) {
	var list []json.RawMessage
	if json.Unmarshal(value, &list) != nil {
		return nil, false
	}
	var merged document
	for _, bag := range list {
		if merged, ok = scanObject(bag, merged, true); !ok {
			return nil, false
		}
	}
	last := make(map[string][]byte, len(merged))
	for _, m := range merged {
		last[string(m.name)] = m.value
	}
	out := []byte{'{'}
	for _, m := range merged {
		v, left := last[string(m.name)]
		if !left {
			continue
		}
		delete(last, string(m.name))
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(appendString(out, m.name), ':'), v...)
	}
	return append(out, '}'), true
}

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

// ParseMapping reads a mapping: an array of {"column","datatype",
// "Properties":{..}}, names in any case. The flat form of old mappings, with
// the properties beside the column, is read too.
func ParseMapping(text string) ([]MappingItem, error) {
	var raw []map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &raw); err != nil {
		return nil, errors.New("the mapping is not a JSON array of objects")
	}
	if len(raw) == 0 {
		return nil, errors.New("the mapping is empty")
	}
	items := make([]MappingItem, len(raw))
	for i, entry := range raw {
		props := make(map[string]string)
		if err := flatten(entry, props, true); err != nil {
			return nil, fmt.Errorf("mapping element %d: %w", i, err)
		}
		item, err := newMappingItem(props)
		if err != nil {
			return nil, fmt.Errorf("mapping element %d: %w", i, err)
		}
		items[i] = item
	}
	return items, nil
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

func newMappingItem(props map[string]string) (MappingItem, error) {
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
	if text, ok := props["path"]; ok {
		path, err := parsePath(text)
		if err != nil {
			return item, err
		}
		item.path = path
	}
	return item, nil
}

// pathStep is a name or, with isIndex, a place in an array.
type pathStep struct {
	name    string
	index   int
	isIndex bool
}

var errPath = errors.New("the path is not of the form $.a.b, $['a'] or $[0]")

// parsePath reads the JSON paths of mappings. A lone $ is the whole document:
// an empty, non-nil path.
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
		switch {
		case strings.HasPrefix(rest, "['"), strings.HasPrefix(rest, `["`):
			name, after, err := lex.CutLiteral(rest[1:])
			if err != nil || !strings.HasPrefix(after, "]") {
				return nil, errPath
			}
			path, rest = append(path, pathStep{name: name}), after[1:]
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
			if end == 0 {
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

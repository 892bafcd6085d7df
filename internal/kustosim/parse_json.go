package kustosim

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
)

// parseLines reads format json: one object a line. A line that is none is
// passed over and counted, or fails the blob if strict.
func parseLines(data []byte, t *target, skipFirst, strict bool) (rows []Row, malformed int64, bad *ingestError) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	b := &rowBuilder{}
	rows = make([]Row, 0, bytes.Count(data, []byte("\n"))+1)
	record := 0
	for len(data) > 0 {
		line, rest, _ := bytes.Cut(data, []byte("\n"))
		data = rest
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		if line[0] != '{' || !json.Valid(line) {
			if strict {
				return nil, malformed, permanent("BadRequest_UnexpectedCharacterInInputStream", "line %d is not a JSON object", record+1)
			}
			malformed++
			continue
		}
		record++
		if skipFirst && record == 1 {
			continue
		}
		if t.plain() {
			rows = append(rows, Row(line[:len(line):len(line)]))
			continue
		}
		t.appendDocument(b, line, record)
	}
	if t.plain() {
		return rows, malformed, nil
	}
	return b.rows(), malformed, nil
}

// parseMulti reads formats multijson and singlejson: objects, and arrays of
// objects, one after the other with any white space between them.
func parseMulti(data []byte, t *target, skipFirst bool) ([]Row, *ingestError) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	dec := json.NewDecoder(bytes.NewReader(data))
	b := &rowBuilder{}
	var rows []Row
	record := 0
	take := func(doc json.RawMessage) *ingestError {
		if doc = bytes.TrimSpace(doc); len(doc) == 0 || doc[0] != '{' {
			return permanent("BadRequest_UnexpectedCharacterInInputStream", "record %d is not a JSON object", record+1)
		}
		record++
		if skipFirst && record == 1 {
			return nil
		}
		if t.plain() {
			rows = append(rows, Row(bytes.Clone(doc)))
		} else {
			t.appendDocument(b, doc, record)
		}
		return nil
	}
	for {
		var value json.RawMessage
		if err := dec.Decode(&value); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, permanent("BadRequest_UnexpectedCharacterInInputStream", "after record %d the data is not JSON", record)
		}
		if value[0] != '[' {
			if bad := take(value); bad != nil {
				return nil, bad
			}
			continue
		}
		var list []json.RawMessage
		if err := json.Unmarshal(value, &list); err != nil {
			return nil, permanent("BadRequest_UnexpectedCharacterInInputStream", "after record %d the data is not JSON", record)
		}
		for _, doc := range list {
			if bad := take(doc); bad != nil {
				return nil, bad
			}
		}
	}
	if t.plain() {
		return rows, nil
	}
	return b.rows(), nil
}

// plain reports whether documents become rows as they are.
func (t *target) plain() bool { return len(t.columns) == 0 && len(t.mapping) == 0 }

// appendDocument appends the row of one JSON object: by mapping, or each
// column from the property of its name.
func (t *target) appendDocument(b *rowBuilder, doc json.RawMessage, record int) {
	var object map[string]json.RawMessage
	if json.Unmarshal(doc, &object) != nil {
		object = nil
	}
	if len(t.columns) == 0 {
		for j := range t.mapping {
			b.buf = appendName(b.buf, j, t.mapping[j].column)
			b.buf = t.appendField(b.buf, &t.mapping[j], doc, object, t.mapping[j].kind, record)
		}
	}
	for i, c := range t.columns {
		b.buf = appendName(b.buf, i, c.Name)
		if len(t.mapping) == 0 {
			b.buf = appendValue(b.buf, object[c.Name], c.Type)
			continue
		}
		done := false
		for j := range t.mapping {
			if t.mapping[j].column == c.Name {
				b.buf = t.appendField(b.buf, &t.mapping[j], doc, object, c.Type, record)
				done = true
				break
			}
		}
		if !done {
			b.buf = append(b.buf, null...)
		}
	}
	b.buf = append(b.buf, '}')
	b.end()
}

func (t *target) appendField(dst []byte, item *mappingItem, doc json.RawMessage, object map[string]json.RawMessage, kind string, record int) []byte {
	switch {
	case item.transform == "sourcelocation":
		return appendString(dst, []byte(t.source))
	case item.transform == "sourcelinenumber":
		return strconv.AppendInt(dst, int64(record), 10)
	case item.constant != nil:
		return appendText(dst, []byte(*item.constant), kind)
	}
	var value json.RawMessage
	switch {
	case item.path == nil && item.field == "":
		value = object[item.column]
	case item.path == nil:
		value = object[item.field]
	case len(item.path) > 0 && !item.path[0].isIndex:
		value = walk(object[item.path[0].name], item.path[1:])
	default:
		value = walk(doc, item.path)
	}
	if changed, ok := fromUnix(value, item.transform); ok {
		value = changed
	}
	return appendValue(dst, value, kind)
}

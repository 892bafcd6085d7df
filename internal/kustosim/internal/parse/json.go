package parse

import (
	"bytes"
	"encoding/json"
	"strconv"
)

// parseLines reads format json: one object a line. A line that is none is
// passed over and counted, or fails the blob if strict.
func parseLines(data []byte, t *Target, skipFirst, strict bool) (rows []Row, malformed int64, bad *Error) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	b := &rowBuilder{}
	rows = make([]Row, 0, bytes.Count(data, []byte("\n"))+1)
	record := 0
	var doc document
	for len(data) > 0 {
		line, rest, _ := bytes.Cut(data, []byte("\n"))
		data = rest
		line = bytes.Trim(line, " \t\r") // RFC 8259 knows no other white space
		if len(line) == 0 {
			continue
		}
		var ok bool
		if doc, ok = scanObject(line, doc[:0], !t.plain()); !ok {
			if strict {
				return nil, malformed, Permanentf("BadRequest_UnexpectedCharacterInInputStream", "line %d is not a JSON object", record+1)
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
		t.appendDocument(b, line, doc, record)
	}
	if t.plain() {
		return rows, malformed, nil
	}
	return b.rows(), malformed, nil
}

// parseMulti reads formats multijson and singlejson: objects, and arrays of
// objects, one after the other with any white space between them.
func parseMulti(data []byte, t *Target, skipFirst bool) ([]Row, *Error) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	b := &rowBuilder{}
	var rows []Row
	var members document
	record, inArray := 0, false
	wrong := func() *Error {
		// https://learn.microsoft.com/azure/data-explorer/ingest-invalid-data
		return Permanentf("BadRequest_InvalidBlob", "after record %d the data is not a JSON object", record)
	}
	for i := skipSpace(data, 0); i < len(data) || inArray; i = skipSpace(data, i) {
		if i < len(data) && data[i] == '[' && !inArray {
			inArray = true
			if i = skipSpace(data, i+1); i < len(data) && data[i] == ']' {
				inArray = false
				i++
			}
			continue
		}
		end, _ := skipValue(data, i, 1)
		doc := data[i:min(end, len(data)):min(end, len(data))]
		var ok bool
		if members, ok = scanObject(doc, members[:0], !t.plain()); !ok {
			return nil, wrong()
		}
		if record++; !skipFirst || record > 1 {
			if t.plain() {
				rows = append(rows, Row(doc))
			} else {
				t.appendDocument(b, doc, members, record)
			}
		}
		if i = end; !inArray {
			continue
		}
		if i = skipSpace(data, i); i == len(data) {
			return nil, wrong()
		}
		switch data[i] {
		case ']':
			inArray = false
		case ',':
			if next := skipSpace(data, i+1); next == len(data) || data[next] != '{' {
				return nil, wrong()
			}
		default:
			return nil, wrong()
		}
		i++
	}
	if t.plain() {
		return rows, nil
	}
	return b.rows(), nil
}

// plain reports whether documents become rows as they are.
func (t *Target) plain() bool { return len(t.columns) == 0 && len(t.mapping) == 0 }

// appendDocument appends the row of one JSON object: by mapping, or each
// column from the property of its name.
func (t *Target) appendDocument(b *rowBuilder, doc json.RawMessage, object document, record int) {
	if len(t.columns) == 0 {
		for j := range t.mapping {
			b.buf = appendName(b.buf, j, t.mapping[j].column)
			b.buf = t.appendField(b.buf, &t.mapping[j], doc, object, t.mapping[j].kind, record)
		}
	}
	for i, c := range t.columns {
		b.buf = appendName(b.buf, i, c.Name)
		if len(t.mapping) == 0 {
			b.buf = appendValue(b.buf, object.get(c.Name), c.Type)
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
			b.buf = appendMissing(b.buf, c.Type)
		}
	}
	b.buf = append(b.buf, '}')
	b.end()
}

func (t *Target) appendField(dst []byte, item *MappingItem, doc json.RawMessage, object document, kind string, record int) []byte {
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
		value = object.get(item.column)
	case item.path == nil:
		value = object.get(item.field)
	case len(item.path) > 0 && !item.path[0].isIndex:
		value = walk(object.get(item.path[0].name), item.path[1:])
	default:
		value = walk(doc, item.path)
	}
	if item.transform == "propertybagarraytodictionary" {
		value, _ = toDictionary(value) // of anything but an array of objects nothing is known: null
	} else if changed, ok := fromUnix(value, item.transform); ok {
		value = changed
	}
	return appendValue(dst, value, kind)
}

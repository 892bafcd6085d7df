package parse

import (
	"bytes"
	"strconv"

	"kustospool/ingest"
)

// rowBuilder builds rows in one buffer, so that a million of them cost no more
// than their bytes and a slice header each.
type rowBuilder struct {
	buf  []byte
	ends []int
}

func (b *rowBuilder) end() { b.ends = append(b.ends, len(b.buf)) }

func (b *rowBuilder) rows() []Row {
	rows := make([]Row, len(b.ends))
	start := 0
	for i, end := range b.ends {
		rows[i] = Row(b.buf[start:end:end])
		start = end
	}
	return rows
}

// Target is how records become rows of one table.
type Target struct {
	columns []Column      // none: without a schema
	mapping []MappingItem // none: by position or by name
	lenient bool          // do not insist on the number of fields
	source  string        // for the SourceLocation transform
	added   []Column      // of columns, those that the table lacks
}

// Rules are what an ingestion asks for.
type Rules struct {
	Table   string // for errors
	Source  string // for the SourceLocation transform
	Lenient bool   // do not insist on the number of fields
	Extend  bool   // columns that the table lacks come from the mapping
}

// NewTarget checks a mapping against the table, whose columns are none if it has
// no schema. A column that the table lacks must have a datatype in the mapping, and
// the rules must let it be added: it becomes the last one
// (https://learn.microsoft.com/kusto/management/mappings).
func NewTarget(columns []Column, items []MappingItem, rules Rules) (*Target, *Error) {
	t := &Target{columns: columns, mapping: items, lenient: rules.Lenient, source: rules.Source}
	if len(columns) == 0 {
		return t, nil
	}
	for _, item := range items {
		switch {
		case columnIndex(t.columns, item.column) >= 0:
		case rules.Extend && item.kind != "":
			t.added = append(t.added, Column{item.column, item.kind})
			t.columns = append(t.columns[:len(t.columns):len(t.columns)], Column{item.column, item.kind})
		case rules.Extend:
			return nil, Permanentf("BadRequest_InvalidMapping", "the mapping names column %q, which table %q does not have, and no datatype to create it with", item.column, rules.Table)
		default:
			return nil, Permanentf("BadRequest_InvalidMapping", "the mapping names column %q, which table %q does not have", item.column, rules.Table)
		}
	}
	return t, nil
}

// Added are the columns that the rows have and the table lacked.
func (t *Target) Added() []Column { return t.added }

func columnIndex(columns []Column, name string) int {
	for i, c := range columns {
		if c.Name == name {
			return i
		}
	}
	return -1
}

// delimiters of the formats that are fields in lines, and whether a field may
// stand in double quotes.
var delimited = map[ingest.Format]struct {
	comma  byte
	quotes bool
	escape bool // backslash escapes
}{
	ingest.CSV:   {',', true, false},
	ingest.SCSV:  {';', true, false},
	ingest.PSV:   {'|', false, false},
	ingest.SOHSV: {0x01, false, false},
	ingest.TSV:   {'\t', false, false},
	ingest.TSVE:  {'\t', false, true},
	ingest.TXT:   {0, false, false},
}

// parseDelimited reads records of a delimited format. Empty lines are no
// records. All records of a blob must have the same number of fields, else the
// whole blob fails with Stream_WrongNumberOfFields, unless the validation policy
// is lenient (https://learn.microsoft.com/azure/data-explorer/ingest-invalid-data:
// "inconsistent number of fields"). That number need not be the one of the table's
// columns: further fields are left out, missing ones are null or empty.
func parseDelimited(data []byte, format ingest.Format, t *Target, skipFirst bool) ([]Row, *Error) {
	d := delimited[format]
	p := &fieldReader{data: bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), comma: d.comma, quotes: d.quotes}
	b := &rowBuilder{buf: make([]byte, 0, len(data)+len(data)/4)}
	var fields [][]byte
	want := 0
	for record := 1; ; record++ {
		var ok bool
		var bad *Error
		if fields, ok, bad = p.record(fields[:0]); bad != nil {
			return nil, bad
		}
		if !ok {
			return b.rows(), nil
		}
		if d.escape {
			for i := range fields {
				fields[i] = unescape(fields[i])
			}
		}
		schemaless := len(t.columns) == 0 && len(t.mapping) == 0
		if want == 0 && !schemaless {
			want = len(fields)
		}
		if !schemaless && !t.lenient && len(fields) != want {
			return nil, Permanentf("Stream_WrongNumberOfFields", "record %d has %d fields, not %d", record, len(fields), want)
		}
		if skipFirst && record == 1 {
			continue
		}
		t.appendFields(b, fields, record)
	}
}

func (t *Target) appendFields(b *rowBuilder, fields [][]byte, record int) {
	switch {
	case len(t.mapping) > 0 && len(t.columns) > 0:
		for i, c := range t.columns {
			b.buf = appendName(b.buf, i, c.Name)
			done := false
			for j := range t.mapping {
				if t.mapping[j].column == c.Name {
					b.buf = t.appendMapped(b.buf, &t.mapping[j], j, fields, c.Type, record)
					done = true
					break
				}
			}
			if !done {
				b.buf = appendMissing(b.buf, c.Type)
			}
		}
	case len(t.mapping) > 0:
		for j := range t.mapping {
			b.buf = appendName(b.buf, j, t.mapping[j].column)
			b.buf = t.appendMapped(b.buf, &t.mapping[j], j, fields, t.mapping[j].kind, record)
		}
	case len(t.columns) > 0:
		for i, c := range t.columns {
			b.buf = appendName(b.buf, i, c.Name)
			if i < len(fields) {
				b.buf = appendText(b.buf, fields[i], c.Type)
			} else {
				b.buf = appendMissing(b.buf, c.Type)
			}
		}
	default:
		for i, f := range fields {
			separator := byte(',')
			if i == 0 {
				separator = '{'
			}
			b.buf = append(b.buf, separator, '"', 'c')
			b.buf = append(strconv.AppendInt(b.buf, int64(i), 10), '"', ':')
			b.buf = appendString(b.buf, f)
		}
	}
	b.buf = append(b.buf, '}')
	b.end()
}

func (t *Target) appendMapped(dst []byte, item *MappingItem, place int, fields [][]byte, kind string, record int) []byte {
	switch {
	case item.transform == "sourcelocation":
		return appendString(dst, []byte(t.source))
	case item.transform == "sourcelinenumber":
		return strconv.AppendInt(dst, int64(record), 10)
	case item.constant != nil:
		return appendText(dst, []byte(*item.constant), kind)
	}
	if item.ordinal >= 0 {
		place = item.ordinal
	}
	if place >= len(fields) {
		return appendMissing(dst, kind)
	}
	if value, ok := fromUnix(fields[place], item.transform); ok {
		return appendValue(dst, value, kind)
	}
	return appendText(dst, fields[place], kind)
}

func appendName(dst []byte, i int, name string) []byte {
	if i == 0 {
		dst = append(dst, '{')
	} else {
		dst = append(dst, ',')
	}
	return append(appendString(dst, []byte(name)), ':')
}

// fieldReader reads records as RFC 4180 has them: a field that begins with a
// quote ends at the next lone one and may hold delimiters and newlines, which
// are kept as they are.
type fieldReader struct {
	data   []byte
	comma  byte
	quotes bool
}

// record appends the next record's fields. They point into the data, or are
// copies where a quote was doubled.
func (p *fieldReader) record(fields [][]byte) (_ [][]byte, ok bool, bad *Error) {
	for len(p.data) > 0 && (p.data[0] == '\n' || p.data[0] == '\r') {
		p.data = p.data[1:]
	}
	if len(p.data) == 0 {
		return nil, false, nil
	}
	for {
		field, last, bad := p.field()
		if bad != nil {
			return nil, false, bad
		}
		fields = append(fields, field)
		if last {
			return fields, true, nil
		}
	}
}

// field takes one field and what ends it; last is true at the end of a record.
func (p *fieldReader) field() (field []byte, last bool, bad *Error) {
	var quotedPart []byte
	if p.quotes && len(p.data) > 0 && p.data[0] == '"' {
		if quotedPart, bad = p.quoted(); bad != nil {
			return nil, false, bad
		}
	}
	n := 0
	for n < len(p.data) && p.data[n] != '\n' && (p.comma == 0 || p.data[n] != p.comma) {
		n++
	}
	field = p.data[:n:n]
	last = n == len(p.data) || p.data[n] == '\n'
	if last {
		field = bytes.TrimSuffix(field, []byte("\r"))
	}
	p.data = p.data[min(n+1, len(p.data)):]
	if !last && len(p.data) == 0 {
		p.data = []byte("\n") // a delimiter at the very end is followed by an empty field
	}
	if quotedPart != nil {
		field = append(quotedPart[:len(quotedPart):len(quotedPart)], field...)
	}
	return field, last, nil
}

// quoted takes a quoted part off the data, without its quotes; never nil.
func (p *fieldReader) quoted() ([]byte, *Error) {
	rest := p.data[1:]
	var out []byte
	for {
		n := bytes.IndexByte(rest, '"')
		if n < 0 {
			return nil, Permanentf("Stream_ClosingQuoteMissing", "a quoted field has no closing quote")
		}
		doubled := n+1 < len(rest) && rest[n+1] == '"'
		if !doubled && out == nil {
			p.data = rest[n+1:]
			return rest[:n:n], nil
		}
		out = append(out, rest[:n]...)
		if !doubled {
			p.data = rest[n+1:]
			return out, nil
		}
		out = append(out, '"')
		rest = rest[n+2:]
	}
}

// unescape resolves the backslash escapes of format tsve.
func unescape(field []byte) []byte {
	if bytes.IndexByte(field, '\\') < 0 {
		return field
	}
	out := make([]byte, 0, len(field))
	for i := 0; i < len(field); i++ {
		if field[i] != '\\' || i+1 == len(field) {
			out = append(out, field[i])
			continue
		}
		i++
		switch field[i] {
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		default:
			out = append(out, field[i])
		}
	}
	return out
}

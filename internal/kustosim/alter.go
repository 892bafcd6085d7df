package kustosim

import "slices"

// spoil has a fault lose or alter one of the rows that are about to be
// committed. It is how a test shows that it would see such a thing.
func (g *ingestor) spoil(in *ingestion, rows []Row) []Row {
	if len(rows) > 0 && g.faults.strike(in, LoseRow) != nil {
		rows = rows[:len(rows)-1]
	}
	if len(rows) == 0 {
		return rows
	}
	if f := g.faults.strike(in, AlterValue); f != nil {
		last := len(rows) - 1
		rows = slices.Clone(rows)
		rows[last] = altered(rows[last], f.Column)
	}
	return rows
}

// altered is a row with another value in a column, the first one if the name is
// empty; as it is where it has no such column.
func altered(row Row, column string) Row {
	members, _ := scanObject(row, nil, true)
	var dst []byte
	for i, m := range members {
		dst = appendName(dst, i, string(m.name))
		if string(m.name) == column || column == "" && i == 0 {
			dst = appendOther(dst, m.value)
		} else {
			dst = append(dst, m.value...)
		}
	}
	if len(members) == 0 {
		return row
	}
	return append(dst, '}')
}

// appendOther appends another value of the same JSON type: a letter or digit
// more, the other bool. Of null, objects and arrays it makes false.
func appendOther(dst, value []byte) []byte {
	switch c := value[0]; {
	case c == '"':
		dst = append(dst, value[:len(value)-1]...)
		return append(dst, 'x', '"')
	case c == '-':
		return append(append(dst, '-', '1'), value[1:]...)
	case c >= '0' && c <= '9':
		return append(append(dst, '1'), value...)
	case c == 'f':
		return append(dst, "true"...)
	default:
		return append(dst, "false"...)
	}
}

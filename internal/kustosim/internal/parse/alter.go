package parse

// Altered is a row with another value in a column, the first one if the name is
// empty; as it is where it has no such column.
func Altered(row Row, column string) Row {
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

// Widened is a row with further columns at its end, which hold nothing.
func Widened(row Row, columns []Column) Row {
	if len(row) < 2 || len(columns) == 0 {
		return row
	}
	dst := append(make(Row, 0, len(row)+16*len(columns)), row[:len(row)-1]...)
	for _, c := range columns {
		if len(dst) > 1 {
			dst = append(dst, ',')
		}
		dst = append(appendString(dst, []byte(c.Name)), ':')
		dst = appendMissing(dst, c.Type)
	}
	return append(dst, '}')
}

package storage

import "strings"

// parseTableResource reads name, name() and name(PartitionKey='p',RowKey='r').
// A quote inside a key is doubled.
func parseTableResource(s string) (name string, key EntityKey, isEntity, ok bool) {
	name, args, found := strings.Cut(s, "(")
	if name == "" {
		return "", key, false, false
	}
	if !found {
		return name, key, false, true
	}
	args, found = strings.CutSuffix(args, ")")
	if !found {
		return "", key, false, false
	}
	if args == "" {
		return name, key, false, true
	}
	rest, ok1 := strings.CutPrefix(args, "PartitionKey=")
	key.Partition, rest, ok = cutODataString(rest)
	if !ok1 || !ok {
		return "", key, false, false
	}
	rest, ok1 = strings.CutPrefix(rest, ",RowKey=")
	key.Row, rest, ok = cutODataString(rest)
	return name, key, true, ok1 && ok && rest == ""
}

// cutODataString takes a quoted string off the front of s.
func cutODataString(s string) (value, rest string, ok bool) {
	if !strings.HasPrefix(s, "'") {
		return "", s, false
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		if s[i] != '\'' {
			b.WriteByte(s[i])
			continue
		}
		if i+1 < len(s) && s[i+1] == '\'' {
			b.WriteByte('\'')
			i++
			continue
		}
		return b.String(), s[i+1:], true
	}
	return "", s, false
}

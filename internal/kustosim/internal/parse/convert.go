package parse

import (
	"bytes"
	"encoding/json"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// maxValueBytes is where the service cuts a string and gives up a dynamic
// value (protocol reference section 13).
const maxValueBytes = 1 << 20

var null = []byte("null")

var guidPattern = regexp.MustCompile(`^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$`)

// IsGUID reports whether text is a GUID in its canonical form, in any case.
func IsGUID(text string) bool { return guidPattern.MatchString(text) }

// appendMissing appends what stands in a column for which the data has no value: null, but
// a string has none and is empty
// (https://learn.microsoft.com/kusto/query/scalar-data-types/null-values).
func appendMissing(dst []byte, kind string) []byte {
	if kind == "string" {
		return append(dst, '"', '"')
	}
	return append(dst, null...)
}

// appendText appends the JSON of a delimited field as a column's type. What
// does not convert is null, as at the service
// (https://learn.microsoft.com/azure/data-explorer/ingest-invalid-data).
func appendText(dst, field []byte, kind string) []byte {
	if kind == "string" || kind == "" {
		return appendString(dst, field)
	}
	text := strings.TrimSpace(string(field))
	if text == "" {
		return append(dst, null...)
	}
	switch kind {
	case "long", "int":
		bits := 64
		if kind == "int" {
			bits = 32
		}
		digits, hex := strings.CutPrefix(text, "0x")
		base := 10
		if hex {
			base = 16
		}
		n, err := strconv.ParseInt(digits, base, bits)
		if err != nil {
			return append(dst, null...)
		}
		return strconv.AppendInt(dst, n, 10)
	case "real":
		f, err := strconv.ParseFloat(text, 64)
		switch {
		case err != nil:
			return append(dst, null...)
		case math.IsNaN(f) || math.IsInf(f, 0):
			return appendString(dst, []byte(text))
		case json.Valid([]byte(text)): // as it was written, so that it compares exactly
			return append(dst, text...)
		}
		return strconv.AppendFloat(dst, f, 'g', -1, 64)
	case "decimal":
		if _, err := strconv.ParseFloat(text, 64); err != nil {
			return append(dst, null...)
		}
		return appendString(dst, []byte(text))
	case "bool":
		switch strings.ToLower(text) {
		case "true", "1":
			return append(dst, "true"...)
		case "false", "0":
			return append(dst, "false"...)
		}
		return append(dst, null...)
	case "datetime":
		t, ok := parseDatetime(text)
		if !ok {
			return append(dst, null...)
		}
		return appendString(dst, []byte(t.UTC().Truncate(100).Format(time.RFC3339Nano)))
	case "guid":
		if text = strings.Trim(text, "{}"); !IsGUID(text) {
			return append(dst, null...)
		}
		return appendString(dst, []byte(strings.ToLower(text)))
	case "dynamic":
		if !json.Valid([]byte(text)) {
			return appendString(dst, field)
		}
		return appendDynamic(dst, []byte(text))
	default: // timespan
		ticks, ok := parseTimespan(text)
		if !ok {
			return append(dst, null...)
		}
		return appendTimespan(dst, ticks)
	}
}

// appendValue appends a JSON value as a column's type. A column without a type
// and dynamic take it as it is.
func appendValue(dst []byte, value json.RawMessage, kind string) []byte {
	value = bytes.TrimSpace(value)
	if len(value) == 0 || string(value) == "null" {
		return appendMissing(dst, kind)
	}
	switch kind {
	case "", "dynamic":
		return appendDynamic(dst, value)
	case "string":
		if value[0] == '"' {
			if len(value) <= maxValueBytes {
				return append(dst, value...)
			}
			var s string
			if json.Unmarshal(value, &s) != nil {
				return append(dst, null...)
			}
			return appendString(dst, []byte(s))
		}
		return appendString(dst, value)
	}
	if value[0] == '"' {
		var s string
		if json.Unmarshal(value, &s) != nil {
			return append(dst, null...)
		}
		return appendText(dst, []byte(s), kind)
	}
	if value[0] == '{' || value[0] == '[' {
		return append(dst, null...)
	}
	if n, ok := integral(value); ok && (kind == "long" || kind == "int") {
		value = n
	}
	return appendText(dst, value, kind)
}

// integral turns 1e3 and 2.0 into integers, where that is exact.
func integral(value []byte) ([]byte, bool) {
	f, err := strconv.ParseFloat(string(value), 64)
	if err != nil || !bytes.ContainsAny(value, ".eE") || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return nil, false
	}
	return strconv.AppendInt(nil, int64(f), 10), true
}

func appendDynamic(dst, value []byte) []byte {
	if len(value) > maxValueBytes {
		return append(dst, null...)
	}
	return append(dst, value...)
}

// appendString appends s as a JSON string, cut at the service's limit. Bytes
// that are not UTF-8 become the replacement character.
func appendString(dst, s []byte) []byte {
	if len(s) > maxValueBytes {
		n := maxValueBytes
		for n > 0 && !utf8.RuneStart(s[n]) {
			n--
		}
		s = s[:n]
	}
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	plain := 0 // where the part begins that can be copied as it is
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRune(s[i:])
			if r != utf8.RuneError || n > 1 {
				i += n
				continue
			}
		}
		dst = append(dst, s[plain:i]...)
		i++
		plain = i
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			if c < 0x20 {
				dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			} else {
				dst = utf8.AppendRune(dst, utf8.RuneError)
			}
		}
	}
	dst = append(dst, s[plain:]...)
	return append(dst, '"')
}

// fromUnix applies the DateTimeFromUnix transforms of a mapping.
func fromUnix(value json.RawMessage, transform string) (json.RawMessage, bool) {
	var unit time.Duration
	switch transform {
	case "datetimefromunixseconds":
		unit = time.Second
	case "datetimefromunixmilliseconds":
		unit = time.Millisecond
	case "datetimefromunixmicroseconds":
		unit = time.Microsecond
	case "datetimefromunixnanoseconds":
		unit = time.Nanosecond
	default:
		return value, false
	}
	n, err := strconv.ParseInt(strings.Trim(string(value), `"`), 10, 64)
	if err != nil {
		return nil, true
	}
	perSecond := int64(time.Second / unit)
	t := time.Unix(n/perSecond, n%perSecond*int64(unit)).UTC()
	return json.RawMessage(`"` + t.Format(time.RFC3339Nano) + `"`), true
}

package typed

import (
	"encoding"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// MaxValueBytes is where the service cuts a string and gives up a dynamic value
// (https://learn.microsoft.com/kusto/query/scalar-data-types/string and /dynamic).
const MaxValueBytes = 1 << 20

// put appends the JSON of a value, or says the rule that it breaks.
type put func(dst []byte, v reflect.Value) (out []byte, rule string)

var (
	timeType      = reflect.TypeFor[time.Time]()
	durationType  = reflect.TypeFor[time.Duration]()
	rawType       = reflect.TypeFor[json.RawMessage]()
	jsonMarshaler = reflect.TypeFor[json.Marshaler]()
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
	errorType     = reflect.TypeFor[error]()
)

func marshals(t, by reflect.Type) bool {
	return t.Implements(by) || t.Kind() != reflect.Pointer && reflect.PointerTo(t).Implements(by)
}

// putterOf chooses a column's type for a Go type: want, where the tag names one.
func putterOf(t reflect.Type, want string) (typ string, p put, rule string) {
	if hollow(t) {
		return "", nil, "has no type of the service: encoding/json writes it as {} whatever it holds"
	}
	if t.Kind() == reflect.Pointer {
		typ, to, rule := putterOf(t.Elem(), want)
		return typ, func(dst []byte, v reflect.Value) ([]byte, string) {
			if v.IsNil() {
				return append(dst, "null"...), ""
			}
			return to(dst, v.Elem())
		}, rule
	}
	types, p := native(t)
	if types == nil {
		if bad := unmarshallable(t, nil); bad != nil {
			return "", nil, "has no type of the service: " + bad.String() + " cannot be a value of JSON"
		}
		types, p = []string{"dynamic"}, putDynamic
	}
	if want == "" {
		want = types[0]
	}
	if !slices.Contains(types, want) {
		return "", nil, "must be a column of type " + strings.Join(types, " or ")
	}
	switch {
	case want == "guid" && t.Kind() == reflect.String:
		p = matching(guid, "must be a GUID, such as 6ba7b810-9dad-11d1-80b4-00c04fd430c8")
	case want == "decimal" && t.Kind() == reflect.String:
		p = matching(decimal, "must be a decimal number of at most 34 digits")
	case want == "decimal" && (t.Kind() == reflect.Uint64 || t.Kind() == reflect.Uint):
		p = putUnsigned
	case want == "long" && t == durationType:
		p = putInteger
	}
	return want, p, ""
}

// native are the types that a column of t may have, the first one by itself; none
// for a dynamic by encoding/json.
func native(t reflect.Type) ([]string, put) {
	switch {
	case t == timeType:
		return []string{"datetime"}, putTime
	case t == durationType:
		return []string{"timespan", "long"}, putDuration
	case t.Kind() == reflect.Array && t.Len() == 16 && isByte(t.Elem()):
		return []string{"guid"}, putGUID
	case t == rawType, marshals(t, jsonMarshaler):
		return nil, nil
	case marshals(t, textMarshaler):
		return []string{"string"}, putText
	}
	switch t.Kind() {
	case reflect.Bool:
		return []string{"bool"}, func(dst []byte, v reflect.Value) ([]byte, string) { return strconv.AppendBool(dst, v.Bool()), "" }
	case reflect.Int8, reflect.Int16, reflect.Int32:
		return []string{"int", "long", "decimal"}, putInteger
	case reflect.Uint8, reflect.Uint16:
		return []string{"int", "long", "decimal"}, putUnsigned
	case reflect.Int, reflect.Int64:
		return []string{"long", "decimal"}, putInteger
	case reflect.Uint32:
		return []string{"long", "decimal"}, putUnsigned
	case reflect.Uint, reflect.Uint64:
		return []string{"long", "decimal"}, func(dst []byte, v reflect.Value) ([]byte, string) {
			if v.Uint() > math.MaxInt64 {
				return dst, "must be at most 9223372036854775807, or the column a decimal"
			}
			return putUnsigned(dst, v)
		}
	case reflect.Float32, reflect.Float64:
		return []string{"real"}, putReal
	case reflect.String:
		return []string{"string", "guid", "decimal"}, func(dst []byte, v reflect.Value) ([]byte, string) { return putString(dst, v.String()) }
	case reflect.Slice:
		if isByte(t.Elem()) {
			return []string{"dynamic", "string"}, putBytes
		}
	}
	return nil, nil
}

// isByte: an element that writes itself is a value, as for encoding/json.
func isByte(t reflect.Type) bool {
	return t.Kind() == reflect.Uint8 && !marshals(t, jsonMarshaler) && !marshals(t, textMarshaler)
}

func putInteger(dst []byte, v reflect.Value) ([]byte, string) {
	return strconv.AppendInt(dst, v.Int(), 10), ""
}

func putUnsigned(dst []byte, v reflect.Value) ([]byte, string) {
	return strconv.AppendUint(dst, v.Uint(), 10), ""
}

func putReal(dst []byte, v reflect.Value) ([]byte, string) {
	f := v.Float()
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return dst, "must be finite: JSON has no other numbers"
	}
	return strconv.AppendFloat(dst, f, 'g', -1, v.Type().Bits()), ""
}

func putString(dst []byte, s string) ([]byte, string) {
	switch {
	case len(s) > MaxValueBytes:
		return dst, fmt.Sprintf("must have at most %d bytes, the service cuts it there", MaxValueBytes)
	case !utf8.ValidString(s):
		return dst, "must be valid UTF-8"
	}
	text, err := json.Marshal(s)
	if err != nil {
		return dst, err.Error()
	}
	return append(dst, text...), ""
}

// putTime: a datetime is from the year 1 to 9999, in ticks
// (https://learn.microsoft.com/kusto/query/scalar-data-types/datetime).
func putTime(dst []byte, v reflect.Value) ([]byte, string) {
	t := v.Interface().(time.Time).UTC()
	if t.Year() < 1 || t.Year() > 9999 {
		return dst, "must be from the year 1 to 9999 in UTC"
	}
	return append(t.Truncate(100).AppendFormat(append(dst, '"'), time.RFC3339Nano), '"'), ""
}

// putDuration: [-][days.]hours:minutes:seconds.ticks
// (https://learn.microsoft.com/kusto/query/scalar-data-types/timespan).
func putDuration(dst []byte, v reflect.Value) ([]byte, string) {
	sign, ticks := "", uint64(v.Int()/100)
	if v.Int() < 0 {
		sign, ticks = "-", -ticks
	}
	seconds := ticks / 1e7
	return fmt.Appendf(dst, `"%s%d.%02d:%02d:%02d.%07d"`, sign, seconds/86400, seconds/3600%24, seconds/60%60, seconds%60, ticks%1e7), ""
}

func putGUID(dst []byte, v reflect.Value) ([]byte, string) {
	var b [16]byte
	reflect.Copy(reflect.ValueOf(b[:]), v)
	return fmt.Appendf(dst, `"%x-%x-%x-%x-%x"`, b[:4], b[4:6], b[6:8], b[8:10], b[10:]), ""
}

func putBytes(dst []byte, v reflect.Value) ([]byte, string) {
	if v.IsNil() {
		return append(dst, "null"...), ""
	}
	if base64.StdEncoding.EncodedLen(v.Len()) > MaxValueBytes-2 { // with its quotes
		return dst, fmt.Sprintf("must have at most %d bytes in base64", MaxValueBytes-2)
	}
	return fmt.Appendf(dst, `"%s"`, base64.StdEncoding.EncodeToString(v.Bytes())), ""
}

func putText(dst []byte, v reflect.Value) ([]byte, string) {
	if v.Kind() == reflect.Interface && v.IsNil() {
		return append(dst, "null"...), ""
	}
	text, err := addressable(v, textMarshaler).Interface().(encoding.TextMarshaler).MarshalText()
	if err != nil {
		return dst, wordsOf(err)
	}
	return putString(dst, string(text))
}

func putDynamic(dst []byte, v reflect.Value) ([]byte, string) {
	if v.Kind() != reflect.Interface || !v.IsNil() {
		v = addressable(v, jsonMarshaler)
	}
	text, err := json.Marshal(v.Interface())
	switch {
	case err != nil:
		return dst, wordsOf(err)
	case len(text) > MaxValueBytes:
		return dst, fmt.Sprintf("must have at most %d bytes of JSON, the service makes null of more", MaxValueBytes)
	case !utf8.Valid(text): // by a json.RawMessage, or a marshaller
		return dst, "must be valid UTF-8"
	}
	return append(dst, text...), ""
}

// wordsOf bounds what a marshaller of the caller's says.
func wordsOf(err error) string { return fmt.Sprintf("%.200s", err.Error()) }

// addressable is v, or a pointer to a copy where only the pointer has the method.
func addressable(v reflect.Value, by reflect.Type) reflect.Value {
	if v.Type().Implements(by) || !reflect.PointerTo(v.Type()).Implements(by) {
		return v
	}
	p := reflect.New(v.Type())
	p.Elem().Set(v)
	return p
}

var (
	guid = func(s string) bool { return guidForm.MatchString(s) }
	// decimal: the service's has 128 bits
	// (https://learn.microsoft.com/kusto/query/scalar-data-types/decimal), in which
	// 34 digits fit by IEEE 754.
	decimal = func(s string) bool {
		digits := len(s) - strings.Count(s, ".") - strings.Count(s, "-")
		return digits <= 34 && decimalForm.MatchString(s)
	}
	guidForm    = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)
	decimalForm = regexp.MustCompile(`^-?\d+(\.\d+)?$`)
)

func matching(ok func(string) bool, rule string) put {
	return func(dst []byte, v reflect.Value) ([]byte, string) {
		if !ok(v.String()) {
			return dst, rule
		}
		return putString(dst, v.String())
	}
}

// unmarshallable finds in t what encoding/json cannot write.
func unmarshallable(t reflect.Type, seen []reflect.Type) reflect.Type {
	if slices.Contains(seen, t) || marshals(t, jsonMarshaler) || marshals(t, textMarshaler) {
		return nil
	}
	seen = append(seen, t)
	switch t.Kind() {
	case reflect.Chan, reflect.Func, reflect.Complex64, reflect.Complex128, reflect.UnsafePointer:
		return t
	case reflect.Map:
		if k := t.Key(); k.Kind() != reflect.String && (k.Kind() < reflect.Int || k.Kind() > reflect.Uintptr) && !k.Implements(textMarshaler) {
			return t
		}
		return unmarshallable(t.Elem(), seen)
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return unmarshallable(t.Elem(), seen)
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			if !f.IsExported() && !f.Anonymous || f.Tag.Get("json") == "-" {
				continue
			}
			if bad := unmarshallable(f.Type, seen); bad != nil {
				return bad
			}
		}
	}
	return nil
}

// hollow: encoding/json writes values of t, or of what it is a pointer to or a list or
// map of, as {} whatever they hold: an error, and a struct whose fields are all hidden
// (type T time.Time). So is a pointer to nothing but itself.
func hollow(t reflect.Type) bool {
	for seen := []reflect.Type(nil); !marshals(t, jsonMarshaler) && !marshals(t, textMarshaler); {
		if slices.Contains(seen, t) {
			return t.Kind() == reflect.Pointer
		}
		switch t.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
			seen, t = append(seen, t), t.Elem()
		case reflect.Interface:
			return t.Implements(errorType)
		case reflect.Struct:
			for i := range t.NumField() {
				if f := t.Field(i); f.IsExported() || f.Anonymous {
					return false
				}
			}
			return t.NumField() > 0
		default:
			return false
		}
	}
	return false
}

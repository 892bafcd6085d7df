package parse

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"kustospool/ingest"
)

func textOf(rows []Row) string {
	var b strings.Builder
	for _, r := range rows {
		b.Write(r)
		b.WriteByte('\n')
	}
	return b.String()
}

func TestDelimited(t *testing.T) {
	typed := []Column{{"a", "string"}, {"b", "long"}}
	for _, tt := range []struct {
		name   string
		format ingest.Format
		target Target
		data   string
		want   string // rows, or the code of the failure
	}{
		{"free", ingest.CSV, Target{}, "a,1\r\nb\n", `{"c0":"a","c1":"1"}` + "\n" + `{"c0":"b"}` + "\n"},
		{"quotes", ingest.CSV, Target{}, "\"a,\"\"b\"\"\",\"x\r\ny\"\n", `{"c0":"a,\"b\"","c1":"x\r\ny"}` + "\n"},
		{"quote inside", ingest.CSV, Target{}, `a"b,"c"d` + "\n", `{"c0":"a\"b","c1":"cd"}` + "\n"},
		{"empty fields", ingest.CSV, Target{}, ",\n\"\"\n", `{"c0":"","c1":""}` + "\n" + `{"c0":""}` + "\n"},
		{"blank lines", ingest.CSV, Target{}, "\n\r\na\n\n", `{"c0":"a"}` + "\n"},
		{"delimiter at the end", ingest.CSV, Target{}, "a,", `{"c0":"a","c1":""}` + "\n"},
		{"mark", ingest.CSV, Target{}, "\xef\xbb\xbfa", `{"c0":"a"}` + "\n"},
		{"typed", ingest.CSV, Target{columns: typed}, "x,1\ny,z\n", `{"a":"x","b":1}` + "\n" + `{"a":"y","b":null}` + "\n"},
		{"too few", ingest.CSV, Target{columns: typed}, "x\ny,2\n", "Stream_WrongNumberOfFields"},
		{"too many", ingest.CSV, Target{columns: typed}, "x,1\ny,2,3\n", "Stream_WrongNumberOfFields"},
		{"fewer than columns", ingest.CSV, Target{columns: typed}, "x\ny\n", `{"a":"x","b":null}` + "\n" + `{"a":"y","b":null}` + "\n"},
		{"more than columns", ingest.CSV, Target{columns: typed}, "x,1,2\ny,2,3\n", `{"a":"x","b":1}` + "\n" + `{"a":"y","b":2}` + "\n"},
		{"lenient", ingest.CSV, Target{columns: typed, lenient: true}, "x\ny,2,3\n", `{"a":"x","b":null}` + "\n" + `{"a":"y","b":2}` + "\n"},
		{"uneven", ingest.CSV, Target{columns: typed, mapping: []MappingItem{{column: "b", ordinal: 0}}}, "1,2\n3\n", "Stream_WrongNumberOfFields"},
		{"mapped", ingest.CSV, Target{columns: typed, mapping: []MappingItem{{column: "b", ordinal: 0}}}, "1,2\n", `{"a":"","b":1}` + "\n"},
		{"open quote", ingest.CSV, Target{}, "a,\"b\n", "Stream_ClosingQuoteMissing"},
		{"tsv", ingest.TSV, Target{}, "a\t\"b\\n\"\n", `{"c0":"a","c1":"\"b\\n\""}` + "\n"},
		{"tsve", ingest.TSVE, Target{}, "a\\tb\tc\\nd\\\\\n", `{"c0":"a\tb","c1":"c\nd\\"}` + "\n"},
		{"psv", ingest.PSV, Target{}, "a|b,c\n", `{"c0":"a","c1":"b,c"}` + "\n"},
		{"scsv", ingest.SCSV, Target{}, "a;\"b;c\"\n", `{"c0":"a","c1":"b;c"}` + "\n"},
		{"sohsv", ingest.SOHSV, Target{}, "a\x01b\n", `{"c0":"a","c1":"b"}` + "\n"},
		{"txt", ingest.TXT, Target{}, "a,b\t\"c\nd\n", `{"c0":"a,b\t\"c"}` + "\n" + `{"c0":"d"}` + "\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rows, bad := parseDelimited([]byte(tt.data), tt.format, &tt.target, false)
			got := textOf(rows)
			if bad != nil {
				got = bad.Code
			}
			if got != tt.want {
				t.Errorf("got\n%s, want\n%s", got, tt.want)
			}
		})
	}
	rows, bad := parseDelimited([]byte("a,b\n1,2\n"), ingest.CSV, &Target{}, true)
	if bad != nil || textOf(rows) != `{"c0":"1","c1":"2"}`+"\n" {
		t.Errorf("without the first record: %s, %v", textOf(rows), bad)
	}
}

// What encoding/csv writes comes back field for field.
func TestCSVRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		records := rapid.SliceOfN(rapid.SliceOfN(rapid.StringOf(rapid.SampledFrom([]rune("ab,\"\n\r;ü \t\\"))), 2, 4), 1, 5).Draw(t, "records")
		var b bytes.Buffer
		w := csv.NewWriter(&b)
		if err := w.WriteAll(records); err != nil {
			t.Fatal(err)
		}
		rows, bad := parseDelimited(b.Bytes(), ingest.CSV, &Target{}, false)
		if bad != nil {
			t.Fatal(bad)
		}
		if len(rows) != len(records) {
			t.Fatalf("%d rows of %d records: %q", len(rows), len(records), b.String())
		}
		for i, row := range rows {
			m, err := row.Map()
			if err != nil {
				t.Fatal(err)
			}
			for j, f := range records[i] {
				if m["c"+string(rune('0'+j))] != f {
					t.Fatalf("record %d is %q, its row %s", i, records[i], row)
				}
			}
		}
	})
}

func TestDocuments(t *testing.T) {
	items, bad := ParseMapping("json", `[{"column":"a","path":"$.x.y[1]"},{"Column":"b","Properties":{"path":"$['x']"}},{"column":"c","Properties":{"ConstValue":"k"}},
		{"column":"d","Properties":{"Path":"$"}},{"column":"e","datatype":"datetime","Properties":{"Path":"$.t","Transform":"DateTimeFromUnixSeconds"}},
		{"column":"f","Properties":{"Transform":"SourceLocation"}},{"column":"g","Properties":{"Transform":"SourceLineNumber"}}]`)
	if bad != nil {
		t.Fatal(bad)
	}
	const doc = `{"x":{"y":[1,2]},"t":10}`
	typed := []Column{{"s", "string"}, {"l", "long"}, {"r", "real"}, {"b", "bool"}, {"t", "datetime"}, {"g", "guid"}, {"d", "dynamic"}, {"i", "int"}, {"m", "decimal"}}
	for _, tt := range []struct {
		name   string
		target Target
		data   string
		want   string
	}{
		{"plain", Target{}, "{\"a\": 1.0, \"a\":2}\n", "{\"a\": 1.0, \"a\":2}\n"},
		{"mapped", Target{mapping: items, source: "uri"}, doc,
			`{"a":2,"b":{"y":[1,2]},"c":"k","d":{"x":{"y":[1,2]},"t":10},"e":"1970-01-01T00:00:10Z","f":"uri","g":1}` + "\n"},
		{"typed", Target{columns: typed}, `{"s":"ü","l":9007199254740993,"r":1.50,"b":true,"t":"2025-01-01 10:00:00","g":"0F0F0F0F-1111-2222-3333-444444444444","d":{"x":[1]},"i":1e3,"m":1.10,"extra":1}`,
			`{"s":"ü","l":9007199254740993,"r":1.50,"b":true,"t":"2025-01-01T10:00:00Z","g":"0f0f0f0f-1111-2222-3333-444444444444","d":{"x":[1]},"i":1000,"m":"1.10"}` + "\n"},
		{"mismatched", Target{columns: typed}, `{"s":{"x":1},"l":"x","r":[],"b":"maybe","t":5,"g":"x","d":"str","i":3000000000,"m":{}}`,
			`{"s":"{\"x\":1}","l":null,"r":null,"b":null,"t":null,"g":null,"d":"str","i":null,"m":null}` + "\n"},
		{"missing", Target{columns: typed[:2]}, `{}`, `{"s":"","l":null}` + "\n"},
		{"from strings", Target{columns: typed[1:4]}, `{"l":"010","r":"1e400","b":"1"}`, `{"l":10,"r":null,"b":true}` + "\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rows, malformed, bad := parseLines([]byte(tt.data), &tt.target, false, false)
			if bad != nil || malformed != 0 || textOf(rows) != tt.want {
				t.Errorf("json gives\n%s, %d, %v, want\n%s", textOf(rows), malformed, bad, tt.want)
			}
			if rows, bad = parseMulti([]byte("[\n"+tt.data+"\n]"), &tt.target, false); bad != nil || textOf(rows) != tt.want {
				t.Errorf("multijson gives\n%s, %v, want\n%s", textOf(rows), bad, tt.want)
			}
		})
	}
	rows, bad := parseMulti([]byte("{\"a\":1}{\"a\":2}\n[{\"a\":3},\n{\"a\":4}]"), &Target{}, true)
	if bad != nil || textOf(rows) != "{\"a\":2}\n{\"a\":3}\n{\"a\":4}\n" {
		t.Errorf("got %s, %v", textOf(rows), bad)
	}
}

// parseMulti agrees with encoding/json about what is an array of objects.
func TestMultiForms(t *testing.T) {
	for text, want := range map[string]int{
		"": 0, "[]": 0, "[] []": 0, "{}{}": 2, "[{},{}]{}": 3, " [ {} ] ": 1, "[{},]": -1, "[{}": -1, "[": -1, "[[{}]]": -1, "{},{}": -1, "[{} {}]": -1, "]": -1, "[{}]]": -1, "1": -1, "{": -1, "[{},1]": -1,
	} {
		rows, bad := parseMulti([]byte(text), &Target{}, false)
		if got := len(rows); bad != nil && want >= 0 || bad == nil && got != want {
			t.Errorf("%q gives %d rows, %v; want %d", text, got, bad, want)
		}
	}
}

func TestValueLimits(t *testing.T) {
	long := strings.Repeat("ü", maxValueBytes)
	text, err := json.Marshal(map[string]any{"s": long, "d": []string{long}})
	if err != nil {
		t.Fatal(err)
	}
	rows, _, bad := parseLines(text, &Target{columns: []Column{{"s", "string"}, {"d", "dynamic"}}}, false, false)
	if bad != nil {
		t.Fatal(bad)
	}
	m, err := rows[0].Map()
	if err != nil {
		t.Fatal(err)
	}
	if s := m["s"].(string); s != long[:maxValueBytes] || m["d"] != nil {
		t.Errorf("a string of %d bytes is cut to %d, a dynamic is null: %v", len(long), len(s), m["d"] == nil)
	}
}

func TestPaths(t *testing.T) {
	for text, want := range map[string][]pathStep{
		"$": {}, "$.a": {{name: "a"}}, "$['a b'].c": {{name: "a b"}, {name: "c"}}, `$["x"][2]`: {{name: "x"}, {index: 2, isIndex: true}},
		"$.['a b']": {{name: "a b"}}, "$.a.['b.c'][0]": {{name: "a"}, {name: "b.c"}, {index: 0, isIndex: true}},
	} {
		if got, err := parsePath(text); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("parsePath(%q) = %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "a", "$.", "$..a", "$[", "$[x]", "$[-1]", "$['a'", "$.*", "$.a[*]", "$.a[0:2]", "$.a[0,1]", "$.[", "$.[0", "$a", "$" + strings.Repeat(".a", maxPathSteps+1)} {
		if got, err := parsePath(text); err == nil {
			t.Errorf("parsePath(%q) = %v", text, got)
		}
	}
}

func FuzzDelimited(f *testing.F) {
	f.Add([]byte("a,b\n\"c\"\"\",\r\n"), true)
	f.Add([]byte("\"\n"), false)
	f.Fuzz(func(t *testing.T, data []byte, typed bool) {
		tg := &Target{}
		if typed {
			tg.columns, tg.lenient = []Column{{"a", "real"}, {"b", "datetime"}, {"c", "dynamic"}}, true
		}
		rows, bad := parseDelimited(data, ingest.CSV, tg, false)
		if bad != nil {
			return
		}
		for _, r := range rows {
			if !json.Valid(r) {
				t.Fatalf("row %q of %q is not JSON", r, data)
			}
		}
	})
}

func FuzzDocuments(f *testing.F) {
	f.Add([]byte("{\"a\":1}\n[]\n"), []byte(`[{"column":"a","path":"$.a"}]`))
	f.Add([]byte("{\"a\":{\"b\":1e3}}"), []byte(`[{"column":"a","datatype":"long","path":"$.a.b"}]`))
	f.Fuzz(func(t *testing.T, data, mapping []byte) {
		tg := &Target{}
		if items, bad := ParseMapping("json", string(mapping)); bad == nil {
			tg.mapping = items
		}
		rows, _, _ := parseLines(data, tg, false, false)
		more, _ := parseMulti(data, tg, false)
		for _, r := range append(rows, more...) {
			if !json.Valid(r) {
				t.Fatalf("row %q of %q is not JSON", r, data)
			}
		}
	})
}

package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

var (
	csv   = Rule{Cut: QuotedLines, Comma: ','}
	scsv  = Rule{Cut: QuotedLines, Comma: ';'}
	lines = Rule{Cut: Lines}
	jsonl = Rule{Cut: JSONLines}
	multi = Rule{Cut: Documents}
)

// all cuts a text to its end, and in front of each bad piece puts "!".
func all(t testing.TB, in io.Reader, rule Rule, header bool) ([]string, Counts, []Piece) {
	t.Helper()
	r := NewReader(in, rule)
	r.SkipHeader = header
	var recs []string
	var bad []Piece
	for {
		p, err := r.Next()
		if err == io.EOF {
			return recs, r.Counts(), bad
		}
		if err != nil {
			t.Fatal(err)
		}
		if p.Kind == Good {
			recs = append(recs, string(p.Data))
			continue
		}
		recs = append(recs, "!"+string(p.Data))
		p.Data = bytes.Clone(p.Data)
		bad = append(bad, p)
		if p.Fault.Fatal {
			return recs, r.Counts(), bad
		}
	}
}

// cutCases are texts and what they are cut into; the texts are the fuzz
// targets' seeds as well.
var cutCases = []struct {
	name   string
	rule   Rule
	header bool
	in     string
	want   []string
	counts Counts // of blank lines, headers and marks
}{
	{name: "nothing", rule: csv},
	{name: "lines", rule: lines, in: "a\nb\r\nc", want: []string{"a", "b", "c"}},
	{name: "blank lines", rule: lines, in: "\n\r\na\n\n\nb\n\n", want: []string{"a", "b"}, counts: Counts{Blank: 5}},
	{name: "a row of blanks is a row", rule: lines, in: "a\n  \n\t\n", want: []string{"a", "  ", "\t"}},
	{name: "a row of empty fields is a row", rule: csv, in: "a,b\n,\n,,\n", want: []string{"a,b", ",", ",,"}},
	{name: "a lone carriage return is data", rule: lines, in: "a\rb\nc\r", want: []string{"a\rb", "c"}},
	{name: "several carriage returns are kept", rule: lines, in: "a\r\r\nb\r\n", want: []string{"a\r\r", "b"}},
	{name: "only carriage returns", rule: lines, in: "\r\r\n\r", counts: Counts{Blank: 2}},
	{name: "mark", rule: lines, in: "\xef\xbb\xbfa\n\xef\xbb\xbfb\nc", want: []string{"a", "b", "c"}, counts: Counts{Marks: 2}},
	{name: "half a mark", rule: lines, in: "\xef\xbb\n\xef", want: []string{"\xef\xbb", "\xef"}},
	{name: "only a mark", rule: lines, in: "\xef\xbb\xbf", counts: Counts{}},
	{name: "header behind a blank line", rule: csv, header: true, in: "\nid,name\n1,a\n", want: []string{"1,a"}, counts: Counts{Blank: 1, Headers: 1}},
	{name: "header with a quoted newline", rule: csv, header: true, in: "\"h\n1\",h2\n1,2\n", want: []string{"1,2"}, counts: Counts{Headers: 1}},
	{name: "header behind a mark", rule: csv, header: true, in: "\xef\xbb\xbf\"h\n1\"\n1\n", want: []string{"1"}, counts: Counts{Headers: 1, Marks: 1}},

	{name: "quoted newline", rule: csv, in: "1,\"a\nb\"\n2,\"\"\"\n\"\n3,x\n", want: []string{"1,\"a\nb\"", "2,\"\"\"\n\"", "3,x"}},
	{name: "quoted crlf and comma", rule: csv, in: "\"a\r\n,b\",c\r\nd\r\n", want: []string{"\"a\r\n,b\",c", "d"}},
	{name: "a quote inside a field is data", rule: csv, in: "5\" pipe,1\n6\" pipe,2\na\"\"\n", want: []string{"5\" pipe,1", "6\" pipe,2", "a\"\""}},
	{name: "a quote behind a blank is data", rule: csv, in: "a, \"b\nc, d\"\n", want: []string{"a, \"b", "c, d\""}},
	{name: "behind a quoted part a quote is data", rule: csv, in: "\"a\"b\"c\nd\n", want: []string{"\"a\"b\"c", "d"}},
	{name: "the quote opens behind carriage returns", rule: csv, in: "\r\"a\nb\"\nc\n", want: []string{"\r\"a\nb\"", "c"}},
	{name: "semicolons", rule: scsv, in: "a;\"b\nc\"\nd,\"e\nf\n", want: []string{"a;\"b\nc\"", "d,\"e", "f"}},
	{name: "empty quoted fields", rule: csv, in: "\"\",\"\"\n\"\"\n", want: []string{"\"\",\"\"", "\"\""}},
	{name: "tabs have no quotes", rule: lines, in: "a\t\"b\nc\td\n", want: []string{"a\t\"b", "c\td"}},
	{name: "unclosed quote", rule: csv, in: "0,ok\n1,\"abc\n2,x\n3,y\n", want: []string{"0,ok", "!1,\"abc", "2,x", "3,y"}},
	{name: "unclosed quote at the end", rule: csv, in: "0,ok\r\n1,\"abc", want: []string{"0,ok", "!1,\"abc"}},
	{name: "unclosed after closed", rule: csv, in: "\"a\",\"b\nc\n", want: []string{"!\"a\",\"b", "c"}},

	{name: "json lines", rule: jsonl, in: "{\"a\":1}\n {\"a\":\"\u00e9\"}\r\n{}", want: []string{`{"a":1}`, " {\"a\":\"\u00e9\"}", "{}"}},
	{name: "json white space is blank", rule: jsonl, in: "{}\n \t\r\n\n{}\n", want: []string{"{}", "{}"}, counts: Counts{Blank: 2}},
	{name: "other white space is not", rule: jsonl, in: "{}\n\u00a0\n", want: []string{"{}", "!\u00a0"}},
	{name: "brackets in strings", rule: jsonl, in: `{"a":"}{\"["}` + "\n{}\n", want: []string{`{"a":"}{\"["}`, "{}"}},
	{name: "what is no object", rule: jsonl, in: "[{}]\n1\n\"x\"\nnull\n{]\n{}{}\n{\"a\":\n{}\n",
		want: []string{"![{}]", "!1", "!\"x\"", "!null", "!{]", "!{}{}", "!{\"a\":", "{}"}},
	{name: "unchecked", rule: Rule{Cut: JSONLines, Unchecked: true}, in: "{]\n\n1\n", want: []string{"{]", "1"}, counts: Counts{Blank: 1}},

	{name: "documents", rule: multi, in: "{\n \"a\": 1\n}\n\n{} {}\n{}{}\n", want: []string{"{\n \"a\": 1\n}", "{}", "{}", "{}", "{}"}},
	{name: "arrays", rule: multi, in: "[{\"a\":1},\n {\"a\":2}] [ ] {}", want: []string{`{"a":1}`, `{"a":2}`, "{}"}, counts: Counts{Blank: 1}},
	{name: "documents with brackets in strings", rule: multi, in: `{"a":"}\"]"}{"b":[[],{}]}`, want: []string{`{"a":"}\"]"}`, `{"b":[[],{}]}`}},
	{name: "documents and what is none", rule: multi, in: "1 2\n{]{}\n\"x\"\n{}", want: []string{"!1 2", "!{]", "{}", "!\"x\"", "{}"}},
	{name: "arrays and what is none", rule: multi, in: "[1,{},}, [2,3] ,{\"a\":1},]{}", want: []string{"!1", "{}", "!}", "![2,3]", `{"a":1}`, "!]", "{}"}},
	{name: "array without commas", rule: multi, in: "[{} {},,{}]", want: []string{"{}", "!{}", "!,", "{}"}},
	{name: "open array", rule: multi, in: "[{},\n", want: []string{"{}", "!["}},
	{name: "open document", rule: multi, in: "{} {\"a\":{}\n", want: []string{"{}", "!{\"a\":{}"}},
	{name: "document behind a mark", rule: multi, in: "\xef\xbb\xbf {}\n\xef\xbb\xbf{}", want: []string{"{}", "{}"}, counts: Counts{Marks: 2}},
}

// How the bytes come makes no difference.
func TestCut(t *testing.T) {
	for _, tc := range cutCases {
		t.Run(tc.name, func(t *testing.T) {
			for name, in := range map[string]io.Reader{
				"at once":      strings.NewReader(tc.in),
				"byte by byte": iotest.OneByteReader(strings.NewReader(tc.in)),
				"halves":       iotest.HalfReader(strings.NewReader(tc.in)),
				"end with it":  iotest.DataErrReader(strings.NewReader(tc.in)),
			} {
				got, counts, _ := all(t, in, tc.rule, tc.header)
				if !reflect.DeepEqual(got, tc.want) {
					t.Errorf("%s: got %q, want %q", name, got, tc.want)
				}
				want := tc.counts
				for _, rec := range tc.want {
					if strings.HasPrefix(rec, "!") {
						want.Bad++
					} else {
						want.Good++
					}
				}
				if counts != want {
					t.Errorf("%s: counts %+v, want %+v", name, counts, want)
				}
			}
		})
	}
}

func TestFaults(t *testing.T) {
	const multijson = "use the format multijson"
	for _, tc := range []struct {
		name string
		rule Rule
		in   string
		line int64
		want string
		hint bool
	}{
		{"array", jsonl, "{}\n\n[{\"a\":1}]\n", 3, "not an array", true},
		{"open array", jsonl, "[\n{\"a\":1},\n", 1, "not an array", true},
		{"element of an array", jsonl, "{\"a\":1},\n", 1, "not an array", true},
		{"indented document", jsonl, "{}\n{\n  \"a\": 1\n}\n", 2, "must not hold a newline", true},
		{"indented document, no indent", jsonl, "{\n\"a\": 1\n}\n", 1, "must not hold a newline", true},
		{"document broken behind a comma", jsonl, "{\"a\":1,\n \"b\":2}\n", 1, "must not hold a newline", true},
		{"document broken behind a colon", jsonl, "{\"a\":\n1}\n", 1, "must not hold a newline", true},
		{"torn behind a colon", jsonl, "{\"a\":\n{\"a\":1}\n", 1, "torn", false},
		{"member of a document", jsonl, "  \"a\": 1,\n", 1, "must not hold a newline", true},
		{"end of a document", jsonl, "}\n", 1, "must not hold a newline", true},
		{"two documents", jsonl, "{\"a\":1} {\"a\":2}\n", 1, "more is behind it", true},
		{"torn at the end", jsonl, "{}\n{\"a\":1,\"b\":\"x", 2, "torn", false},
		{"torn behind a comma", jsonl, "{\"a\":1,\n{\"a\":2}\n", 1, "torn", false},
		{"torn behind the bracket", jsonl, "{\n{\"a\":2}\n", 1, "torn", false},
		{"torn in a string", jsonl, "{\"a\":\"x,\n \n", 1, "torn", false},
		{"torn and joined", jsonl, "{\"a\":1,{\"a\":2}\n", 1, "torn", false},
		{"its tail", jsonl, ":1}\n", 1, "torn", false},
		{"scalar", jsonl, "{}\n12\n", 2, "must be one JSON object", false},
		{"text", jsonl, "starting up\n", 1, "torn", false},
		{"quote", csv, "a\nb\n1,\"x\ny\n", 3, "opened and never closed", false},
		{"document", multi, "{}\n\n {\n\n", 3, "never closed", false},
		{"malformed document", multi, "{}\n{\"a\" 1}", 2, "malformed", false},
		{"no document", multi, "{} x", 1, "must be a JSON object", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, in := range []io.Reader{strings.NewReader(tc.in), iotest.OneByteReader(strings.NewReader(tc.in))} {
				_, _, bad := all(t, in, tc.rule, false)
				if len(bad) == 0 {
					t.Fatal("nothing is wrong with it")
				}
				f := bad[0].Fault
				if bad[0].Line != tc.line || !strings.Contains(f.Rule, tc.want) || strings.Contains(f.Hint, multijson) != tc.hint {
					t.Errorf("line %d: %v, hint %q; want line %d, %q, hint %v", bad[0].Line, f.Rule, f.Hint, tc.line, tc.want, tc.hint)
				}
			}
		})
	}
}

func TestCheck(t *testing.T) {
	for _, tc := range []struct {
		name string
		rule Rule
		in   string
		want string // what is stored; or the error, behind "!"
	}{
		{"line", lines, "a\tb\r\n", "a\tb"},
		{"mark", lines, "\xef\xbb\xbfa", "a"},
		{"empty fields", lines, "\t\t", "\t\t"},
		{"blanks", lines, "  ", "  "},
		{"carriage returns are kept together", lines, "a\r\r", "a\r\r"},
		{"empty", lines, "", "!empty"},
		{"line end", lines, "\r\n", "!empty"},
		{"two lines", lines, "a\nb", "!must not hold a newline"},
		{"an empty line behind it", lines, "a\n\n", "!must not hold a newline"},
		{"quoted newline", csv, "1,\"a\nb\"\n", "1,\"a\nb\""},
		{"unclosed quote", csv, "1,\"abc", "!never closed"},
		{"unclosed quote with a newline", csv, "1,\"abc\n", "!never closed"},
		{"quote that is data", csv, "1,a\"bc", "1,a\"bc"},
		{"newline behind a quote that is data", csv, "1,a\"b\nc\"", "!must not hold a newline"},
		{"newline outside of quotes", csv, "1,\"a\"\nb", "!must not hold a newline"},
		{"object", jsonl, " {\"a\":1}\r\n", " {\"a\":1}"},
		{"blank json", jsonl, " \t", "!empty"},
		{"json array", jsonl, "[{}]", "!format multijson"},
		{"indented json", jsonl, "{\n\"a\":1\n}", "!format multijson"},
		{"two json lines", jsonl, "{}\n{}\n", "!pass one record a request"},
		{"torn json", jsonl, "{\"a\":", "!torn"},
		{"unchecked json", Rule{Cut: JSONLines, Unchecked: true}, "{\"a\":", "{\"a\":"},
		{"unchecked json with a newline", Rule{Cut: JSONLines, Unchecked: true}, "{\n}", "!must not hold a newline"},
		{"document", multi, " {\n\"a\":1}\n", "{\n\"a\":1}"},
		{"array document", multi, "[{},\n{}]", "[{},\n{}]"},
		{"empty array", multi, "[ ]", "!holds no record"},
		{"array of numbers", multi, "[{},1]", "!must be a JSON object"},
		{"two documents", multi, "{}{}", "!pass one record a request"},
		{"open document", multi, "{\"a\":{}", "!never closed"},
		{"closed too often", multi, "{}}", "!malformed"},
		{"scalar document", multi, "1", "!must be a JSON object"},
		{"unchecked document", Rule{Cut: Documents, Unchecked: true}, "1", "1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := tc.rule.Check([]byte(tc.in))
			if want, bad := strings.CutPrefix(tc.want, "!"); bad {
				f, ok := errors.AsType[*Fault](err)
				if !ok || !strings.Contains(f.Error(), want) {
					t.Errorf("%q, %v, want an error with %q", got, err, want)
				}
				return
			}
			if err != nil || string(got) != tc.want {
				t.Errorf("%q, %v, want %q", got, err, tc.want)
			}
		})
	}
}

func TestTooLong(t *testing.T) {
	for _, tc := range []struct {
		name, in string
		rule     Rule
		want     []string
		fatal    bool
	}{
		{"line", "ok\nabcdefghi\nx\n", lines, []string{"ok", "!"}, true},
		{"longest", "abcdefgh\r\nabcdefgh\n", lines, []string{"abcdefgh", "abcdefgh"}, false},
		{"line without an end", "ok\n" + strings.Repeat("y", 100), lines, []string{"ok", "!"}, true},
		{"quote that does not close", "\"a\nb\nc\nd\ne\nf\ng\nh\n", csv, []string{"!\"a", "b", "c", "d", "e", "f", "g", "h"}, false},
		{"document", "{\"a\":\"bcdefgh\"}", multi, []string{"!"}, true},
		{"spaces are free", "{}" + strings.Repeat(" ", 1000) + "{}", multi, []string{"{}", "{}"}, false},
	} {
		for _, in := range []io.Reader{strings.NewReader(tc.in), iotest.OneByteReader(strings.NewReader(tc.in))} {
			r := NewReader(in, tc.rule)
			r.c.Max = 8
			var got []string
			fatal := false
			for {
				p, err := r.Next()
				if err != nil {
					break
				}
				if p.Kind == Bad {
					got = append(got, "!"+string(p.Data))
				} else {
					got = append(got, string(p.Data))
				}
				if fatal = p.Fault != nil && p.Fault.Fatal; fatal {
					break
				}
			}
			if !reflect.DeepEqual(got, tc.want) || fatal != tc.fatal {
				t.Errorf("%s: %q, fatal %v, want %q, %v", tc.name, got, fatal, tc.want, tc.fatal)
			}
		}
	}
}

func TestLargestRecord(t *testing.T) {
	for _, ending := range []string{"", "\n", "\r\n"} {
		got, _, _ := all(t, strings.NewReader(strings.Repeat("x", MaxBytes)+ending), lines, false)
		if len(got) != 1 || len(got[0]) != MaxBytes {
			t.Errorf("ending %q: %d records", ending, len(got))
		}
	}
	if _, err := lines.Check(make([]byte, MaxBytes+1)); err == nil {
		t.Error("Check takes more")
	}
}

func TestReaderError(t *testing.T) {
	broken := errors.New("broken")
	r := NewReader(io.MultiReader(strings.NewReader("a\nb"), iotest.ErrReader(broken)), lines)
	if p, err := r.Next(); err != nil || string(p.Data) != "a" {
		t.Fatalf("%q, %v", p.Data, err)
	}
	for range 2 {
		if p, err := r.Next(); !errors.Is(err, broken) {
			t.Fatalf("%q, %v: the unfinished record was given out", p.Data, err)
		}
	}
}

// Ready does not read: what is unfinished is not ready.
func TestReaderReady(t *testing.T) {
	in, out := io.Pipe()
	defer in.Close()
	r := NewReader(in, lines)
	if r.Ready() {
		t.Error("ready before anything was read")
	}
	go func() { _, _ = out.Write([]byte("a\nb\nc")) }()
	for i, want := range []struct {
		rec   string
		ready bool
	}{{"a", true}, {"b", false}} {
		p, err := r.Next()
		if err != nil || string(p.Data) != want.rec || r.Ready() != want.ready {
			t.Errorf("%d: %q, %v, ready %v", i, p.Data, err, r.Ready())
		}
	}
}

func TestObject(t *testing.T) {
	nested := func(n int) string { return strings.Repeat(`{"a":`, n-1) + "{}" + strings.Repeat("}", n-1) }
	arrays := func(n int) string { return `{"a":` + strings.Repeat("[", n) + strings.Repeat("]", n) + "}" }
	for _, s := range []string{
		"{}", " {} ", `{"a":1}`, `{"a":-0.5e+10,"b":[1,2.0,0,-1],"c":{"d":null},"e":true,"f":false}`,
		`{ "a" : [ ] , "b" : { } }`, `{"\u00e9\"\\\/\b\f\n\r\t":"\uD83D\uDE00"}`, "{\"\u00e9\":\"\u00e9\u4e16\"}", `{"":""}`,
		nested(63), nested(64), nested(65), nested(130), nested(maxDepth), arrays(200),
		`{`, `}`, `{]`, `[]`, `[{}]`, `1`, `"a"`, `null`, ``, ` `, `{}{}`, `{} x`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{,}`, `{a:1}`,
		`{"a":01}`, `{"a":1.}`, `{"a":.5}`, `{"a":+1}`, `{"a":1e}`, `{"a":-}`, `{"a":tru}`, `{"a":truee}`, `{"a":nul`, `{"a":"\x"}`,
		`{"a":"\u12g4"}`, `{"a":"\u12`, "{\"a\":\"\n\"}", "{\"a\":\"\x00\"}", "{\"a\":\"\x1f\"}", "{\"a\":\"\x7f\"}", `{"a":"`, `{"a":"\`, `{"a":[1,]}`, `{"a":[1 2]}`,
		`{"a":[}`, `{"a":[1}`, `{"a":{"b":1]}`, "\u00a0{}", "{\v}", nested(maxDepth + 1), nested(64) + "}", arrays(64) + "]",
	} {
		if got, want := isObject([]byte(s)), json.Valid([]byte(s)) && strings.HasPrefix(strings.TrimSpace(s), "{"); got != want {
			t.Errorf("%.60q: %v, encoding/json says %v", s, got, want)
		}
	}
	// Every place of a byte in a word of eight.
	for i := range 24 {
		for c := range 256 {
			b := append([]byte(`{"k":"`), bytes.Repeat([]byte("x"), 24)...)
			b[6+i] = byte(c)
			b = append(b, `"}`...)
			if got, want := isObject(b), json.Valid(b); got != want {
				t.Errorf("%q: %v, encoding/json says %v", b, got, want)
			}
		}
	}
	if n := testing.AllocsPerRun(100, func() { isObject([]byte(`{"a":{"b":["c",1,2.5,true,{"d":"\u00e9"}]}}`)) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

package typed_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/internal/testutil/simspool"
	"kustospool/transport/direct"
	"kustospool/typed"
)

type uuid [16]byte // as of any library

func (u uuid) MarshalText() ([]byte, error) { panic("a guid is written by typed") }

type grade int

func (g grade) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "grade %d", int(g)), nil }

type point struct{ Lat, Lon float64 }

func (p *point) MarshalJSON() ([]byte, error) { return fmt.Appendf(nil, "[%g,%g]", p.Lat, p.Lon), nil }

type step uint8

func (s step) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "step %d", int(s)), nil }

type base struct {
	Boat string `kusto:"the boat"`
	none int
}

type nested struct {
	A int       `json:"a"`
	B []string  `json:"b,omitempty"`
	T time.Time `json:"t"`
}

// everything has a field of each type, and where a tag has a choice one of each.
type everything struct {
	base
	Bool       bool
	Int8       int8
	Int16      int16
	Int32      int32
	Uint8      uint8
	Uint16     uint16
	Small      int16 `kusto:",long"`
	Tiny       uint8 `kusto:",decimal"`
	Int        int
	Int64      int64
	Uint32     uint32
	Uint       uint
	Uint64     uint64
	Big        uint64 `kusto:"big-one,decimal"`
	Dec        int64  `kusto:",decimal"`
	Float32    float32
	Float64    float64
	String     string
	GUIDText   string `kusto:"guid.text,guid"`
	DecText    string `kusto:",decimal"`
	Time       time.Time
	Span       time.Duration
	Nanos      time.Duration `kusto:",long"`
	UUID       uuid
	Grade      grade
	Bytes      []byte
	BytesText  []byte `kusto:",string"`
	Raw        json.RawMessage
	Any        any
	Struct     nested
	Map        map[string]int
	Slice      []int
	Steps      []step
	Point      point
	PointPtr   *point
	PtrInt     *int
	PtrTime    *time.Time
	PtrSpan    *time.Duration
	PtrReal    *float64
	PtrBool    *bool
	PtrUUID    *uuid
	PtrString  *string
	PtrStruct  *nested
	Left       string `kusto:"-"`
	unexported int
}

func command(t *testing.T, sim *kustosim.Sim, text string) {
	t.Helper()
	body, _ := json.Marshal(map[string]string{"db": "D", "csl": text})
	resp, err := http.Post(sim.Endpoint()+"/v1/rest/mgmt", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if reply, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %s", text, resp.Status, reply)
	}
}

// arrive makes the table by the commands, ingests rows with and without the mapping,
// and returns what each of the two ways made of them.
func arrive[T any](t *testing.T, rows []T) [2][]map[string]json.RawMessage {
	t.Helper()
	sim := simspool.Start(t, &kustosim.Options{Databases: []string{"D"}})
	schema, err := typed.SchemaOf[T]()
	if err != nil {
		t.Fatal(err)
	}
	client, err := direct.NewClient(sim.Endpoint(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	spool := simspool.Open(t, t.TempDir(), client, &engine.Options{NoSocket: true})
	var out [2][]map[string]json.RawMessage
	for i, p := range []ingest.Properties{{Table: "By name"}, {Table: "By mapping", MappingReference: "it's \"m\""}} {
		p.Database, p.Format = "D", ingest.JSON
		create, err := schema.CreateTable(p.Table)
		if err != nil {
			t.Fatal(err)
		}
		command(t, sim, create)
		if p.MappingReference != "" {
			mapping, err := schema.CreateMapping(p.Table, p.MappingReference)
			if err != nil {
				t.Fatal(err)
			}
			command(t, sim, mapping)
		}
		columns, _ := sim.Columns("D", p.Table)
		if got, want := fmt.Sprint(columns), fmt.Sprint(schema.Columns()); got != want {
			t.Errorf("the table has\n%s, want\n%s", got, want)
		}
		under, err := spool.Table(p)
		if err != nil {
			t.Fatal(err)
		}
		table, err := typed.NewTable[T](under)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := table.Ingest(t.Context(), rows[0]); err != nil {
			t.Fatal(err)
		}
		if _, err := table.IngestAll(t.Context(), rows[1:]); err != nil {
			t.Fatal(err)
		}
		if err := spool.Drain(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, r := range sim.Rows("D", p.Table) {
			var row map[string]json.RawMessage
			if err := json.Unmarshal(r, &row); err != nil {
				t.Fatal(err)
			}
			out[i] = append(out[i], row)
		}
		if len(out[i]) != len(rows) {
			t.Fatalf("%s: %d rows of %d", p.Table, len(out[i]), len(rows))
		}
	}
	return out
}

func TestEveryTypeArrives(t *testing.T) {
	at := time.Date(2026, 11, 27, 1, 2, 3, 123456789, time.FixedZone("east", 7200))
	id := uuid{0x6b, 0xa7, 0xb8, 0x10, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8}
	span, n, f, yes, text := -(26*time.Hour + 1500*time.Millisecond), -7, 0.1, true, "x"
	rows := []everything{{
		base: base{Boat: "Kitti\"wake\\ \u2028é\n<&>"}, Bool: true, Int8: math.MinInt8, Int16: math.MaxInt16, Int32: math.MinInt32, Uint8: 255, Uint16: 65535, Small: -1, Tiny: 9,
		Int: math.MinInt32, Int64: math.MaxInt64, Uint32: math.MaxUint32, Uint: math.MaxUint32, Uint64: 1<<53 + 1, Big: math.MaxUint64, Dec: -5,
		Float32: 0.1, Float64: math.MaxFloat64, String: "", GUIDText: "6BA7B810-9dad-11d1-80b4-00c04fd430c8", DecText: "-1234567890123456.5",
		Time: at, Span: span, Nanos: span, UUID: id, Grade: 3, Bytes: []byte{0, 255}, BytesText: []byte("hi"), Raw: json.RawMessage(`{ "x" : [1, null] }`),
		Any: []any{"a", 1, nil}, Struct: nested{A: 1, B: []string{"q"}, T: at.UTC()}, Map: map[string]int{"k": 1}, Slice: []int{1, 2}, Steps: []step{1, 2}, Point: point{1, 2},
		PointPtr: &point{3, 4}, PtrInt: &n, PtrTime: &at, PtrSpan: &span, PtrReal: &f, PtrBool: &yes, PtrUUID: &id, PtrString: &text, PtrStruct: &nested{},
	}, {GUIDText: "00000000-0000-0000-0000-000000000000", DecText: "0"}}
	full := map[string]string{
		"the boat": `"Kitti\"wake\\ \u2028é\n<&>"`, "Bool": `true`, "Int8": `-128`, "Int16": `32767`, "Int32": `-2147483648`, "Uint8": `255`, "Uint16": `65535`, "Small": `-1`, "Tiny": `"9"`,
		"Int": `-2147483648`, "Int64": `9223372036854775807`, "Uint32": `4294967295`, "Uint": `4294967295`, "Uint64": `9007199254740993`, "big-one": `"18446744073709551615"`, "Dec": `"-5"`,
		"Float32": `0.1`, "Float64": `1.7976931348623157e+308`, "String": `""`, "guid.text": `"6ba7b810-9dad-11d1-80b4-00c04fd430c8"`, "DecText": `"-1234567890123456.5"`,
		"Time": `"2026-11-26T23:02:03.1234567Z"`, "Span": `"-1.02:00:01.5000000"`, "Nanos": `-93601500000000`, "UUID": `"6ba7b810-9dad-11d1-80b4-00c04fd430c8"`, "Grade": `"grade 3"`,
		"Bytes": `"AP8="`, "BytesText": `"aGk="`, "Raw": `{"x":[1,null]}`, "Any": `["a",1,null]`, "Struct": `{"a":1,"b":["q"],"t":"2026-11-26T23:02:03.123456789Z"}`, "Map": `{"k":1}`, "Slice": `[1,2]`, "Steps": `["step 1","step 2"]`,
		"Point": `[1,2]`, "PointPtr": `[3,4]`, "PtrInt": `-7`, "PtrTime": `"2026-11-26T23:02:03.1234567Z"`, "PtrSpan": `"-1.02:00:01.5000000"`, "PtrReal": `0.1`, "PtrBool": `true`,
		"PtrUUID": `"6ba7b810-9dad-11d1-80b4-00c04fd430c8"`, "PtrString": `"x"`, "PtrStruct": `{"a":0,"t":"0001-01-01T00:00:00Z"}`,
	}
	zero := map[string]string{
		"the boat": `""`, "Bool": `false`, "Int": `0`, "Float64": `0`, "Time": `"0001-01-01T00:00:00Z"`, "Span": `"00:00:00"`, "UUID": `"00000000-0000-0000-0000-000000000000"`,
		"Bytes": `null`, "Raw": `null`, "Any": `null`, "Map": `null`, "Slice": `null`, "PointPtr": `null`, "PtrInt": `null`, "PtrTime": `null`, "PtrSpan": `null`, "PtrReal": `null`,
		"PtrBool": `null`, "PtrUUID": `null`, "PtrString": `""`, "PtrStruct": `null`, // a string has no null
	}
	for i, got := range arrive(t, rows) {
		if len(got[0]) != len(full) {
			t.Errorf("%d columns, want %d", len(got[0]), len(full))
		}
		for r, want := range []map[string]string{full, zero} {
			for column, value := range want {
				if g := got[r][column]; !same(g, value) {
					t.Errorf("way %d, row %d: %s is %s, want %s", i, r, column, g, value)
				}
			}
		}
	}
}

// same compares JSON of strings by value, for they have many spellings.
func same(a json.RawMessage, b string) bool {
	var s, u string
	if json.Unmarshal(a, &s) == nil && json.Unmarshal([]byte(b), &u) == nil && len(b) > 0 && b[0] == '"' {
		return s == u
	}
	return string(a) == b
}

type random struct {
	N int64
	F float64
	T time.Time
	D time.Duration
	S string
}

// Random values are read back by other code than wrote them.
func TestRandomValuesArrive(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	rows := make([]random, 500)
	for i := range rows {
		shift := r.IntN(64)
		rows[i] = random{N: int64(r.Uint64()) >> shift, F: r.NormFloat64() * math.Pow(10, float64(r.IntN(600)-300)),
			T: time.Unix(r.Int64N(253402300800+62135596800)-62135596800, r.Int64N(1e9)), D: time.Duration(int64(r.Uint64()) >> shift), S: string([]rune{rune(r.IntN(0xd800)), rune(0xe000 + r.IntN(0x10ffff-0xe000))})}
	}
	for _, got := range arrive(t, rows) {
		for i, want := range rows {
			var row struct {
				N    int64
				F    float64
				T    time.Time
				D, S string
			}
			text, _ := json.Marshal(got[i])
			if err := json.Unmarshal(text, &row); err != nil {
				t.Fatal(err)
			}
			if row.N != want.N || row.F != want.F || !row.T.Equal(want.T.Truncate(100)) || duration(t, row.D) != want.D/100*100 || row.S != want.S {
				t.Fatalf("row %d: %s, want %+v", i, text, want)
			}
		}
	}
}

// duration reads [-][d.]hh:mm:ss[.fffffff].
func duration(t *testing.T, s string) (d time.Duration) {
	t.Helper()
	rest, negative := strings.CutPrefix(s, "-")
	clock, fraction := rest, ""
	var days, h, m, sec int64
	parts := strings.Split(rest, ".")
	if strings.Contains(parts[0], ":") { // no days
		clock, fraction = parts[0], strings.Join(parts[1:], "")
	} else {
		fmt.Sscan(parts[0], &days)
		clock, fraction = parts[1], strings.Join(parts[2:], "")
	}
	if n, err := fmt.Sscanf(clock, "%d:%d:%d", &h, &m, &sec); n != 3 {
		t.Fatalf("%q: %v", s, err)
	}
	var ticks int64
	if fraction != "" {
		fmt.Sscanf(fraction, "%d", &ticks)
	}
	d = time.Duration(-((days*24+h)*3600+m*60+sec)*1e9 - ticks*100) // negative: the least has no positive
	if !negative {
		d = -d
	}
	return d
}

func bad[T any]() error { _, err := typed.SchemaOf[T](); return err }

// invalid checks that an error names field, value and rule.
func invalid(t *testing.T, err error, field string, words ...string) {
	t.Helper()
	var fe *ingest.FieldError
	if !errors.As(err, &fe) || !errors.Is(err, ingest.ErrInvalid) || fe.Field != field || fe.Rule == "" {
		t.Errorf("%q: %v", field, err)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q: %v, want %q", field, err, w)
		}
	}
}

func TestBadSchemas(t *testing.T) {
	type t1 struct{ C chan int }
	type t2 struct {
		A int `kusto:"x"`
		B int `kusto:"x"`
	}
	type t3 struct {
		A int `kusto:"a,string"`
	}
	type t4 struct {
		A int `kusto:"it's"`
	}
	type t5 struct {
		a int `kusto:"a"`
	}
	type t6 struct {
		A []struct{ F func() }
	}
	type t7 struct{ M map[point]int }
	type t8 struct {
		A time.Time `kusto:"a,datetime,x"`
	}
	type t9 struct{ A complex64 }
	type t10 struct{ *base }
	type stamp time.Time // without the methods
	type t11 struct{ A stamp }
	type t12 struct{ A []struct{ a, b int } }
	type t13 struct{ A error }
	type clock struct{ time.Time }
	type t14 struct {
		clock // the time would be left out
		B     int
	}
	type loop *loop
	type t15 struct{ A loop }
	invalid(t, bad[int](), "T", "int", "struct")
	invalid(t, bad[time.Time](), "T")
	invalid(t, bad[struct{}](), "", "0 columns")
	invalid(t, bad[t1](), "t1.C", "chan int")
	invalid(t, bad[t2](), "t2.B", `"x"`, "t2.A")
	invalid(t, bad[t3](), "t3.A", "int as string", "long or decimal")
	invalid(t, bad[t4](), "t4.A, column", "it's")
	invalid(t, bad[t5](), "t5.a", "exported")
	invalid(t, bad[t6](), "t6.A", "func()")
	invalid(t, bad[t7](), "t7.M", "map")
	invalid(t, bad[t8](), "t8.A", "datetime,x")
	invalid(t, bad[t9](), "t9.A", "complex64")
	invalid(t, bad[t10](), "t10.base", "*typed_test.base", "tag")
	invalid(t, bad[t11](), "t11.A", "stamp")
	invalid(t, bad[t12](), "t12.A", "struct")
	invalid(t, bad[t13](), "t13.A", "error")
	invalid(t, bad[t14](), "t14.clock", "exported")
	invalid(t, bad[t15](), "t15.A", "loop")
	_, _, _ = t5{}.a, base{}.none, everything{}.unexported
	schema, err := typed.SchemaOf[random]()
	if err != nil {
		t.Fatal(err)
	}
	_, err = schema.CreateTable("a|b")
	invalid(t, err, "table", "a|b")
	_, err = schema.CreateMapping("T", "m\n")
	invalid(t, err, "mapping")
}

type panicking struct{}

func (panicking) MarshalJSON() ([]byte, error) { panic("no") }

type tree struct{ Kids []tree } // a type of itself ends

type garbled struct{}

func (garbled) MarshalJSON() ([]byte, error) { return []byte("\"\xff\""), nil }

type wordy struct{}

func (wordy) MarshalText() ([]byte, error) { return nil, errors.New(strings.Repeat("x", 1<<20)) }

func TestBadValues(t *testing.T) {
	type row struct {
		U uint64
		F float64
		S string
		G string `kusto:",guid"`
		D string `kusto:",decimal"`
		T time.Time
		B []byte
		A any
		P *panicking
		K tree
		E *garbled
		W *wordy
	}
	schema, err := typed.SchemaOf[row]()
	if err != nil || schema.Columns()[9] != (typed.Column{Name: "K", Type: "dynamic"}) {
		t.Fatal(err)
	}
	sim := simspool.Start(t, nil)
	client, err := direct.NewClient(sim.Endpoint(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	spool := simspool.Open(t, t.TempDir(), client, nil)
	under, err := spool.Table(ingest.Properties{Database: "D", Table: "T", Format: ingest.JSON})
	if err != nil {
		t.Fatal(err)
	}
	table, err := typed.NewTable[row](under)
	if err != nil {
		t.Fatal(err)
	}
	good := row{G: "6ba7b810-9dad-11d1-80b4-00c04fd430c8", D: "1.5"}
	for _, c := range []struct {
		field, word string
		change      func(*row)
	}{
		{"row.U", "9223372036854775808", func(r *row) { r.U = 1 << 63 }},
		{"row.F", "NaN", func(r *row) { r.F = math.NaN() }},
		{"row.F", "-Inf", func(r *row) { r.F = math.Inf(-1) }},
		{"row.S", "UTF-8", func(r *row) { r.S = "\xff" }},
		{"row.S", "1048576", func(r *row) { r.S = strings.Repeat("x", typed.MaxValueBytes+1) }},
		{"row.G", "GUID", func(r *row) { r.G = "no" }},
		{"row.D", "1e5", func(r *row) { r.D = "1e5" }},
		{"row.D", "34", func(r *row) { r.D = strings.Repeat("9", 35) }},
		{"row.T", "10000", func(r *row) { r.T = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) }},
		{"row.B", "base64", func(r *row) { r.B = make([]byte, typed.MaxValueBytes) }},
		{"row.A", "chan", func(r *row) { r.A = make(chan int) }},
		{"row.A", "bytes of JSON", func(r *row) { r.A = strings.Repeat("x", typed.MaxValueBytes) }},
		{"row.E", "UTF-8", func(r *row) { r.E = &garbled{} }},
		{"row.W", "xxx", func(r *row) { r.W = &wordy{} }},
		{"row.P", "panicked", func(r *row) { r.P = &panicking{} }},
	} {
		r := good
		c.change(&r)
		_, err := table.Ingest(t.Context(), r)
		if err == nil {
			t.Errorf("%s: taken, want %q", c.field, c.word)
			continue
		}
		invalid(t, err, c.field, c.word)
		if len(err.Error()) > 400 {
			t.Errorf("an error of %d bytes", len(err.Error()))
		}
		_, err = table.IngestAll(t.Context(), []row{good, r})
		invalid(t, err, c.field, "row 1")
	}
	if n := spool.Stats().Acked; n != 0 {
		t.Errorf("%d records were stored", n)
	}
}

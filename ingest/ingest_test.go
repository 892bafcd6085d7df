package ingest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"kustospool/ingest"
)

func TestIDTextIsFixedWidthSortableAndReversible(t *testing.T) {
	spool := ingest.SpoolID{1, 2, 3, 4, 5, 6, 7, 255}
	var ids []ingest.ID
	for _, lane := range []uint32{1, 2, 300, 1 << 31} {
		for _, seq := range []uint64{1, 2, 255, 256, 1 << 40, 1<<64 - 1} {
			ids = append(ids, ingest.NewID(spool, lane, seq))
		}
	}
	for i, id := range ids {
		s := id.String()
		if len(s) != ingest.IDTextLen {
			t.Fatalf("%q has %d characters", s, len(s))
		}
		back, err := ingest.ParseID(s)
		if err != nil || back != id {
			t.Fatalf("ParseID(%q) = %v, %v", s, back, err)
		}
		if i > 0 && ids[i-1].String() >= s {
			t.Fatalf("%s does not sort after %s", s, ids[i-1])
		}
	}
	if id := ids[3]; id.Spool() != spool || id.Lane() != 1 || id.Seq() != 256 {
		t.Fatalf("parts of %s: %v %d %d", id, id.Spool(), id.Lane(), id.Seq())
	}
}

func FuzzParseID(f *testing.F) {
	f.Add(ingest.NewID(ingest.SpoolID{9}, 3, 7).String())
	f.Add(strings.Repeat("\n", ingest.IDTextLen))
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ingest.ParseID(s)
		if err == nil && id.String() != s {
			t.Fatalf("ParseID(%q) = %s", s, id)
		}
		if err != nil && !errors.Is(err, ingest.ErrInvalid) {
			t.Fatalf("ParseID(%q): %v does not match ErrInvalid", s, err)
		}
	})
}

func TestBatchIDIsAUUIDOfTheRange(t *testing.T) {
	spool := ingest.SpoolID{1}
	id := ingest.NewBatchID(spool, 2, 3, 10)
	if id != ingest.NewBatchID(spool, 2, 3, 10) {
		t.Fatal("the same range has two ids")
	}
	for _, other := range []ingest.BatchID{
		ingest.NewBatchID(ingest.SpoolID{2}, 2, 3, 10), ingest.NewBatchID(spool, 1, 3, 10),
		ingest.NewBatchID(spool, 2, 4, 10), ingest.NewBatchID(spool, 2, 3, 9),
	} {
		if other == id {
			t.Fatal("two ranges have one id")
		}
	}
	s := id.String()
	if s[14] != '8' || !strings.ContainsRune("89ab", rune(s[19])) {
		t.Fatalf("%s is not a version 8 UUID", s)
	}
	if back, err := ingest.ParseBatchID(s); err != nil || back != id {
		t.Fatalf("ParseBatchID(%s) = %v, %v", s, back, err)
	}
	for _, bad := range []string{"", "x", s[:35], s + "0", strings.Replace(s, "-", "0", 1), strings.Repeat("g", 36)} {
		if _, err := ingest.ParseBatchID(bad); !errors.Is(err, ingest.ErrInvalid) {
			t.Errorf("ParseBatchID(%q): %v", bad, err)
		}
	}
}

// The table is written out again by hand: a move that is added to or taken
// from the code must be meant.
func TestStateTransitions(t *testing.T) {
	legal := map[ingest.State]string{
		ingest.Open:     "sealed",
		ingest.Sealed:   "sending dead-lettered dropped",
		ingest.Sending:  "sealed unknown accepted succeeded skipped handed-over split dead-lettered",
		ingest.Unknown:  "sealed accepted succeeded skipped handed-over",
		ingest.Accepted: "sealed succeeded skipped split dead-lettered",
	}
	for _, from := range ingest.States() {
		want := strings.Fields(legal[from])
		for _, to := range ingest.States() {
			if got := from.CanBecome(to); got != slices.Contains(want, to.String()) {
				t.Errorf("%s -> %s: %v", from, to, got)
			}
		}
		if from.Final() != (len(want) == 0) {
			t.Errorf("%s.Final() = %v", from, from.Final())
		}
		var back ingest.State
		if err := back.UnmarshalText([]byte(from.String())); err != nil || back != from {
			t.Errorf("%q is read as %v, %v", from, back, err)
		}
	}
	if ingest.State(0).Final() || ingest.State(0).Valid() || ingest.State(99).CanBecome(ingest.Sealed) {
		t.Error("a value that is no state behaves as one")
	}
}

func valid() ingest.Properties {
	return ingest.Properties{Database: "Demo", Table: "Telemetry", Format: ingest.JSON}
}

func TestPropertiesRules(t *testing.T) {
	cases := []struct {
		name  string
		spoil func(*ingest.Properties)
		want  string // in the error; "" when valid
	}{
		{"plain", func(p *ingest.Properties) {}, ""},
		{"unicode names", func(p *ingest.Properties) { p.Database, p.Table = "Datenbank Ä", "表-1 x" }, ""},
		{"empty database", func(p *ingest.Properties) { p.Database = "" }, `database "": must not be empty`},
		{"empty table", func(p *ingest.Properties) { p.Table = "" }, `table "": must not be empty`},
		{"database not UTF-8", func(p *ingest.Properties) { p.Database = "a\xff" }, `database "a\xff": must be valid UTF-8`},
		{"table not UTF-8", func(p *ingest.Properties) { p.Table = "\xc3(" }, "must be valid UTF-8"},
		{"table with control", func(p *ingest.Properties) { p.Table = "a\x00b" }, "control characters"},
		{"table with spaces around", func(p *ingest.Properties) { p.Table = " a" }, "white space"},
		{"long table", func(p *ingest.Properties) { p.Table = strings.Repeat("x", 1025) }, "at most 1024 bytes"},
		{"no format", func(p *ingest.Properties) { p.Format = "" }, "format"},
		{"unknown format", func(p *ingest.Properties) { p.Format = "jsn" }, `format "jsn": must be one of`},
		{"event hub format", func(p *ingest.Properties) { p.Format = ingest.AzMonStream }, "Event Hubs only"},
		{"mapping", func(p *ingest.Properties) { p.Mapping = `[{"column":"a","Properties":{"Path":"$.a"}}]` }, ""},
		{"mapping not JSON", func(p *ingest.Properties) { p.Mapping = `[{]` }, "must be a JSON array"},
		{"mapping of no columns", func(p *ingest.Properties) { p.Mapping = `[]` }, "must be a JSON array"},
		{"mapping and reference", func(p *ingest.Properties) { p.Mapping, p.MappingReference = `[{}]`, "M" }, `cannot be given together with mapping reference "M"`},
		{"huge mapping", func(p *ingest.Properties) { p.Mapping = `["` + strings.Repeat("x", 40<<10) + `"]` }, "at most 32768 bytes"},
		{"tags", func(p *ingest.Properties) { p.Tags = []string{"drop-by:x", "free"} }, ""},
		{"empty tag", func(p *ingest.Properties) { p.Tags = []string{""} }, "tags"},
		{"too many tags", func(p *ingest.Properties) { p.Tags = make([]string, 65) }, "at most 64 entries"},
		{"prefixed ifNotExists", func(p *ingest.Properties) { p.IngestIfNotExists = []string{"ingest-by:x"} }, "without the prefix"},
		{"creation time", func(p *ingest.Properties) { p.CreationTime = time.Unix(1e9, 0) }, ""},
		{"creation time of the year 12000", func(p *ingest.Properties) { p.CreationTime = time.Date(12000, 1, 1, 0, 0, 0, 0, time.UTC) }, "between the years"},
		{"validation of json", func(p *ingest.Properties) { p.Validation = &ingest.ValidationPolicy{} }, "csv only"},
		{"validation option", func(p *ingest.Properties) {
			p.Format, p.Validation = ingest.CSV, &ingest.ValidationPolicy{Options: 7}
		}, "options must be"},
		{"both schema changes", func(p *ingest.Properties) { p.ExtendSchema, p.RecreateSchema = true, true }, "together"},
		{"folder", func(p *ingest.Properties) { p.Folder = "a\nb" }, "folder"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := valid()
			c.spoil(&p)
			err := p.Validate()
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil || !errors.Is(err, ingest.ErrInvalid) || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want an ErrInvalid with %q", err, c.want)
			}
		})
	}
	bad := ingest.Properties{Format: "nope"}
	for _, part := range []string{"database", "table", "format"} {
		if err := bad.Validate(); !strings.Contains(err.Error(), part) {
			t.Errorf("violations are not reported together: %v", err)
		}
	}
}

func TestPropertiesKey(t *testing.T) {
	a, b := valid(), valid()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	a.CreationTime, b.CreationTime = at, at.In(time.FixedZone("x", 3600))
	if a.Key() != b.Key() {
		t.Error("the same instant in two zones is two lanes")
	}
	yes := true
	changes := []func(*ingest.Properties){
		func(p *ingest.Properties) { p.Database = "x" }, func(p *ingest.Properties) { p.Table = "x" },
		func(p *ingest.Properties) { p.Format = ingest.CSV }, func(p *ingest.Properties) { p.Mapping = "[{}]" },
		func(p *ingest.Properties) { p.MappingReference = "x" }, func(p *ingest.Properties) { p.Tags = []string{"x"} },
		func(p *ingest.Properties) { p.IngestIfNotExists = []string{"x"} }, func(p *ingest.Properties) { p.CreationTime = at },
		func(p *ingest.Properties) { p.Validation = &ingest.ValidationPolicy{} }, func(p *ingest.Properties) { p.IgnoreFirstRecord = true },
		func(p *ingest.Properties) { p.IgnoreLastRecordIfInvalid = true }, func(p *ingest.Properties) { p.ZipPattern = "x" },
		func(p *ingest.Properties) { p.TreatGzAsUncompressed = true }, func(p *ingest.Properties) { p.ExtendSchema = true },
		func(p *ingest.Properties) { p.RecreateSchema = true }, func(p *ingest.Properties) { p.IngestionTimePolicy = &yes },
		func(p *ingest.Properties) { p.Folder = "x" }, func(p *ingest.Properties) { p.FlushImmediately = true },
		func(p *ingest.Properties) { p.IgnoreSizeLimit = true }, func(p *ingest.Properties) { p.DeleteBlobOnSuccess = true },
	}
	seen := map[string]bool{}
	for i, change := range changes {
		p := valid()
		change(&p)
		key := p.Key()
		if seen[key] || key == func() string { v := valid(); return v.Key() }() {
			t.Errorf("change %d does not change the key", i)
		}
		seen[key] = true
		var back ingest.Properties
		if err := json.Unmarshal([]byte(key), &back); err != nil || back.Key() != key {
			t.Errorf("change %d does not survive the text form: %v", i, err)
		}
	}
}

func TestRecordRules(t *testing.T) {
	big := bytes.Repeat([]byte("x"), ingest.MaxRecordBytes+1)
	cases := []struct {
		format ingest.Format
		in     string
		want   string
		err    string
	}{
		{ingest.JSON, `{"a":1}`, `{"a":1}`, ""},
		{ingest.JSON, "{\"a\":1}\n", `{"a":1}`, ""},
		{ingest.JSON, "{\"a\":1}\r\n", `{"a":1}`, ""},
		{ingest.JSON, "", "", "empty"},
		{ingest.JSON, "\n", "", "empty"},
		{ingest.JSON, "  \n", "", "empty"},
		{ingest.JSON, "{\n}", "", "must not hold a newline"},
		{ingest.JSON, "{}\n{}\n", "", "must not hold a newline"},
		{ingest.TSV, "a\tb\nc", "", "must not hold a newline"},
		{ingest.TXT, " ", " ", ""},
		{ingest.CSV, "1,\"two\nlines\",3\n", "1,\"two\nlines\",3", ""},
		{ingest.CSV, "1,\"say \"\"hi\"\"\nthere\"", "1,\"say \"\"hi\"\"\nthere\"", ""},
		{ingest.CSV, "1\n2", "", "must not hold a newline"},
		{ingest.CSV, "\"a\"\n\"b\"", "", "must not hold a newline"},
		{ingest.MultiJSON, " {\n\"a\": 1\n}\n", "{\n\"a\": 1\n}", ""},
		{ingest.MultiJSON, " \n", "", "empty"},
		{ingest.Parquet, "PAR1\n\nPAR1\n", "PAR1\n\nPAR1\n", ""},
		{ingest.Parquet, "", "", "empty"},
		{ingest.JSON, string(big), "", "at most 67108864 bytes"},
		{ingest.Parquet, string(big), "", "at most 67108864 bytes"},
	}
	for _, c := range cases {
		p := valid()
		p.Format = c.format
		got, err := p.Record([]byte(c.in))
		name := c.in[:min(len(c.in), 20)]
		if c.err != "" {
			if !errors.Is(err, ingest.ErrInvalid) || !strings.Contains(err.Error(), c.err) || len(err.Error()) > 600 {
				t.Errorf("%s %q: got %v, want %q", c.format, name, err, c.err)
			}
			continue
		}
		if err != nil || string(got) != c.want {
			t.Errorf("%s %q: got %q, %v", c.format, name, got, err)
		}
	}
	headed := valid()
	headed.Format, headed.IgnoreFirstRecord = ingest.CSV, true
	if _, err := headed.Record([]byte("h\n1\n2\n")); err != nil || headed.Concatenates() {
		t.Errorf("a csv object with a header is one object: %v", err)
	}
}

func TestFormats(t *testing.T) {
	for _, f := range ingest.Formats() {
		if got, err := ingest.ParseFormat(strings.ToUpper(string(f))); err != nil || got != f {
			t.Errorf("ParseFormat(%q) = %v, %v", f, got, err)
		}
		if f.Extension() == "" || f.MappingKind() == "" {
			t.Errorf("%s has no extension or mapping kind", f)
		}
	}
	uncompressed := []ingest.Format{ingest.Avro, ingest.ApacheAvro, ingest.Parquet, ingest.ORC, ingest.SStream}
	for _, f := range ingest.Formats() {
		if f.Compressible() == slices.Contains(uncompressed, f) {
			t.Errorf("%s: Compressible = %v", f, f.Compressible())
		}
	}
	for name, want := range map[string]ingest.Format{
		"a.csv": ingest.CSV, "b/C.JSON.gz": ingest.JSON, "x.jsonl": ingest.JSON, "x.ndjson.gz": ingest.JSON,
		"p.parquet": ingest.Parquet, "a.log": ingest.W3CLogFile, "t.tsv.zip": ingest.TSV,
	} {
		if got, ok := ingest.FormatOf(name); !ok || got != want {
			t.Errorf("FormatOf(%q) = %v, %v", name, got, ok)
		}
	}
	for _, name := range []string{"", "noext", "a.exe", ".gz"} {
		if got, ok := ingest.FormatOf(name); ok {
			t.Errorf("FormatOf(%q) = %v", name, got)
		}
	}
}

func TestStatusErr(t *testing.T) {
	why := &ingest.Failure{Class: "permanent", Code: "X", Message: "no"}
	for _, s := range ingest.States() {
		err := ingest.Status{State: s, Failure: why}.Err()
		if bad := s == ingest.DeadLettered || s == ingest.Dropped; bad != (err != nil) {
			t.Errorf("%s: %v", s, err)
		}
	}
}

func FuzzRecord(f *testing.F) {
	f.Add("csv", []byte("a,\"b\n\"\n"))
	f.Add("json", []byte("{}\n"))
	f.Fuzz(func(t *testing.T, format string, data []byte) {
		p := valid()
		p.Format = ingest.Format(format)
		if p.Validate() != nil {
			return
		}
		rec, err := p.Record(data)
		if err != nil {
			return
		}
		if len(rec) == 0 || !bytes.Contains(data, rec) {
			t.Fatalf("%q became %q", data, rec)
		}
		if p.Concatenates() && p.Format != ingest.MultiJSON && p.Format != ingest.CSV && p.Format != ingest.SCSV && bytes.ContainsRune(rec, '\n') {
			t.Fatalf("a line holds a newline: %q", rec)
		}
	})
}

func TestReceipt_Text(t *testing.T) {
	id := ingest.NewID(ingest.SpoolID{1, 2}, 3, 4)
	for _, r := range []ingest.Receipt{{ID: id, Records: 1}, {ID: id, Records: 2}, {ID: id, Records: 1 << 40}} {
		if got, err := ingest.ParseReceipt(r.String()); err != nil || got != r {
			t.Errorf("%+v from %q, %v", got, r, err)
		}
	}
	for _, text := range []string{"", "+", "+2", id.String() + "+", id.String() + "+1", id.String() + "+02", id.String() + "+-2", id.String() + "+2+2",
		ingest.NewID(ingest.SpoolID{}, 1, 1<<64-1).String() + "+2"} {
		if r, err := ingest.ParseReceipt(text); !errors.Is(err, ingest.ErrInvalid) {
			t.Errorf("%q is taken for %+v, %v", text, r, err)
		}
	}
}

func TestTally(t *testing.T) {
	for _, c := range []struct {
		states map[ingest.State]int64
		final  bool
		in     int64
		err    bool
	}{
		{nil, true, 0, false},
		{map[ingest.State]int64{ingest.Succeeded: 2, ingest.Skipped: 3}, true, 5, false},
		{map[ingest.State]int64{ingest.Succeeded: 2, ingest.Open: 1}, false, 2, false},
		{map[ingest.State]int64{ingest.Accepted: 2, ingest.DeadLettered: 1}, false, 0, true},
		{map[ingest.State]int64{ingest.HandedOver: 2, ingest.Dropped: 1}, true, 0, true},
	} {
		tally := ingest.Tally{States: c.states}
		if tally.Final() != c.final || tally.Ingested() != c.in || (tally.Err() != nil) != c.err {
			t.Errorf("%v: final %v, %d ingested, %v", c.states, tally.Final(), tally.Ingested(), tally.Err())
		}
	}
}

// Properties that no queue message can hold are refused: a message has 64 KiB
// of base64, 48 KiB before it, and a signature, a token and two addresses beside them.
func TestPropertiesFitAMessage(t *testing.T) {
	mapping := func(columns int) string {
		return "[" + strings.TrimSuffix(strings.Repeat(`{"column":"c","Properties":{"Path":"$.c"}},`, columns), ",") + "]"
	}
	tags := func(n int, tag string) []string { return slices.Repeat([]string{tag}, n) }
	for _, tc := range []struct {
		name string
		p    ingest.Properties
		ok   bool
	}{
		{"plain", ingest.Properties{}, true},
		{"a long mapping", ingest.Properties{Mapping: mapping(600)}, true},
		{"a mapping whose quotes are too many", ingest.Properties{Mapping: mapping(740)}, false},
		{"tags", ingest.Properties{Tags: tags(34, strings.Repeat("t", 1000))}, true},
		{"too many tags", ingest.Properties{Tags: tags(37, strings.Repeat("t", 1000))}, false},
		{"tags with quotes", ingest.Properties{Tags: tags(10, strings.Repeat(`"`, 1000))}, false},
		{"conditions", ingest.Properties{IngestIfNotExists: tags(40, strings.Repeat("t", 1000))}, false},
		{"both", ingest.Properties{Mapping: mapping(400), Tags: tags(20, strings.Repeat("t", 1000))}, false},
	} {
		tc.p.Database, tc.p.Table, tc.p.Format = "D", "T", ingest.JSON
		err := tc.p.Validate()
		if (err == nil) != tc.ok || err != nil && !strings.Contains(err.Error(), "no queue message can hold them") {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

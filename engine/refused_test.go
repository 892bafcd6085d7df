package engine_test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/store"
	"kustospool/transport"
	"kustospool/transport/dir"
	"kustospool/transport/transporttest"
)

// deadLetters are the payloads and reasons of a spool's dead letters.
func deadLetters(t testing.TB, dir string) map[string]string {
	t.Helper()
	found := make(map[string]string)
	payloads, err := filepath.Glob(filepath.Join(dir, "dead", "*.data.*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range payloads {
		payload, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name, _, _ := strings.Cut(filepath.Base(path), ".")
		text, err := os.ReadFile(filepath.Join(dir, "dead", name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		var doc struct{ Failure ingest.Failure }
		if err := json.Unmarshal(text, &doc); err != nil {
			t.Fatal(err)
		}
		found[string(payload)] += doc.Failure.Message
	}
	return found
}

// sourcesOf are a text as each kind of source; place is what names it.
func sourcesOf(t testing.TB, text string) map[string]struct {
	place string
	take  func(*engine.Table) (ingest.Receipt, error)
} {
	t.Helper()
	dir := t.TempDir()
	file, archive := filepath.Join(dir, "a.json"), filepath.Join(dir, "a.zip")
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	w, err := z.Create("sub/m.json")
	if err == nil {
		_, err = io.WriteString(w, text)
	}
	if err := errors.Join(err, z.Close(), os.WriteFile(file, []byte(text), 0o600), os.WriteFile(archive, b.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
	type source = struct {
		place string
		take  func(*engine.Table) (ingest.Receipt, error)
	}
	return map[string]source{
		"reader": {"line ", func(tab *engine.Table) (ingest.Receipt, error) {
			return tab.IngestReader(t.Context(), strings.NewReader(text))
		}},
		"file":    {file + ":", func(tab *engine.Table) (ingest.Receipt, error) { return tab.IngestFile(t.Context(), file) }},
		"archive": {archive + "/sub/m.json:", func(tab *engine.Table) (ingest.Receipt, error) { return tab.IngestFile(t.Context(), archive) }},
		"writer": {"line ", func(tab *engine.Table) (ingest.Receipt, error) {
			w := tab.Writer(t.Context())
			_, err := io.WriteString(w, text)
			err = errors.Join(err, w.Close())
			c := w.Counts()
			return ingest.Receipt{Records: c.Good, Bad: c.Bad, Blank: c.Blank}, err
		}},
	}
}

func TestBadRecordsOfASource(t *testing.T) {
	small := row(1) + "\n" + `{"torn":` + "\n\n" + row(2) + "\n" + `[1]` + "\n" + row(3)
	var large strings.Builder // stored as objects
	var want []string
	for i, rec := range wideRows(9000) {
		if i == 7000 {
			large.WriteString("{\"torn\":\n")
		}
		large.WriteString(rec + "\n")
		want = append(want, rec)
	}
	large.WriteString("[1]")
	for name, tc := range map[string]struct {
		text  string
		good  []string
		lines [2]string
		blank int64
	}{
		"small": {small, []string{row(1), row(2), row(3)}, [2]string{"2", "5"}, 1},
		"large": {large.String(), want, [2]string{"7001", "9002"}, 0},
	} {
		for way, source := range sourcesOf(t, tc.text) {
			for _, policy := range []engine.BadRecordPolicy{0, engine.SkipBadRecords, engine.DeadLetterBadRecords} {
				t.Run(name+" "+way+" "+policy.String(), func(t *testing.T) {
					fake, dir := transporttest.NewFake(), t.TempDir()
					o := soon()
					o.OnBadRecord = policy
					s := open(t, dir, fake, o)
					table, err := s.Table(telemetry)
					if err != nil {
						t.Fatal(err)
					}
					r, err := source.take(table)
					if policy == 0 {
						bad, ok := errors.AsType[*engine.RecordError](err)
						if !ok || !errors.Is(err, ingest.ErrInvalid) || source.place+tc.lines[0] != place(bad) || way != "writer" && s.Stats().Acked != 0 {
							t.Errorf("%v; %+v", err, s.Stats())
						}
						return
					}
					if err != nil {
						t.Fatal(err)
					}
					if r.Records != int64(len(tc.good)) || r.Bad != 2 || r.Blank != tc.blank {
						t.Errorf("receipt %+v", r)
					}
					drain(t, s)
					sameRows(t, fake.AllRows(), tc.good)
					st, dead := s.Stats(), deadLetters(t, dir)
					if policy == engine.SkipBadRecords {
						if st.Acked != r.Records || st.Settled.DeadLettered != 0 || len(dead) != 0 {
							t.Errorf("%+v, %q", st, dead)
						}
						return
					}
					if st.Acked != r.Records+2 || st.Settled.DeadLettered != 2 || len(dead) != 2 ||
						!strings.HasPrefix(dead[`{"torn":`], source.place+tc.lines[0]+": a json record must be one JSON object") ||
						!strings.HasPrefix(dead[`[1]`], source.place+tc.lines[1]+": a json record must be one JSON object, and not an array") {
						t.Errorf("%+v, %q", st, dead)
					}
					if way != "writer" {
						if tally, err := s.StatusAll(t.Context(), r); err != nil || tally.Ingested() != r.Records {
							t.Errorf("%+v, %v", tally, err)
						}
					}
					conserved(t, s)
				})
			}
		}
	}
}

// place is where an error says that the bad record is.
func place(e *engine.RecordError) string {
	text := e.Error()
	text, _, _ = strings.Cut(text, ": data")
	return text
}

// A source of nothing but what is no record is its dead letters, and their
// receipt tells what became of them.
func TestNothingButBadRecords(t *testing.T) {
	o := soon()
	o.OnBadRecord = engine.DeadLetterBadRecords
	s := open(t, t.TempDir(), transporttest.NewFake(), o)
	r, err := s.IngestReader(t.Context(), telemetry, strings.NewReader("1\n2\n"))
	if err != nil || r.Records != 2 || r.Bad != 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	drain(t, s)
	if tally, err := s.StatusAll(t.Context(), r); err != nil || tally.States[ingest.DeadLettered] != 2 {
		t.Errorf("%+v, %v", tally, err)
	}
	o.OnBadRecord = engine.SkipBadRecords
	s = open(t, t.TempDir(), transporttest.NewFake(), o)
	if r, err := s.IngestReader(t.Context(), telemetry, strings.NewReader("1\n2\n")); !errors.Is(err, ingest.ErrInvalid) {
		t.Errorf("%+v, %v", r, err)
	}
}

// A dead letter does not wait for a destination that is down.
func TestDeadLetterDuringAnOutage(t *testing.T) {
	fake, dir := transporttest.NewFake(), t.TempDir()
	fake.Down(transporttest.Fail(transport.Transient))
	s := open(t, dir, fake, soon())
	put(t, s, telemetry, row(1))
	table, err := s.Table(telemetry)
	if err != nil {
		t.Fatal(err)
	}
	receipts, err := table.DeadLetter(t.Context(), engine.Refused{Data: []byte("one"), Why: "a.json:1: no record"}, engine.Refused{Data: []byte("two"), Why: "a.json:2: no record"})
	if err != nil || len(receipts) != 2 {
		t.Fatal(receipts, err)
	}
	for _, r := range receipts {
		if st, err := s.Wait(t.Context(), r.ID); err != nil || st.State != ingest.DeadLettered || !strings.HasPrefix(st.Failure.Message, "a.json:") {
			t.Errorf("%+v, %v", st, err)
		}
	}
	if got, want := deadLetters(t, dir), map[string]string{"one": "a.json:1: no record", "two": "a.json:2: no record"}; !reflect.DeepEqual(got, want) {
		t.Errorf("%q", got)
	}
	if _, err := table.DeadLetter(t.Context(), engine.Refused{}); !errors.Is(err, ingest.ErrInvalid) {
		t.Errorf("nothing: %v", err)
	}
}

// What was refused and not yet dead-lettered when the process ended is
// dead-lettered by the next, and never delivered.
func TestRefusedAcrossACrash(t *testing.T) {
	dir := t.TempDir()
	st, err := store.Open(dir, &store.Options{SegmentBytes: 1 << 20, MaxBytes: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	refused := telemetry
	refused.Refused = true
	lane, err := st.Lane(t.Context(), &refused, store.FrameLimit{Bytes: 1 << 20, Records: 1})
	if err != nil {
		t.Fatal(err)
	}
	a, err := st.Append(t.Context(), []store.Record{{Lane: lane, Data: []byte("[1]")}, {Lane: lane, Data: []byte("[2]")}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.Seal(t.Context(), []store.Seal{{Lane: lane, First: a[0].Seq, Last: a[0].Seq, Bytes: 3, Guarantee: ingest.ExactlyOnce, Confirm: ingest.ConfirmIngested}}); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	fake := transporttest.NewFake()
	fake.Down(transporttest.Fail(transport.Transient))
	s := open(t, dir, fake, soon())
	drain(t, s)
	dead := deadLetters(t, dir)
	for _, data := range []string{"[1]", "[2]"} {
		if !strings.Contains(dead[data], "is not known any more: a json record must be one JSON object, and not an array") {
			t.Errorf("the reason of %s is %q", data, dead[data])
		}
	}
	if len(fake.Sends()) != 0 || s.Stats().Settled.DeadLettered != 2 {
		t.Errorf("%d sends, %+v", len(fake.Sends()), s.Stats())
	}
}

// A record is looked at unless its table says otherwise; no record that passed
// takes its neighbours.
func TestRecordsAreChecked(t *testing.T) {
	csv, unchecked := of(ingest.CSV), telemetry
	unchecked.Table = "Unchecked"
	o := soon()
	o.Tables = map[engine.TableName]engine.TableOptions{{Database: unchecked.Database, Table: "Unchecked"}: {UncheckedJSON: true}}
	s := open(t, t.TempDir(), transporttest.NewFake(), o)
	for _, tc := range []struct {
		p    ingest.Properties
		data string
		ok   bool
	}{
		{csv, `1,"abc`, false}, {csv, "1,\"a\nb\"", true}, {csv, "1\n2", false}, {csv, ",", true},
		{telemetry, "{}", true}, {telemetry, "[{}]", false}, {telemetry, `{"a":`, false}, {telemetry, "1", false}, {telemetry, "{}{}", false},
		{of(ingest.MultiJSON), `{"a":`, false}, {of(ingest.MultiJSON), "{\n}", true}, {of(ingest.TSV), "a\nb", false}, {of(ingest.TSV), "\t", true},
		{unchecked, `{"a":`, true}, {unchecked, "1\n2", false},
	} {
		_, err := s.Ingest(t.Context(), &ingest.Request{Properties: tc.p, Data: []byte(tc.data)})
		if (err == nil) != tc.ok || err != nil && !errors.Is(err, ingest.ErrInvalid) {
			t.Errorf("%s %q: %v", tc.p.Format, tc.data, err)
		}
	}
	for _, bad := range []engine.BadRecordPolicy{77} {
		if _, err := engine.Open(t.TempDir(), transporttest.NewFake(), &engine.Options{OnBadRecord: bad}); err == nil || !strings.Contains(err.Error(), "OnBadRecord") {
			t.Errorf("%v: %v", bad, err)
		}
	}
	for _, p := range []engine.BadRecordPolicy{engine.StopAtBadRecord, engine.SkipBadRecords, engine.DeadLetterBadRecords} {
		if got, err := engine.ParseBadRecordPolicy(p.String()); err != nil || got != p {
			t.Errorf("%v, %v", got, err)
		}
	}
	if _, err := engine.ParseBadRecordPolicy("ignore"); err == nil {
		t.Error("ignore is no policy")
	}
}

// What an archive holds beside its data is passed over; what is an archive in
// it is not.
func TestArchiveMembers(t *testing.T) {
	archive := func(files ...string) string {
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		for i := 0; i < len(files); i += 2 {
			w, err := z.Create(files[i])
			if err == nil && files[i+1] != "" {
				_, err = io.WriteString(w, files[i+1])
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		path := filepath.Join(t.TempDir(), "a.json.zip")
		if err := errors.Join(z.Close(), os.WriteFile(path, b.Bytes(), 0o600)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	fake := transporttest.NewFake()
	s := open(t, t.TempDir(), fake, soon())
	r, err := s.IngestFile(t.Context(), telemetry, archive("a.json", row(1), "sub/", "", "__MACOSX/sub/._b.json", "\x00\x05\x16\x07", "sub/.DS_Store", "\x00\x00\x00\x01Bud1", "sub/b.json", row(2)))
	if err != nil || r.Records != 2 {
		t.Fatal(r, err)
	}
	drain(t, s)
	sameRows(t, fake.AllRows(), []string{row(1), row(2)})
	for name, data := range map[string]string{"b.zip": "PK\x03\x04\x14\x00", "b.json.gz": "\x1f\x8b\x08\x00", "b.parquet": "PAR1\x15", "b.txt": "read me"} {
		if _, err := s.IngestFile(t.Context(), telemetry, archive("a.json", row(3), name, data)); !errors.Is(err, ingest.ErrInvalid) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if st := s.Stats(); st.Acked != 2 {
		t.Errorf("%+v", st)
	}
}

// A line that is not finished waits for its end, and one that is wrong is said
// at once.
func TestWriterSaysAtOnce(t *testing.T) {
	s := open(t, t.TempDir(), transporttest.NewFake(), soon())
	table, err := s.Table(telemetry)
	if err != nil {
		t.Fatal(err)
	}
	w := table.Writer(t.Context())
	if _, err := io.WriteString(w, row(1)+"\n{\"a\":"); err != nil || w.Records() != 1 {
		t.Fatalf("%d records, %v", w.Records(), err)
	}
	_, err = io.WriteString(w, "\n")
	if e, ok := errors.AsType[*engine.RecordError](err); !ok || e.Line != 2 {
		t.Errorf("%v", err)
	}
	if _, again := io.WriteString(w, row(2)+"\n"); again != err {
		t.Errorf("behind it: %v", again)
	}
	if err := w.Close(); err == nil {
		t.Error("Close forgot it")
	}
	if st := s.Stats(); st.Acked != 1 {
		t.Errorf("%+v", st)
	}
	multi, err := s.Table(of(ingest.MultiJSON))
	if err != nil {
		t.Fatal(err)
	}
	w = multi.Writer(t.Context())
	for _, part := range []string{"{\n \"a\"", ": 1}\n[{\"b\":", "2},{}", "]"} {
		if _, err := io.WriteString(w, part); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil || w.Records() != 3 {
		t.Errorf("%d records, %v", w.Records(), err)
	}
}

// TestIngestSorted: records, what was refused between them and the position
// are stored together, or nothing of them.
func TestIngestSorted(t *testing.T) {
	client, err := dir.NewClient(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := engine.Open(t.TempDir(), client, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	table, err := s.Table(ingest.Properties{Database: "D", Table: "T", Format: ingest.JSON})
	if err != nil {
		t.Fatal(err)
	}
	good, bad := []byte(`{"a":1}`), engine.Refused{Data: []byte("torn"), Why: "f:2: torn"}
	at := ingest.Position{Name: "f", Value: []byte("1")}
	for _, tc := range []struct {
		records [][]byte
		refused []engine.Refused
	}{
		{[][]byte{good, []byte("[1]")}, []engine.Refused{bad}},
		{[][]byte{good}, []engine.Refused{bad, {}}},
	} {
		if _, err := table.IngestSorted(t.Context(), tc.records, tc.refused, at); !errors.Is(err, ingest.ErrInvalid) {
			t.Errorf("%v", err)
		}
	}
	if _, ok := s.Position("f"); ok || s.Stats().Acked != 0 {
		t.Errorf("something is stored: %+v", s.Stats())
	}
	rcpts, err := table.IngestSorted(t.Context(), [][]byte{good, good}, []engine.Refused{bad}, at)
	if err != nil || len(rcpts) != 3 {
		t.Fatalf("%v, %v", rcpts, err)
	}
	if _, ok := s.Position("f"); !ok || s.Stats().Acked != 3 {
		t.Errorf("not all is stored: %+v", s.Stats())
	}
	for i, dead := range []bool{false, false, true} {
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if st, err := s.Wait(t.Context(), rcpts[i].ID); err != nil || st.State.Ingested() == dead || (st.State == ingest.DeadLettered) != dead {
			t.Errorf("record %d: %+v, %v", i, st, err)
		}
	}
}

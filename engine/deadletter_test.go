package engine_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/store"
	"kustospool/transport"
	"kustospool/transport/transporttest"
)

// waiting are the dead letters of a spool.
func waiting(t testing.TB, s *engine.Spool) (out []engine.DeadLetter) {
	t.Helper()
	for d, err := range s.DeadLetters() {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, d)
	}
	return out
}

// fussy is a destination that refuses records with "bad" in them while it is fussy.
func fussy() (*transporttest.Fake, *atomic.Bool) {
	on := new(atomic.Bool)
	on.Store(true)
	f := takesBlobs()
	f.Poison(func(rec []byte) bool { return on.Load() && strings.Contains(string(rec), "bad") })
	return f, on
}

// deadIn makes a spool with one dead letter of these records. Its destination
// takes them from then on.
func deadIn(t testing.TB, dir string, p ingest.Properties, records ...string) (*engine.Spool, *transporttest.Fake, engine.DeadLetter) {
	t.Helper()
	f, on := fussy()
	s := open(t, dir, f, soon())
	put(t, s, p, records...)
	drain(t, s)
	on.Store(false)
	all := waiting(t, s)
	if len(all) != 1 {
		t.Fatalf("%d dead letters: %+v", len(all), all)
	}
	return s, f, all[0]
}

func deadCounts(t testing.TB, st engine.Stats, waiting, handled int64) {
	t.Helper()
	if got := st.DeadLetters; got.Waiting != waiting || got.Handled != handled || got.Total != waiting+handled {
		t.Errorf("dead letters %+v, want %d waiting and %d handled", got, waiting, handled)
	}
}

// TestRetryDeadLetter: the records of a dead letter arrive once, in a batch of
// another ID, where they are wanted; the dead letter is handled, and nothing of it is left.
func TestRetryDeadLetter(t *testing.T) {
	mapped := telemetry
	mapped.MappingReference = "old"
	inline := telemetry
	inline.Mapping = `[{"column":"n","Properties":{"path":"$.n"}}]`
	big := `{"bad":"` + strings.Repeat("x", 5<<20) + `"}`
	mended := `{"good":1}` + "\n" + `{"good":2}` + "\n"
	parquet := telemetry
	parquet.Format = ingest.Parquet
	for name, tt := range map[string]struct {
		p     ingest.Properties
		rec   string
		how   *engine.Retry
		table string
		rows  []string
		mref  string
	}{
		"as it stands":               {p: telemetry, rec: `{"bad":1}`, table: "Telemetry", rows: []string{`{"bad":1}`}},
		"with its mapping":           {p: mapped, rec: `{"bad":1}`, table: "Telemetry", rows: []string{`{"bad":1}`}, mref: "old"},
		"to another table":           {p: telemetry, rec: `{"bad":1}`, how: &engine.Retry{Table: "Other"}, table: "Other", rows: []string{`{"bad":1}`}},
		"by another mapping":         {p: mapped, rec: `{"bad":1}`, how: &engine.Retry{MappingReference: "new"}, table: "Telemetry", rows: []string{`{"bad":1}`}, mref: "new"},
		"instead of one in line":     {p: inline, rec: `{"bad":1}`, how: &engine.Retry{MappingReference: "new"}, table: "Telemetry", rows: []string{`{"bad":1}`}, mref: "new"},
		"without a mapping":          {p: mapped, rec: `{"bad":1}`, how: &engine.Retry{NoMapping: true}, table: "Telemetry", rows: []string{`{"bad":1}`}},
		"repaired":                   {p: telemetry, rec: `{"bad":1}`, how: &engine.Retry{Records: strings.NewReader(mended)}, table: "Telemetry", rows: []string{`{"good":1}`, `{"good":2}`}},
		"of an object's size":        {p: telemetry, rec: big, table: "Telemetry", rows: []string{big}},
		"of a format that is binary": {p: parquet, rec: "PAR1bad PAR1", table: "Telemetry", rows: []string{"PAR1bad PAR1"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s, f, dead := deadIn(t, dir, tt.p, tt.rec)
			deadCounts(t, s.Stats(), 1, 0)
			plan, err := s.PlanRetry(t.Context(), dead.Batch.ID, planOf(tt.how))
			if err != nil || plan.Refused != nil || plan.Records != int64(len(tt.rows)) || plan.To.Table != tt.table {
				t.Fatalf("plan %+v, %v", plan, err)
			}
			deadCounts(t, s.Stats(), 1, 0) // a plan changes nothing
			done, err := s.RetryDeadLetter(t.Context(), dead.Batch.ID, tt.how)
			if err != nil || done.Before || done.Receipt.Records != plan.Records || done.To.Table != tt.table {
				t.Fatalf("%+v, %v", done, err)
			}
			deadCounts(t, s.Stats(), 0, 1)
			conserved(t, s)
			drain(t, s)
			kept := f.Kept()
			if len(kept) != 1 || kept[0].Batch.ID == dead.Batch.ID || kept[0].Batch.Properties.Table != tt.table || kept[0].Batch.Properties.MappingReference != tt.mref ||
				tt.mref != "" && kept[0].Batch.Properties.Mapping != "" {
				t.Fatalf("kept %+v", kept)
			}
			var got []string
			for _, line := range strings.Split(string(kept[0].Payload), "\n") {
				if line != "" {
					got = append(got, line)
				}
			}
			sameRows(t, got, tt.rows)
			state(t, s, done.Receipt, ingest.Succeeded)
			if left, err := filepath.Glob(filepath.Join(dir, "dead", "*")); err != nil || len(left) != 0 {
				t.Errorf("left %q, %v", left, err)
			}
			if len(s.Positions()) != 0 {
				t.Errorf("positions %v", s.Positions())
			}
			// Again is nothing.
			if _, err := s.RetryDeadLetter(t.Context(), dead.Batch.ID, nil); !errors.Is(err, engine.ErrNotFound) {
				t.Errorf("a second retry: %v", err)
			}
			conserved(t, s)
		})
	}
}

// planOf is a copy whose records can be read once more.
func planOf(how *engine.Retry) *engine.Retry {
	if how == nil || how.Records == nil {
		return how
	}
	c := *how
	text, _ := io.ReadAll(how.Records)
	c.Records, how.Records = strings.NewReader(string(text)), strings.NewReader(string(text))
	return &c
}

// TestRetryOfABlob: its payload is an address, and goes again as one.
func TestRetryOfABlob(t *testing.T) {
	f, _ := fussy()
	s := open(t, t.TempDir(), f, soon())
	f.Script(transporttest.Step{Fail: transporttest.Fail(transport.Permanent)})
	if _, err := s.IngestBlob(t.Context(), telemetry, blobAt("a.json")); err != nil {
		t.Fatal(err)
	}
	drain(t, s)
	dead := waiting(t, s)
	if len(dead) != 1 {
		t.Fatal(dead)
	}
	plan, err := s.PlanRetry(t.Context(), dead[0].Batch.ID, nil)
	if err != nil || plan.Refused != nil || plan.Records != 1 {
		t.Fatalf("%+v, %v", plan, err)
	}
	if _, err := s.RetryDeadLetter(t.Context(), dead[0].Batch.ID, nil); err != nil {
		t.Fatal(err)
	}
	drain(t, s)
	if kept := f.Kept(); len(kept) != 1 || !kept[0].Batch.Properties.ByReference || !strings.Contains(string(kept[0].Payload), "a.json") {
		t.Errorf("%+v", kept)
	}
	deadCounts(t, s.Stats(), 0, 1)
}

// TestRetryIsRefused: what a retry refuses is as it was, and the plan says the same.
func TestRetryIsRefused(t *testing.T) {
	dir := t.TempDir()
	s, f, dead := deadIn(t, dir, telemetry, `{"bad":1}`)
	torn, err := s.Table(telemetry)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := torn.DeadLetter(t.Context(), engine.Refused{Data: []byte(`{"torn`), Why: "a.json:7"}); err != nil {
		t.Fatal(err)
	}
	drain(t, s)
	var noRecord ingest.BatchID
	for _, d := range waiting(t, s) {
		if d.Batch.ID != dead.Batch.ID {
			noRecord = d.Batch.ID
		}
	}
	for name, tt := range map[string]struct {
		id    ingest.BatchID
		how   *engine.Retry
		words string
	}{
		"what is no record":          {noRecord, nil, "line 1"},
		"repaired, and no record":    {dead.Batch.ID, &engine.Retry{Records: strings.NewReader(`{"good":1}` + "\n" + `{"torn`)}, "line 2"},
		"nothing":                    {dead.Batch.ID, &engine.Retry{Records: strings.NewReader("\n\n")}, "at least one record"},
		"two mappings":               {dead.Batch.ID, &engine.Retry{NoMapping: true, MappingReference: "m"}, "mapping reference"},
		"a table that cannot be one": {dead.Batch.ID, &engine.Retry{Table: strings.Repeat("t", 2000)}, "table"},
		"an archive":                 {dead.Batch.ID, &engine.Retry{Records: strings.NewReader("PK\x03\x04 and so on")}, "zip"},
	} {
		t.Run(name, func(t *testing.T) {
			plan, err := s.PlanRetry(t.Context(), tt.id, planOf(tt.how))
			if err != nil {
				t.Fatal(err)
			}
			isInvalid(t, plan.Refused, tt.words)
			_, err = s.RetryDeadLetter(t.Context(), tt.id, tt.how)
			isInvalid(t, err, tt.words)
			deadCounts(t, s.Stats(), 2, 0)
		})
	}
	if _, err := s.RetryDeadLetter(t.Context(), ingest.BatchID{1}, nil); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("an unknown one: %v", err)
	}
	if _, err := s.PlanRetry(t.Context(), ingest.BatchID{1}, nil); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("the plan for an unknown one: %v", err)
	}
	if len(f.Kept()) != 0 || s.Stats().Acked != 2 {
		t.Errorf("%+v", s.Stats())
	}
	// Repaired, it goes.
	if _, err := s.RetryDeadLetter(t.Context(), noRecord, &engine.Retry{Records: strings.NewReader(`{"torn":0}`)}); err != nil {
		t.Fatal(err)
	}
	drain(t, s)
	sameRows(t, f.AllRows(), []string{`{"torn":0}`})
}

// TestRetryInDoubt: what may be at the destination is sent again only for
// somebody who agrees to that, and is counted.
func TestRetryInDoubt(t *testing.T) {
	f, on := fussy()
	s := open(t, t.TempDir(), f, soon())
	f.Script(transporttest.Step{LoseRequest: true})
	put(t, s, telemetry, `{"bad":1}`)
	drain(t, s)
	on.Store(false)
	dead := waiting(t, s)
	if len(dead) != 1 || !dead[0].InDoubt() {
		t.Fatalf("%+v", dead)
	}
	before := s.Stats()
	plan, err := s.PlanRetry(t.Context(), dead[0].Batch.ID, nil)
	if err != nil || !errors.Is(plan.Refused, engine.ErrInDoubt) {
		t.Fatalf("%+v, %v", plan, err)
	}
	if _, err := s.RetryDeadLetter(t.Context(), dead[0].Batch.ID, nil); !errors.Is(err, engine.ErrInDoubt) {
		t.Fatal(err)
	}
	if st := s.Stats(); st.Acked != before.Acked || st.Duplicates != before.Duplicates {
		t.Errorf("%+v", st)
	}
	for range 3 { // what is refused for its records is counted once, however often it is given
		_, err := s.RetryDeadLetter(t.Context(), dead[0].Batch.ID, &engine.Retry{AcceptDoubles: true, Records: strings.NewReader("{")})
		isInvalid(t, err, "")
	}
	if _, err := s.RetryDeadLetter(t.Context(), dead[0].Batch.ID, &engine.Retry{AcceptDoubles: true}); err != nil {
		t.Fatal(err)
	}
	drain(t, s)
	if st := s.Stats(); st.Duplicates.Possible != before.Duplicates.Possible+1 || st.Settled.Ingested != 1 {
		t.Errorf("%+v", st)
	}
	conserved(t, s)
}

// TestRetryOfNothing: where all records were lost on the disk there is nothing to send.
func TestRetryOfNothing(t *testing.T) {
	dir := t.TempDir()
	s, _, dead := deadIn(t, dir, telemetry, `{"bad":1}`)
	path := filepath.Join(dir, "dead", dead.Batch.ID.String()+".json")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text = []byte(strings.Replace(string(text), `"bytes": 10`, `"bytes": 0, "damaged": [{"first":1,"last":1}]`, 1))
	if err := errors.Join(os.WriteFile(path, text, 0o600), os.Truncate(filepath.Join(dir, filepath.FromSlash(dead.Payload)), 0)); err != nil {
		t.Fatal(err)
	}
	if d := waiting(t, s)[0]; d.Damaged != 1 || d.Records() != 0 || d.Bytes != 0 {
		t.Fatalf("%+v; %s", d, text)
	}
	_, err = s.RetryDeadLetter(t.Context(), dead.Batch.ID, nil)
	isInvalid(t, err, "has no record")
	if _, err := s.RetryDeadLetter(t.Context(), dead.Batch.ID, &engine.Retry{Records: strings.NewReader(`{"n":1}`)}); err != nil {
		t.Error(err)
	}
}

// TestRetryThatACrashCut: the records are in the log with their mark, and the
// process ended before the files went. The next one takes them away, and does
// not send the records twice; nor does a look show the dead letter.
func TestRetryThatACrashCut(t *testing.T) {
	dir := t.TempDir()
	s, f, dead := deadIn(t, dir, telemetry, `{"bad":1}`)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.AppendWith(t.Context(), []store.Record{{Lane: dead.Batch.Lane, Data: []byte(`{"bad":1}`)}}, []store.Position{store.DeadLetterMark(dead.Batch.ID)}); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	v, err := engine.Look(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	for d := range v.DeadLetters() {
		t.Errorf("the look shows %+v", d)
	}
	deadCounts(t, v.Stats(), 0, 1)
	if err := v.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, filepath.FromSlash(dead.Payload))); err != nil {
		t.Errorf("a look changed something: %v", err)
	}
	observed := &books{}
	o := soon()
	o.Observer = observed
	again := open(t, dir, openDestination{f.Tracking()}, o)
	if left, _ := filepath.Glob(filepath.Join(dir, "dead", "*")); len(left) != 0 {
		t.Errorf("left %q", left)
	}
	drain(t, again)
	sameRows(t, f.AllRows(), []string{`{"bad":1}`})
	deadCounts(t, again.Stats(), 0, 1)
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	// What Open found has it as handled already.
	if observed.opens != 1 || observed.handled != 0 {
		t.Errorf("%d events of handled dead letters beside the one that was found", observed.handled)
	}
}

// TestIdle: at rest a dead letter can be retried and removed; nothing is
// delivered, and what is stored is for the next program to seal, on its terms.
func TestIdle(t *testing.T) {
	dir := t.TempDir()
	if _, err := engine.OpenIdle(filepath.Join(dir, "none"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("where there is no spool: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a spool was made: %v", err)
	}
	s, f, dead := deadIn(t, dir, telemetry, `{"bad":1}`)
	if _, err := engine.OpenIdle(dir, &engine.Options{LockTimeout: time.Millisecond}); err == nil {
		t.Fatal("a spool in use was opened")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	idle, err := engine.OpenIdle(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	other := ingest.Properties{Table: "Other"}
	if _, err := idle.RetryDeadLetter(t.Context(), dead.Batch.ID, &engine.Retry{Table: other.Table}); err != nil {
		t.Error(err)
	}
	deadCounts(t, idle.Stats(), 0, 1)
	if st := idle.Stats(); st.Waiting.Open != 1 || st.Batches.Live() != 0 {
		t.Errorf("%+v", st)
	}
	if err := idle.Close(); err != nil {
		t.Fatal(err)
	}
	o := soon()
	o.Guarantee = ingest.AtLeastOnce
	again := open(t, dir, openDestination{f.Tracking()}, o)
	drain(t, again)
	if kept := f.Kept(); len(kept) != 1 || kept[0].Batch.Properties.Table != "Other" || kept[0].Batch.Guarantee != ingest.AtLeastOnce {
		t.Errorf("%+v", kept)
	}
}

func TestDeadLetterFilter(t *testing.T) {
	at := time.Date(2026, 11, 27, 5, 0, 0, 0, time.UTC)
	id, other := ingest.BatchID{1}, ingest.BatchID{2}
	d := engine.DeadLetter{BatchStatus: engine.BatchStatus{Batch: ingest.Batch{ID: id, Properties: telemetry}, Updated: at,
		Failure: &ingest.Failure{Class: "malformed", Code: "BadRecord"}}}
	for name, tt := range map[string]struct {
		f    engine.DeadLetterFilter
		want bool
	}{
		"all":                {engine.DeadLetterFilter{}, true},
		"its table":          {engine.DeadLetterFilter{Database: "Demo", Table: "Telemetry"}, true},
		"another table":      {engine.DeadLetterFilter{Table: "Other"}, false},
		"another database":   {engine.DeadLetterFilter{Database: "Other", Table: "Telemetry"}, false},
		"its batch":          {engine.DeadLetterFilter{Batches: []ingest.BatchID{other, id}}, true},
		"another batch":      {engine.DeadLetterFilter{Batches: []ingest.BatchID{other}}, false},
		"its code":           {engine.DeadLetterFilter{Code: "BadRecord"}, true},
		"its class":          {engine.DeadLetterFilter{Code: "malformed"}, true},
		"another code":       {engine.DeadLetterFilter{Code: "BadRequest"}, false},
		"from its time on":   {engine.DeadLetterFilter{From: at}, true},
		"before its time":    {engine.DeadLetterFilter{Before: at}, false},
		"after its time":     {engine.DeadLetterFilter{From: at.Add(1)}, false},
		"up to its time":     {engine.DeadLetterFilter{Before: at.Add(1)}, true},
		"its table, not now": {engine.DeadLetterFilter{Table: "Telemetry", From: at.Add(1)}, false},
	} {
		if got := tt.f.Match(&d); got != tt.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	d.Failure = nil
	if f := (engine.DeadLetterFilter{Code: "x"}); f.Match(&d) {
		t.Error("a code of one that has none")
	}
}

// TestRetriesAtTheSameTime: of many calls for one dead letter its records arrive once.
func TestRetriesAtTheSameTime(t *testing.T) {
	s, f, dead := deadIn(t, t.TempDir(), telemetry, `{"bad":1}`)
	answers := make(chan error, 8)
	for range cap(answers) {
		go func() {
			_, err := s.RetryDeadLetter(t.Context(), dead.Batch.ID, nil)
			answers <- err
		}()
	}
	var done []error
	for range cap(answers) {
		err := <-answers
		if err != nil && !errors.Is(err, engine.ErrHandled) && !errors.Is(err, engine.ErrNotFound) {
			t.Error(err)
		}
		done = append(done, err)
	}
	if !slices.Contains(done, nil) {
		t.Errorf("%v", done)
	}
	drain(t, s)
	sameRows(t, f.AllRows(), []string{`{"bad":1}`})
	conserved(t, s)
}

// A source cannot be called like the mark of a dead letter, which would end it.
func TestNoSourceEndsADeadLetter(t *testing.T) {
	s, _, dead := deadIn(t, t.TempDir(), telemetry, `{"bad":1}`)
	mark := store.DeadLetterMark(dead.Batch.ID)
	_, err := s.Ingest(t.Context(), &ingest.Request{Properties: telemetry, Data: []byte(row(1)), Position: &mark})
	isInvalid(t, err, "position")
	_, err = s.IngestReader(t.Context(), telemetry, strings.NewReader(row(1)), mark)
	isInvalid(t, err, "position")
	_, err = s.IngestReader(t.Context(), telemetry, strings.NewReader(strings.Repeat(row(1)+"\n", 200_000)), mark)
	isInvalid(t, err, "position")
	isInvalid(t, s.RemovePosition(t.Context(), mark.Name), "position")
	deadCounts(t, s.Stats(), 1, 0)
	if all := waiting(t, s); len(all) != 1 {
		t.Errorf("%+v", all)
	}
}

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/store"
)

// sample is a spool at rest with a bit of everything: of Demo.Readings 10 records
// of which the first two are ingested, the next dead-lettered, and two are in a
// live batch that the service has refused once; one record of Demo.Log.
type sample struct {
	dir                  string
	lane                 uint32
	ingested, dead, live ingest.BatchID
	id                   ingest.SpoolID
}

func makeSample(t *testing.T) sample {
	t.Helper()
	s := sample{dir: t.TempDir()}
	st, err := store.Open(s.dir, &store.Options{SegmentBytes: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	s.id = st.ID()
	lane := func(table string, format ingest.Format) uint32 {
		id, err := st.Lane(t.Context(), &ingest.Properties{Database: "Demo", Table: table, Format: format}, store.FrameLimit{})
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	s.lane = lane("Readings", ingest.JSON)
	log := lane("Log", ingest.CSV)
	for i := range 10 {
		text := fmt.Sprintf(`{"n":%d,"vessel":"Ida"}`, i+1)
		if i == 7 {
			text = "{\"n\":8,\"vessel\":\"\u202eada\"}"
		}
		if _, err := st.AppendOne(t.Context(), s.lane, []byte(text), ""); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := st.AppendOne(t.Context(), log, []byte("1,\x1b[2Jcleared"), ""); err != nil {
		t.Fatal(err)
	}
	sizes := map[uint64]int64{}
	for f, err := range st.Unsealed() {
		if err != nil {
			t.Fatal(err)
		}
		if f.Lane == s.lane {
			sizes[f.First] = f.Bytes
		}
	}
	seal := func(first, last uint64) ingest.BatchID {
		var n int64
		for seq := first; seq <= last; seq++ {
			n += sizes[seq]
		}
		e, err := st.Seal(t.Context(), []store.Seal{{Lane: s.lane, First: first, Last: last, Bytes: n, Guarantee: ingest.ExactlyOnce, Confirm: ingest.ConfirmIngested}})
		if err != nil {
			t.Fatal(err)
		}
		return e[0].Batch.ID
	}
	move := func(id ingest.BatchID, from, to ingest.State, apply func(*store.Entry)) {
		if _, err := st.Transition(t.Context(), id, from, func(e *store.Entry) {
			e.State = to
			if apply != nil {
				apply(e)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	s.ingested, s.dead, s.live = seal(1, 2), seal(3, 3), seal(4, 5)
	refused := &ingest.Failure{Class: "permanent", Code: "BadRequest_X", Message: "no such\x1b[2J thing"}
	move(s.ingested, ingest.Sealed, ingest.Sending, func(e *store.Entry) { e.Attempts = 1 })
	move(s.ingested, ingest.Sending, ingest.Succeeded, nil)
	move(s.live, ingest.Sealed, ingest.Sending, func(e *store.Entry) { e.Attempts = 3; e.Failure = refused })
	move(s.live, ingest.Sending, ingest.Sealed, nil)
	if _, err := st.DeadLetter(t.Context(), s.dead, ingest.Sealed, &ingest.Failure{Class: "permanent", Code: "BadRequest_Y", Message: refused.Message}); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	return s
}

// unchangedBy runs the command and sees to it that no file of the spool changes.
func (s sample) unchangedBy(t *testing.T, args ...string) result {
	t.Helper()
	before := filesOf(t, s.dir)
	got := kustospool(t, "", append(args, "--spool", s.dir)...)
	if !maps.Equal(before, filesOf(t, s.dir)) {
		t.Errorf("%q changed the spool", args)
	}
	return got
}

func TestPeek(t *testing.T) {
	s := makeSample(t)
	for _, test := range []struct {
		args []string
		want []string // of lines, the beginnings of the numbers
		text string
	}{
		{args: []string{"Readings"}, want: []string{"4", "5", "6", "7", "8", "9", "10"}, text: "Demo.Readings, lane 1 (json)\n4\t"},
		{args: []string{"Demo.Readings", "--from", "9"}, want: []string{"9", "10"}},
		{args: []string{"Readings", "--limit", "2"}, want: []string{"4", "5"}, text: "\tsealed\t" + `{"n":4,"vessel":"Ida"}`},
		{args: []string{"Readings", "--grep", `"n":(6|9)\b`}, want: []string{"6", "9"}, text: "\topen\t"},
		{args: []string{"Readings", "--grep", `ada`}, want: []string{"8"}, text: `"vessel":"\u202eada"`},
		{args: []string{"Log"}, want: []string{"1"}, text: `1,\u001b[2Jcleared`},
		{args: []string{"Readings", "--from", "11"}},
	} {
		got := s.unchangedBy(t, append([]string{"peek"}, test.args...)...)
		var lines []string
		for line := range strings.Lines(got.out) {
			if number, _, ok := strings.Cut(line, "\t"); ok {
				lines = append(lines, number)
			}
		}
		if got.code != exitOK || strings.Join(lines, " ") != strings.Join(test.want, " ") || !strings.Contains(got.out, test.text) {
			t.Errorf("%q: code %d, %q, %s%s", test.args, got.code, lines, got.out, got.stderr)
		}
		if strings.ContainsAny(got.out, "\x1b\u202e") {
			t.Errorf("%q: control characters of a record", test.args)
		}
	}
	var seqs []uint64
	d := json.NewDecoder(strings.NewReader(s.unchangedBy(t, "peek", "Readings", "--json", "--limit", "0").out))
	for d.More() {
		var r peeked
		if err := d.Decode(&r); err != nil {
			t.Fatal(err)
		}
		seqs = append(seqs, r.Seq)
		var doc struct{ N uint64 }
		if err := json.Unmarshal(r.Record, &doc); err != nil || doc.N != r.Seq || (r.Batch != "") != (r.Seq < 6) || r.At.IsZero() || r.Table != "Readings" {
			t.Errorf("%+v %s", r, r.Record)
		}
		if r.Seq < 6 && r.Batch != s.live.String() {
			t.Errorf("record %d is in batch %s", r.Seq, r.Batch)
		}
	}
	if fmt.Sprint(seqs) != "[4 5 6 7 8 9 10]" {
		t.Errorf("%v", seqs)
	}
}

// TestPeekRefuses: what is wrong is named, with the value and the rule.
func TestPeekRefuses(t *testing.T) {
	s := makeSample(t)
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"peek"}, "takes the name of one table"},
		{[]string{"peek", "Nothing"}, `table "Nothing": must be one of the spool's: Demo.Log, Demo.Readings`},
		{[]string{"peek", "Log", "--limit", "-1"}, "--limit -1: must not be negative"},
		{[]string{"peek", "Log", "--grep", "("}, `--grep "(": must be a regular expression`},
		{[]string{"peek", "Log", "--from", "x"}, `invalid argument "x" for "--from"`},
		{[]string{"check", "x"}, `check "x"`},
		{[]string{"check", "--lock-timeout", "-1s"}, "--lock-timeout -1s: must not be negative"},
	} {
		if got := s.unchangedBy(t, test.args...); got.code != exitUsage || !strings.Contains(got.stderr, test.want) {
			t.Errorf("%q: %+v", test.args, got)
		}
	}
	for _, cmd := range []string{"peek", "check"} {
		args := []string{cmd}
		if cmd == "peek" {
			args = append(args, "Log")
		}
		if got := kustospool(t, "", args...); got.code != exitUsage || !strings.Contains(got.stderr, "name the spool") {
			t.Errorf("%s: %+v", cmd, got)
		}
		st, err := store.Open(s.dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := kustospool(t, "", append(args, "--spool", s.dir, "--lock-timeout", "0")...)
		if got.code != exitUsage || !strings.Contains(got.stderr, fmt.Sprint("pid ", os.Getpid())) || !strings.Contains(got.stderr, "stop that process, or wait for its end") {
			t.Errorf("%s of a spool in use: %+v", cmd, got)
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func checkOf(t *testing.T, s sample, code int) *checkReport {
	t.Helper()
	got := s.unchangedBy(t, "check", "--json")
	r := new(checkReport)
	if err := json.Unmarshal([]byte(got.out), r); err != nil || got.code != code || r.Sound != (code == exitOK) {
		t.Fatalf("code %d, %v: %s%s", got.code, err, got.out, got.stderr)
	}
	var files, tables engine.Tally
	sum := func(into *engine.Tally, t engine.Tally) {
		into.Read += t.Read
		into.Good += t.Good
		into.Bad += t.Bad
		into.Waiting += t.Waiting
		into.BadWaiting += t.BadWaiting
		into.Bytes += t.Bytes
	}
	for _, f := range r.Files {
		sum(&files, f.Tally)
	}
	for _, f := range r.Tables {
		sum(&tables, f.Tally)
	}
	if files != r.Tally || tables != r.Tally || r.Read != r.Good+r.Bad || r.Dead.Read != r.Dead.Good+r.Dead.Bad {
		t.Errorf("it does not add up: %+v, by file %+v, by table %+v", r.Tally, files, tables)
	}
	return r
}

func TestCheckCommand(t *testing.T) {
	s := makeSample(t)
	r := checkOf(t, s, exitOK)
	if r.Read != 11 || r.Waiting != 8 || r.Dead.Read != 1 || r.Dead.Records != 1 || len(r.Tables) != 2 {
		t.Errorf("%+v", r)
	}
	text := s.unchangedBy(t, "check")
	for _, want := range []string{"found              sound", "records read       11 (8 wait)", "Demo.Readings", "segments/00000001.log"} {
		if !strings.Contains(text.out, want) {
			t.Errorf("%q is missing in\n%s", want, text.out)
		}
	}
}

// TestCheckOfAKilledSpool: what a kill leaves is no damage.
func TestCheckOfAKilledSpool(t *testing.T) {
	s := makeSample(t)
	st, err := store.Open(s.dir, &store.Options{SegmentBytes: 64 << 10})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.AppendOne(t.Context(), s.lane, []byte("{}"), ""); err != nil {
		t.Fatal(err)
	}
	killed := s
	killed.dir = filepath.Join(t.TempDir(), "spool")
	if err := os.CopyFS(killed.dir, os.DirFS(s.dir)); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{".", "segments", "objects", "dead", "quarantine"} {
		if err := os.Chmod(filepath.Join(killed.dir, path), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(killed.dir, "manifest.db"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := checkOf(t, killed, exitOK); r.Waiting != 9 {
		t.Errorf("%+v", r)
	}
}

// TestCheckFinds: each kind of damage, by its file.
func TestCheckFinds(t *testing.T) {
	inSegment := func(text string) func(*testing.T, sample) {
		return func(t *testing.T, s sample) {
			path := filepath.Join(s.dir, "segments", "00000001.log")
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			i := bytes.Index(data, []byte(text))
			if i < 0 {
				t.Fatalf("%q is not in the segment", text)
			}
			data[i] ^= 1
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	dead := func(suffix string, change func(path string) error) func(*testing.T, sample) {
		return func(t *testing.T, s sample) {
			if err := change(filepath.Join(s.dir, "dead", s.dead.String()+suffix)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, test := range map[string]struct {
		hurt                func(*testing.T, sample)
		bad, waiting, inBox int64
	}{
		"a waiting record":            {inSegment(`"n":7,`), 1, 1, 0},
		"a settled record":            {inSegment(`"n":1,`), 1, 0, 0},
		"the payload of a letter":     {dead(".data.json", func(path string) error { return os.Truncate(path, 3) }), 0, 0, 1},
		"a letter without a payload":  {dead(".data.json", os.Remove), 0, 0, 1},
		"the document of a letter":    {dead(".json", func(path string) error { return os.Truncate(path, 30) }), 0, 0, 1},
		"a letter without a document": {dead(".json", os.Remove), 0, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := makeSample(t)
			test.hurt(t, s)
			r := checkOf(t, s, exitFailed)
			if r.Bad != test.bad || r.BadWaiting != test.waiting || r.Dead.Bad != test.inBox {
				t.Errorf("%+v", r)
			}
			for _, f := range r.Files {
				if (f.Bad > 0) != (f.Error != "") {
					t.Errorf("%+v", f)
				}
			}
			text := s.unchangedBy(t, "check")
			if text.code != exitFailed || !strings.Contains(text.out, "damaged") {
				t.Errorf("%+v", text)
			}
			if test.waiting > 0 {
				if got := s.unchangedBy(t, "peek", "Readings"); got.code != exitFailed || !strings.Contains(got.out, "7..7\tcannot be read: ") {
					t.Errorf("%+v", got)
				}
			}
		})
	}
	s := makeSample(t)
	if err := os.Truncate(filepath.Join(s.dir, "manifest.db"), 5000); err != nil {
		t.Fatal(err)
	}
	if got := s.unchangedBy(t, "check"); got.code != exitFailed || !strings.Contains(got.stderr, "ledger of spool") {
		t.Errorf("without a ledger: %+v", got)
	}
}

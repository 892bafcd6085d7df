package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/operate"
	"kustospool/transport/dir"
)

// badSpool is a spool at rest with three dead letters: torn lines of two tables.
// ids are theirs, in the order in which they are listed; records by ID.
func badSpool(t *testing.T) (spool string, out string, byText map[string]ingest.BatchID) {
	t.Helper()
	base := t.TempDir()
	spool, out = filepath.Join(base, "spool"), filepath.Join(base, "out")
	s := openDir(t, spool, out)
	for table, lines := range map[string]string{"Readings": "{\"n\":1}\n{\"n\":2\n{\"n\":\x1b3\n", "Log": "{\"l\":1\n"} {
		tbl, err := s.Table(ingest.Properties{Database: "Demo", Table: table, Format: ingest.JSON})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tbl.IngestReader(t.Context(), strings.NewReader(lines)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	byText = map[string]ingest.BatchID{}
	for d, err := range s.DeadLetters() {
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(filepath.Join(spool, filepath.FromSlash(d.Payload)))
		if err != nil {
			t.Fatal(err)
		}
		byText[strings.TrimSpace(string(text))] = d.Batch.ID
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if len(byText) != 3 {
		t.Fatal(byText)
	}
	return spool, out, byText
}

// openDir opens a spool that delivers into a directory.
func openDir(t *testing.T, spool, out string) *engine.Spool {
	t.Helper()
	client, err := dir.NewClient(out, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := engine.Open(spool, client, &engine.Options{OnBadRecord: engine.DeadLetterBadRecords})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestDead: the life of dead letters by the commands, at rest: they are listed,
// shown and exported, and the files stay as they are; repaired they go, once,
// and the alarm is over.
func TestDead(t *testing.T) {
	spool, out, byText := badSpool(t)
	torn, other := byText[`{"n":2`], byText[`{"l":1`]
	look := sample{dir: spool}
	list := look.unchangedBy(t, "dead", "list")
	for _, want := range []string{torn.String(), other.String(), "Demo.Readings", "Demo.Log", "BadRecord", "line 2", "3 dead letters with 3 records"} {
		if !strings.Contains(list.out, want) {
			t.Errorf("list does not say %q: %+v", want, list)
		}
	}
	if list.code != exitOK {
		t.Errorf("%+v", list)
	}
	for _, test := range []struct {
		args []string
		want int
	}{
		{nil, 3}, {[]string{"--table", "Readings"}, 2}, {[]string{"--table", "Demo.Log"}, 1}, {[]string{"--table", "Other"}, 0}, {[]string{"--code", "BadRecord"}, 3},
		{[]string{"--code", "malformed"}, 3}, {[]string{"--code", "X"}, 0}, {[]string{"--since", "1h"}, 3}, {[]string{"--before", "1h"}, 0}, {[]string{torn.String()}, 1}, {[]string{"--limit", "2"}, 2},
	} {
		got := look.unchangedBy(t, append([]string{"dead", "list", "--json"}, test.args...)...)
		n := 0
		for d := json.NewDecoder(strings.NewReader(got.out)); d.More(); n++ {
			var l letterStatus
			if err := d.Decode(&l); err != nil || l.Failure == nil || l.PayloadRecords != 1 || l.PayloadBytes == 0 {
				t.Fatalf("%+v, %v", l, err)
			}
		}
		if n != test.want || got.code != exitOK {
			t.Errorf("%q: %d dead letters, want %d: %+v", test.args, n, test.want, got)
		}
	}
	show := look.unchangedBy(t, "dead", "show", byText["{\"n\":\x1b3"].String())
	if show.code != exitOK || !strings.Contains(show.out, `{"n":\u001b3`) || !strings.Contains(show.out, "after 0 attempts") || !strings.Contains(show.out, "payload") {
		t.Errorf("%+v", show)
	}
	plan := look.unchangedBy(t, "dead", "retry", "--all")
	if plan.code != exitFailed || !strings.Contains(plan.out, "0 dead letters with 0 records would be stored again, as 0; 3 not. Nothing was changed") || !strings.Contains(plan.out, "line 1") {
		t.Errorf("%+v", plan)
	}
	files := filepath.Join(t.TempDir(), "repaired")
	export := look.unchangedBy(t, "dead", "export", "--table", "Readings", "--out", files)
	if export.code != exitOK || !strings.Contains(export.out, "2 dead letters with 2 records exported") {
		t.Errorf("%+v", export)
	}
	if again := look.unchangedBy(t, "dead", "export", torn.String(), "--out", files); again.code != exitFailed || !strings.Contains(again.stderr, "is not overwritten") {
		t.Errorf("%+v", again)
	}
	// One is repaired, and the other one is left as it is.
	file := filepath.Join(files, torn.String()+".data.json")
	if text, err := os.ReadFile(file); err != nil || strings.TrimSpace(string(text)) != `{"n":2` {
		t.Errorf("%q, %v", text, err)
	}
	if err := os.WriteFile(file, []byte("{\"n\":2}\n{\"n\":22}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	plan = look.unchangedBy(t, "dead", "retry", "--from", files)
	if plan.code != exitFailed || !strings.Contains(plan.out, "2 would be stored again for Demo.Readings, from "+file) || !strings.Contains(plan.out, "as 2; 1 not") {
		t.Errorf("%+v", plan)
	}
	done := kustospool(t, "", "dead", "retry", "--from", files, "--apply", "--spool", spool)
	if done.code != exitFailed || !strings.Contains(done.out, "1 dead letter with 1 record stored again, as 2; 1 not.") || !strings.Contains(done.out, ", receipt ") {
		t.Errorf("%+v", done)
	}
	// The next time it is not there any more.
	if gone := look.unchangedBy(t, "dead", "show", torn.String()); gone.code != exitUsage || !strings.Contains(gone.stderr, "there is no such dead letter") {
		t.Errorf("%+v", gone)
	}
	// To another table, from a file by its ID.
	one := filepath.Join(t.TempDir(), "one.json")
	if err := os.WriteFile(one, []byte(`{"l":1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	got := kustospool(t, "", "dead", "retry", other.String(), "--from", one, "--to-table", "Log2", "--apply", "--json", "--spool", spool)
	if l := decode[handledLetter](t, got.out); got.code != exitOK || !l.Done || l.ToTable != "Log2" || l.ToRecords != 1 || l.Receipt == "" || l.ID != other {
		t.Errorf("%+v", got)
	}
	if drop := look.unchangedBy(t, "dead", "drop", "--table", "Readings"); drop.code != exitOK || !strings.Contains(drop.out, "1 dead letter with 1 record would be dropped. Nothing was changed; --apply does it.") {
		t.Errorf("%+v", drop)
	}
	if drop := kustospool(t, "", "dead", "drop", "--table", "Readings", "--apply", "--spool", spool); drop.code != exitOK || !strings.Contains(drop.out, "1 dead letter with 1 record dropped.") {
		t.Errorf("%+v", drop)
	}
	if list := look.unchangedBy(t, "dead", "list"); list.code != exitOK || !strings.Contains(list.out, "No dead letter waits") {
		t.Errorf("%+v", list)
	}
	st := decode[operate.Status](t, look.unchangedBy(t, "status", "--json").out)
	if c := st.Counters; c.DeadWaiting != 0 || c.DeadHandled != 3 || c.Open != 3 {
		t.Errorf("%+v", c)
	}
	s := openDir(t, spool, out)
	if err := s.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.Settled.Ingested+st.Settled.HandedOver != 4 || st.Acked != st.Settled.Records() {
		t.Errorf("%+v", st.Settled)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if check := look.unchangedBy(t, "check"); check.code != exitOK {
		t.Errorf("%+v", check)
	}
}

// TestDeadUsage: what does not fit is refused by its name, and changes nothing.
func TestDeadUsage(t *testing.T) {
	spool, _, byText := badSpool(t)
	look := sample{dir: spool}
	one := byText[`{"n":2`].String()
	for _, test := range []struct {
		args []string
		want string
	}{
		{nil, "say what to do: list, show, export, retry or drop"},
		{[]string{"bury"}, `dead "bury": must be list`},
		{[]string{"show", "x"}, `"x": must be the ID of a dead letter`},
		{[]string{"show"}, "dead show: say which"},
		{[]string{"retry", "--apply"}, "dead retry: say which"},
		{[]string{"drop", "--apply"}, "dead drop: say which"},
		{[]string{"export", "--all"}, "--out DIR"},
		{[]string{"list", "--apply"}, "--apply is not for dead list"},
		{[]string{"drop", one, "--to-table", "T"}, "--to-table is not for dead drop"},
		{[]string{"retry", one, "--to-mapping", "m", "--no-mapping"}, "--no-mapping: must not be given beside --to-mapping"},
		{[]string{"drop", one, "--all"}, "--all: must not be given beside IDs"},
		{[]string{"list", "--limit", "-1"}, "--limit -1: must not be negative"},
		{[]string{"retry", "--all", "--from", filepath.Join(spool, "lock")}, "a file is for one dead letter, and 3 are meant"},
		{[]string{"retry", one, "--from", filepath.Join(spool, "nothing")}, "--from"},
		{[]string{"retry", one, "--from", filepath.Join(spool, "objects")}, "no file in it has the name"},
		{[]string{"retry", one, "--max-disk", "1MiB"}, "--max-disk"},
		{[]string{"show", strings.Replace(one, one[:4], "0000", 1)}, "there is no such dead letter"},
	} {
		if got := look.unchangedBy(t, append([]string{"dead"}, test.args...)...); got.code != exitUsage || !strings.Contains(got.stderr, test.want) {
			t.Errorf("%q: %+v", test.args, got)
		}
	}
	if got := kustospool(t, "", "dead", "list", "--spool", filepath.Join(spool, "none")); got.code != exitUsage {
		t.Errorf("%+v", got)
	}
}

// TestDeadOfASpoolInUse: its process does what the commands say.
func TestDeadOfASpoolInUse(t *testing.T) {
	base, err := os.MkdirTemp("", "ks") // short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	spool := filepath.Join(base, "s")
	s := openDir(t, spool, filepath.Join(base, "out"))
	defer s.Close()
	table, err := s.Table(ingest.Properties{Database: "Demo", Table: "Readings", Format: ingest.JSON})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := table.IngestReader(t.Context(), strings.NewReader("{\"n\":1\n{\"n\":2\n{\"n\":3\n")); err != nil {
		t.Fatal(err)
	}
	if err := s.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	files := filepath.Join(base, "repaired")
	run := func(code int, says string, args ...string) result {
		t.Helper()
		got := kustospool(t, "", append([]string{"dead"}, append(args, "--spool", spool, "--lock-timeout", "1ms")...)...)
		if got.code != code || !strings.Contains(got.out+got.stderr, says) {
			t.Errorf("%q: %+v, want code %d with %q", args, got, code, says)
		}
		return got
	}
	run(exitOK, "3 dead letters with 3 records", "list")
	first := decode[letterStatus](t, run(exitOK, "", "list", "--json", "--limit", "1").out)
	if first.RawBytes == 0 || first.RawBytes != first.PayloadBytes || first.Payload == "" || first.Failure == nil || first.SealedAt.IsZero() {
		t.Errorf("%+v", first)
	}
	run(exitOK, "after 0 attempts", "show", first.ID)
	run(exitFailed, "3 not. Nothing was changed", "retry", "--all")
	run(exitOK, "1 dead letter with 1 record exported", "export", first.ID, "--out", files)
	file := filepath.Join(files, first.ID+".data.json")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(strings.TrimSpace(string(text))+"}"), 0o600); err != nil {
		t.Fatal(err)
	}
	run(exitOK, "1 dead letter with 1 record would be stored again, as 1. Nothing was changed", "retry", "--from", files)
	if st := s.Stats().DeadLetters; st.Waiting != 3 {
		t.Errorf("%+v", st)
	}
	run(exitOK, "1 dead letter with 1 record stored again, as 1.", "retry", "--from", files, "--apply")
	run(exitUsage, "there is no such dead letter", "drop", first.ID, "--apply")
	run(exitOK, "2 dead letters with 2 records dropped.", "drop", "--all", "--apply")
	run(exitOK, "No dead letter waits", "list")
	if err := s.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.DeadLetters.Waiting != 0 || st.DeadLetters.Handled != 3 || st.Settled.Ingested+st.Settled.HandedOver != 1 {
		t.Errorf("%+v, %+v", st.DeadLetters, st.Settled)
	}
}

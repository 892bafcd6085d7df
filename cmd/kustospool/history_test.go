package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"kustospool/ingest"
	"kustospool/operate"
	"kustospool/store"
)

func TestHistory(t *testing.T) {
	s := makeSample(t)
	rows := func(args ...string) (out []operate.SettledBatch) {
		t.Helper()
		got := s.unchangedBy(t, append([]string{"history", "--json"}, args...)...)
		if got.code != exitOK {
			t.Fatalf("%q: %+v", args, got)
		}
		for d := json.NewDecoder(strings.NewReader(got.out)); d.More(); {
			var b operate.SettledBatch
			if err := d.Decode(&b); err != nil {
				t.Fatal(err)
			}
			out = append(out, b)
		}
		return out
	}
	all := rows()
	if len(all) != 2 || all[0].ID != s.ingested.String() || all[0].State != ingest.Succeeded.String() || all[0].Attempts != 1 || all[0].Records != 2 || all[0].IngestBy == "" ||
		all[0].First != ingest.NewID(s.id, s.lane, 1).String() || all[0].SealedAt.IsZero() || all[0].Updated.Before(all[0].SealedAt) ||
		all[1].ID != s.dead.String() || all[1].State != ingest.DeadLettered.String() || all[1].Failure == nil || all[1].Failure.Code != "BadRequest_Y" {
		t.Errorf("%+v", all)
	}
	for _, test := range []struct {
		args []string
		want int
	}{
		{[]string{"--table", "Readings"}, 2}, {[]string{"--table", "Demo.Log"}, 0}, {[]string{"--since", "1h"}, 2},
		{[]string{"--since", time.Now().Add(time.Hour).Format(time.RFC3339)}, 0}, {[]string{"--since", "2020-01-02"}, 2}, {[]string{"--limit", "1"}, 1},
	} {
		if got := rows(test.args...); len(got) != test.want || test.want == 1 && got[0].ID != s.dead.String() {
			t.Errorf("%q: %+v", test.args, got)
		}
	}
	text := s.unchangedBy(t, "history", "--limit", "1")
	if !strings.Contains(text.out, `BadRequest_Y`) || !strings.Contains(text.out, `\u001b[2J`) || strings.Contains(text.out, s.ingested.String()) ||
		!strings.Contains(text.stderr, "1 older ones are not shown") {
		t.Errorf("%+v", text)
	}
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"x"}, `history "x"`},
		{[]string{"--since", "yesterday"}, `"yesterday" for "--since" flag: must be a time such as`},
		{[]string{"--since", "-3h"}, `"-3h"`},
		{[]string{"--table", "Nothing"}, "must be one of the spool's: Demo.Log, Demo.Readings"},
		{[]string{"--limit", "-1"}, "--limit -1: must not be negative"},
	} {
		if got := s.unchangedBy(t, append([]string{"history"}, test.args...)...); got.code != exitUsage || !strings.Contains(got.stderr, test.want) {
			t.Errorf("%q: %+v", test.args, got)
		}
	}
}

// TestDamagedHistory: a row that cannot be read costs itself, and is told.
func TestDamagedHistory(t *testing.T) {
	s := makeSample(t)
	path := filepath.Join(s.dir, "manifest.db")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	hurt := bytes.ReplaceAll(data, []byte("BadRequest_Y"), []byte("BadRequest_Z"))
	if bytes.Equal(data, hurt) {
		t.Fatal("the row is not in the ledger")
	}
	if err := os.WriteFile(path, hurt, 0o600); err != nil {
		t.Fatal(err)
	}
	got := s.unchangedBy(t, "history")
	if got.code != exitFailed || !strings.Contains(got.out, s.ingested.String()) || strings.Contains(got.out, s.dead.String()) || !strings.Contains(got.stderr, "a row of the history") {
		t.Errorf("%+v", got)
	}
	r := checkOf(t, s, exitFailed)
	if r.Bad != 0 || len(r.Books) != 1 || !strings.Contains(r.Books[0], "a row of the history") {
		t.Errorf("%+v", r)
	}
}

// TestHistoryOfManyLanes: all rows are there, in the order in which they were
// settled, whatever pages of the ledger they are on.
func TestHistoryOfManyLanes(t *testing.T) {
	dir := t.TempDir()
	st, err := store.Open(dir, &store.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for i := range 300 {
		lane, err := st.Lane(t.Context(), &ingest.Properties{Database: "D", Table: fmt.Sprint("T", (i*7)%300), Format: ingest.JSON}, store.FrameLimit{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := st.AppendOne(t.Context(), lane, []byte("{}"), ""); err != nil {
			t.Fatal(err)
		}
		e, err := st.Seal(t.Context(), []store.Seal{{Lane: lane, First: 1, Last: 1, Bytes: 3, Guarantee: ingest.AtLeastOnce, Confirm: ingest.ConfirmIngested}})
		if err != nil {
			t.Fatal(err)
		}
		for _, next := range []ingest.State{ingest.Sending, ingest.Succeeded} {
			from := ingest.Sealed
			if next == ingest.Succeeded {
				from = ingest.Sending
			}
			if _, err := st.Transition(t.Context(), e[0].Batch.ID, from, func(e *store.Entry) { e.State = next }); err != nil {
				t.Fatal(err)
			}
		}
		want = append(want, e[0].Batch.ID.String())
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	got := kustospool(t, "", "history", "--spool", dir, "--limit", "0", "--json")
	var ids []string
	for d := json.NewDecoder(strings.NewReader(got.out)); d.More(); {
		var b operate.SettledBatch
		if err := d.Decode(&b); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, b.ID)
	}
	if !slices.Equal(ids, want) {
		t.Errorf("%d rows, want %d; %s", len(ids), len(want), got.stderr)
	}
}

func TestStatusOfAReceipt(t *testing.T) {
	s := makeSample(t)
	receipt := func(seq uint64, n int64) string {
		return ingest.Receipt{ID: ingest.NewID(s.id, s.lane, seq), Records: n}.String()
	}
	for _, test := range []struct {
		seq  uint64
		n    int64
		want string
	}{
		{1, 1, "1 succeeded"}, {2, 1, "1 succeeded"}, {3, 1, "1 dead-lettered"}, {4, 2, "2 sealed"}, {6, 1, "1 open"},
		{2, 9, "1 succeeded, 1 dead-lettered, 2 sealed, 5 open"},
	} {
		got := s.unchangedBy(t, "status", receipt(test.seq, test.n), "--json")
		var r operate.Receipt
		if err := json.Unmarshal([]byte(got.out), &r); err != nil || got.code != exitOK {
			t.Fatalf("%v: %+v", err, got)
		}
		var parts []string
		sum, states := int64(0), int64(0)
		for _, p := range r.Parts {
			parts = append(parts, fmt.Sprint(p.Records, " ", p.State))
			sum += p.Records
			if (p.Batch == nil) != (p.State == "open") {
				t.Errorf("%+v", p)
			}
		}
		for _, n := range r.States {
			states += n
		}
		if strings.Join(parts, ", ") != test.want || sum != test.n || states != test.n || r.Table != "Demo.Readings" {
			t.Errorf("%d+%d: %q, %+v", test.seq, test.n, parts, r)
		}
	}
	text := s.unchangedBy(t, "status", receipt(1, 10)).out
	for _, want := range []string{"succeeded  2 from number 1 on, batch " + s.ingested.String(), `BadRequest_Y: no such\u001b[2J thing`, "open           5 from number 6 on"} {
		if !strings.Contains(strings.Join(strings.Fields(text), " "), strings.Join(strings.Fields(want), " ")) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	for _, test := range []struct{ receipt, want string }{
		{"x", `"x": must be 32 characters long`},
		{receipt(11, 1), "must be among the 10 that the spool was given for Demo.Readings"},
		{receipt(0, 1), "must be among the 10"},
		{receipt(1, 1<<61), "must be among the 10"},
		{ingest.NewID(s.id, 77, 1).String(), "the spool has no lane 77"},
		{ingest.NewID(ingest.SpoolID{1}, s.lane, 1).String(), "is of spool 0100000000000000, and this one is " + s.id.String()},
	} {
		if got := s.unchangedBy(t, "status", test.receipt); got.code != exitUsage || !strings.Contains(got.stderr, test.want) {
			t.Errorf("%s: %+v", test.receipt, got)
		}
	}
}

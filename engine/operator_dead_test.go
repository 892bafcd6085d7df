package engine_test

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/operate"
)

// TestDeadLettersThroughTheSocket: what an operator asks of a spool in use, it
// does: dead letters are listed a page at a time, read in pieces, retried and dropped.
func TestDeadLettersThroughTheSocket(t *testing.T) {
	dir := shortDir(t)
	f, on := fussy()
	o := soon()
	o.NoSocket = false
	o.Batch.MaxRecords = 1
	s := open(t, dir, f, o)
	big := `{"bad":"` + strings.Repeat("x", operate.MaxDeadBytes+100) + `"}`
	put(t, s, telemetry, big, `{"bad":1}`, `{"bad":2}`)
	other := telemetry
	other.Table = "Other"
	put(t, s, other, `{"bad":3}`)
	drain(t, s)
	on.Store(false)
	c := asked(t, dir)
	ctx := t.Context()
	list := func(q operate.DeadQuery) (out []operate.DeadLetter) {
		t.Helper()
		for {
			page, err := c.ListDead(ctx, q)
			if err != nil || q.Limit > 0 && len(page.Letters) > q.Limit || len(page.Unreadable) > 0 {
				t.Fatalf("%+v, %v", page, err)
			}
			out = append(out, page.Letters...)
			if q.After = page.Next; q.After == "" {
				return out
			}
		}
	}
	byText := map[string]ingest.BatchID{}
	for _, d := range list(operate.DeadQuery{Limit: 1}) {
		var text []byte
		for end := false; !end; {
			piece, err := c.DeadPayload(ctx, operate.DeadPayloadQuery{ID: d.ID.String(), Offset: uint64(len(text))})
			if err != nil {
				t.Fatal(err)
			}
			text, end = append(text, piece.Data...), piece.End
		}
		if int64(len(text)) != d.Bytes || d.Properties.Format != ingest.JSON || d.Failure == nil || d.Last != d.First {
			t.Errorf("%d bytes of %+v", len(text), d)
		}
		byText[string(bytes.TrimSpace(text))] = d.ID
	}
	if len(byText) != 4 || byText[big] == (ingest.BatchID{}) {
		t.Fatalf("%d dead letters", len(byText))
	}
	for _, test := range []struct {
		q    operate.DeadQuery
		want int
	}{{operate.DeadQuery{Table: "Telemetry"}, 3}, {operate.DeadQuery{Table: "Demo.Other"}, 1}, {operate.DeadQuery{Code: "x"}, 0}, {operate.DeadQuery{Code: "malformed"}, 4}} {
		if got := list(test.q); len(got) != test.want {
			t.Errorf("%+v: %d", test.q, len(got))
		}
	}
	one, two, three := byText[`{"bad":1}`].String(), byText[`{"bad":2}`].String(), byText[`{"bad":3}`].String()
	plan, err := c.RetryDead(ctx, operate.RetryDead{ID: one, Table: "Mended"})
	if err != nil || plan.Records != 1 || plan.Table != "Mended" || plan.Receipt != "" || plan.Refused != "" {
		t.Errorf("%+v, %v", plan, err)
	}
	if plan, err = c.RetryDead(ctx, operate.RetryDead{ID: one, Records: []byte(`{"torn`)}); err != nil || !strings.Contains(plan.Refused, "line 1") {
		t.Errorf("%+v, %v", plan, err)
	}
	deadCounts(t, s.Stats(), 4, 0)
	done, err := c.RetryDead(ctx, operate.RetryDead{ID: one, Apply: true, Table: "Mended"})
	if err != nil || done.Records != 1 || done.Receipt == "" {
		t.Errorf("%+v, %v", done, err)
	}
	large := []byte(`{"mended":"` + strings.Repeat("y", 2<<20) + `"}`) // more than other requests may have
	if _, err := c.RetryDead(ctx, operate.RetryDead{ID: byText[big].String(), Apply: true, Records: large}); err != nil {
		t.Error(err)
	}
	if _, err := c.DropDead(ctx, operate.DropDead{ID: three}); err != nil {
		t.Error(err)
	}
	for name, test := range map[string]struct {
		do   func() error
		want operate.Code
	}{
		"one that is gone": {func() error { _, err := c.RetryDead(ctx, operate.RetryDead{ID: one, Apply: true}); return err }, operate.NotFound},
		"dropped again":    {func() error { _, err := c.DropDead(ctx, operate.DropDead{ID: three}); return err }, operate.NotFound},
		"no id":            {func() error { _, err := c.DropDead(ctx, operate.DropDead{ID: "x"}); return err }, operate.Invalid},
		"read, and gone":   {func() error { _, err := c.DeadPayload(ctx, operate.DeadPayloadQuery{ID: one}); return err }, operate.NotFound},
		"repaired, and no JSON": {func() error {
			_, err := c.RetryDead(ctx, operate.RetryDead{ID: two, Apply: true, Records: []byte("{")})
			return err
		}, operate.Invalid},
		"repaired, and too large": {func() error {
			_, err := c.RetryDead(ctx, operate.RetryDead{ID: two, Apply: true, Records: make([]byte, operate.MaxRepaired+operate.MaxRequest)})
			return err
		}, operate.TooLarge},
	} {
		var e *operate.Error
		if err := test.do(); !errors.As(err, &e) || e.Code != test.want {
			t.Errorf("%s: %v, want %s", name, err, test.want)
		}
	}
	deadCounts(t, s.Stats(), 1, 3)
	drain(t, s)
	sameRows(t, f.AllRows(), []string{`{"bad":1}`, string(large)})
	conserved(t, s)
}

// TestDeadLettersAtRest: those of a spool at rest are read by the same calls, with the same
// answers, and no more can be done to them.
func TestDeadLettersAtRest(t *testing.T) {
	dir := shortDir(t)
	f, _ := fussy()
	s := open(t, dir, f, soon())
	put(t, s, telemetry, `{"bad":1}`)
	drain(t, s)
	read := func(r operate.DeadReader) (*operate.DeadList, string) {
		t.Helper()
		list, err := r.ListDead(t.Context(), operate.DeadQuery{Table: "Telemetry"})
		if err != nil || len(list.Letters) != 1 {
			t.Fatalf("%+v, %v", list, err)
		}
		piece, err := r.DeadPayload(t.Context(), operate.DeadPayloadQuery{ID: list.Letters[0].ID.String()})
		if err != nil || !piece.End {
			t.Fatalf("%+v, %v", piece, err)
		}
		return list, string(piece.Data)
	}
	list, data := read(s.Operator().(operate.DeadReader))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	v, err := engine.Look(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if again, same := read(v.Operator().(operate.DeadReader)); !reflect.DeepEqual(again, list) || same != data || data == "" {
		t.Errorf("at rest %+v %q, in use %+v %q", again, same, list, data)
	}
	if _, ok := v.Operator().(operate.DeadKeeper); ok {
		t.Error("a spool at rest deals with dead letters")
	}
}

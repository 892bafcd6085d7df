package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/transport/dir"
	"kustospool/transport/transporttest"
)

// TestPositions: every way in carries a position, which is there in the next
// process, and is not there when the call failed.
func TestPositions(t *testing.T) {
	spool, out := t.TempDir(), t.TempDir()
	open := func() *engine.Spool {
		client, err := dir.NewClient(out, nil)
		if err != nil {
			t.Fatal(err)
		}
		s, err := engine.Open(spool, client, nil)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	p := ingest.Properties{Database: "D", Table: "T", Format: ingest.JSON}
	at := func(name string, n int) ingest.Position {
		return ingest.Position{Name: name, Value: fmt.Append(nil, n)}
	}
	line := []byte(`{"a":1}`)
	s := open()
	table, err := s.Table(p)
	if err != nil {
		t.Fatal(err)
	}
	one, two := at("request", 1), at("all", 2)
	if _, err := s.Ingest(t.Context(), &ingest.Request{Properties: p, Data: line, Position: &one}); err != nil {
		t.Fatal(err)
	}
	older := at("all", 1)
	if _, err := s.IngestAll(t.Context(), []*ingest.Request{{Properties: p, Data: line, Position: &older}, {Properties: p, Data: line, Position: &two}}); err != nil {
		t.Fatal(err)
	}
	if _, err := table.Ingest(t.Context(), line, at("table", 3)); err != nil {
		t.Fatal(err)
	}
	if _, err := table.IngestAll(t.Context(), [][]byte{line, line}, at("table all", 4)); err != nil {
		t.Fatal(err)
	}
	if _, err := table.IngestReader(t.Context(), bytes.NewReader(bytes.Repeat(append(line, '\n'), 10)), at("reader", 5)); err != nil {
		t.Fatal(err)
	}
	if _, err := table.IngestReader(t.Context(), bytes.NewReader(bytes.Repeat(append(line, '\n'), 1<<20)), at("objects", 6)); err != nil {
		t.Fatal(err)
	}
	if _, err := table.Ingest(t.Context(), nil, at("table", 9)); err == nil {
		t.Error("a bad record was taken")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open()
	defer s.Close()
	want := map[string]int{"request": 1, "all": 2, "table": 3, "table all": 4, "reader": 5, "objects": 6}
	for _, pos := range s.Positions() {
		if string(pos.Value) != fmt.Sprint(want[pos.Name]) {
			t.Errorf("position %s is %s, want %d", pos.Name, pos.Value, want[pos.Name])
		}
		delete(want, pos.Name)
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
	if err := s.RemovePosition(t.Context(), "reader"); err != nil {
		t.Error(err)
	}
	if _, ok := s.Position("reader"); ok {
		t.Error("it is still there")
	}
	if err := s.RemovePosition(t.Context(), "reader"); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("removed twice: %v", err)
	}
}

// follow writes what a source holds behind the position that the spool has for
// it, in writes of n bytes, until it is through or the context of a write ends,
// which it does after so many writes.
func follow(t *testing.T, s *engine.Spool, source string, n, writes int) (through bool) {
	t.Helper()
	table, err := s.Table(telemetry)
	if err != nil {
		t.Fatal(err)
	}
	begin := int64(0)
	if pos, ok := s.Position("source"); ok {
		if begin, err = strconv.ParseInt(string(pos.Value), 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w := table.Writer(ctx)
	if err := w.Carry(func(written int64) ingest.Position {
		return ingest.Position{Name: "source", Value: strconv.AppendInt(nil, begin+written, 10)}
	}); err != nil {
		t.Fatal(err)
	}
	rest := source[begin:]
	for ; len(rest) > 0; writes-- {
		if writes == 0 {
			return false // the writer is left as a crash leaves it
		}
		some := rest[:min(n, len(rest))]
		if _, err := w.Write([]byte(some)); err != nil {
			t.Fatal(err)
		}
		rest = rest[len(some):]
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return true
}

// TestWriter_Carry: a source that is cut anywhere, and continued at its
// position by the next process, arrives once, dead letters included. The control
// begins at its beginning each time, and must show doubles.
func TestWriter_Carry(t *testing.T) {
	lines := rows(60)
	lines[20], lines[41] = `{"torn":`, "[1]"
	source := strings.Join(lines, "\r\n\n")
	want := slices.DeleteFunc(slices.Clone(lines), func(l string) bool { return l == lines[20] || l == lines[41] })
	slices.Sort(want)
	for _, size := range []int{1, 7, 100, 1 << 20} {
		for _, control := range []bool{false, true} {
			if control && size != 100 {
				continue
			}
			fake, path := transporttest.NewFake(), t.TempDir()
			o := soon()
			o.OnBadRecord = engine.DeadLetterBadRecords
			var dead int64
			for through, round := false, 0; !through; round++ {
				if round > 1000 {
					t.Fatal("it does not get on")
				}
				s, err := engine.Open(path, openDestination{fake.Tracking()}, o)
				if err != nil {
					t.Fatal(err)
				}
				if control && round < 3 && round > 0 {
					if err := s.RemovePosition(t.Context(), "source"); err != nil {
						t.Fatal(err)
					}
				}
				through = follow(t, s, source, size, 3+200/size)
				if through {
					if err := s.Drain(t.Context()); err != nil {
						t.Fatal(err)
					}
					if pos, ok := s.Position("source"); !ok || string(pos.Value) != strconv.Itoa(len(source)) {
						t.Errorf("writes of %d: the position at the end is %s, want %d", size, pos.Value, len(source))
					}
					dead = s.Stats().Settled.DeadLettered
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
			got := fake.AllRows()
			slices.Sort(got)
			once := slices.Equal(got, want) && dead == 2
			if once == control {
				t.Errorf("writes of %d, control %v: %d rows and %d dead letters, of %d and 2", size, control, len(got), dead, len(want))
			}
		}
	}
}

// TestWriter_CarryRefuses: what cannot be is an error that names field and
// rule, and stores nothing.
func TestWriter_CarryRefuses(t *testing.T) {
	s := open(t, t.TempDir(), openDestination{transporttest.NewFake().Tracking()}, soon())
	writer := func(f ingest.Format) *engine.Writer {
		p := telemetry
		p.Format = f
		table, err := s.Table(p)
		if err != nil {
			t.Fatal(err)
		}
		return table.Writer(t.Context())
	}
	at := func(name string) func(int64) ingest.Position {
		return func(int64) ingest.Position { return ingest.Position{Name: name, Value: []byte{}} }
	}
	refused := func(err error, field string) {
		t.Helper()
		if f, ok := errors.AsType[*ingest.FieldError](err); !ok || f.Field != field {
			t.Errorf("%v, want an error of the field %s", err, field)
		}
	}
	refused(writer(ingest.JSON).Carry(nil), "position")
	refused(writer(ingest.MultiJSON).Carry(at("x")), "format")
	w := writer(ingest.JSON)
	if _, err := w.Write([]byte("{")); err != nil {
		t.Fatal(err)
	}
	refused(w.Carry(at("x")), "position")
	for _, name := range []string{"", strings.Repeat("x", 256), "\xff"} {
		w := writer(ingest.JSON)
		if err := w.Carry(at(name)); err != nil {
			t.Fatal(err)
		}
		_, err := w.Write([]byte("{}\n"))
		refused(err, "position")
	}
	if n := s.Stats().Acked; n != 0 || len(s.Positions()) != 0 {
		t.Errorf("%d records and %d positions were stored", n, len(s.Positions()))
	}
}

// TestPositions_Request: a duplicate's position is stored, and that of a
// refused request, and of those beside it, is not.
func TestPositions_Request(t *testing.T) {
	s := open(t, t.TempDir(), openDestination{transporttest.NewFake().Tracking()}, soon())
	for _, value := range []string{"1", "2"} {
		req := request(telemetry, row(1))
		req.Key, req.Position = "k", &ingest.Position{Name: "source", Value: []byte(value)}
		rcpt, err := s.Ingest(t.Context(), req)
		if err != nil || rcpt.Duplicate != (value == "2") {
			t.Fatal(rcpt, err)
		}
	}
	good, bad := request(telemetry, row(2)), request(telemetry, "[")
	good.Position = &ingest.Position{Name: "source", Value: []byte("3")}
	bad.Position = &ingest.Position{Name: "other", Value: []byte("3")}
	if _, err := s.IngestAll(t.Context(), []*ingest.Request{good, bad}); !errors.Is(err, ingest.ErrInvalid) {
		t.Fatal(err)
	}
	if all := s.Positions(); len(all) != 1 || string(all[0].Value) != "2" {
		t.Errorf("positions %s, want the duplicate's alone", all)
	}
}

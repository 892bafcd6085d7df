package engine_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/transport/dir"
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

package telemetry_test

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"strings"
	"testing"

	"kustospool/cmd/bench/telemetry"
)

func TestGenerator_MakesTheCommittedFile(t *testing.T) {
	var made bytes.Buffer
	if err := telemetry.New(telemetry.Seed).Write(&made, telemetry.Records); err != nil {
		t.Fatal(err)
	}
	committed, err := os.ReadFile("../../../testdata/telemetry.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(made.Bytes(), committed) {
		t.Errorf("the generator makes %d bytes that differ from the %d committed; run: go run ./testdata/gen > testdata/telemetry.jsonl",
			made.Len(), len(committed))
	}
}

func TestGenerator_RecordsAreJSONLines(t *testing.T) {
	g := telemetry.New(7)
	var nested, beyond, foreign, escaped, events int
	seen := map[string]bool{}
	for i := range 2000 {
		line := g.Append(nil)
		var doc struct {
			Seq      json.Number
			At       string
			Vessel   struct{ Name string }
			Position []json.Number
			Engine   struct {
				Cylinders []json.Number
				Odometer  int64
			}
			Note   *string
			Events []struct{ Kind string }
		}
		if err := json.Unmarshal(line, &doc); err != nil {
			t.Fatalf("record %d: %v\n%s", i, err, line)
		}
		if bytes.IndexByte(line, '\n') >= 0 || seen[string(line)] {
			t.Fatalf("record %d has a newline or came before: %s", i, line)
		}
		seen[string(line)] = true
		if len(doc.Position) == 2 && len(doc.Engine.Cylinders) == 4 {
			nested++
		}
		if doc.Engine.Odometer > 1<<53 {
			beyond++
		}
		if strings.ContainsFunc(doc.Vessel.Name, func(r rune) bool { return r > 0x2000 }) {
			foreign++
		}
		if doc.Note != nil && strings.ContainsAny(*doc.Note, "\n\t\"\\") {
			escaped++
		}
		events += len(doc.Events)
	}
	if nested != 2000 || beyond != 2000 || foreign == 0 || escaped == 0 || events == 0 {
		t.Errorf("nested %d, beyond 2^53 %d, foreign %d, escaped %d, events %d", nested, beyond, foreign, escaped, events)
	}
}

func BenchmarkGenerator(b *testing.B) {
	g := telemetry.New(1)
	for b.Loop() {
		if err := g.Write(io.Discard, 1); err != nil {
			b.Fatal(err)
		}
	}
}

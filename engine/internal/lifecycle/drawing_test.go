package lifecycle

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"kustospool/ingest"
)

var update = flag.Bool("update", false, "write the drawing in docs anew")

// The drawing in the docs is made of the table:
//
//	go test ./engine/internal/lifecycle -run Drawing -update
func TestDrawingIsOfTheTable(t *testing.T) {
	const file = "../../../docs/batch-life.md"
	want := drawing(Life)
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if strings.ReplaceAll(string(have), "\r\n", "\n") != want {
		t.Errorf("%s is not what the table says: run this test with -update", file)
	}
}

func drawing(table Table) string {
	var b strings.Builder
	b.WriteString("# The life of a batch\n\n" +
		"Made of the table in `engine/internal/lifecycle/table.go` by its test; do not edit. The first rule that fits decides.\n\n" +
		"```mermaid\nstateDiagram-v2\n\t[*] --> open\n")
	type arrow struct{ from, to ingest.State }
	var order []arrow
	labels := map[arrow][]string{}
	for _, r := range table {
		for _, from := range r.From {
			if r.To == 0 {
				continue
			}
			a := arrow{from, r.To}
			if labels[a] == nil {
				order = append(order, a)
			}
			for _, k := range r.On {
				if label := shown(k.String()); !slices.Contains(labels[a], label) {
					labels[a] = append(labels[a], label)
				}
			}
		}
	}
	for _, a := range order {
		fmt.Fprintf(&b, "\t%s --> %s: %s\n", node(a.from), node(a.to), strings.Join(labels[a], ", "))
	}
	for _, s := range ingest.States() {
		if s.Final() {
			fmt.Fprintf(&b, "\t%s --> [*]\n", node(s))
		}
	}
	b.WriteString("```\n\n| state | event | if | becomes | the row gets | then |\n|---|---|---|---|---|---|\n")
	for _, r := range table {
		var from, on []string
		for _, s := range r.From {
			from = append(from, s.String())
		}
		for _, k := range r.On {
			on = append(on, k.String())
		}
		becomes := ""
		if r.To != 0 {
			becomes = r.To.String()
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", strings.Join(from, ", "), strings.Join(on, ", "), r.If, becomes, r.Write, r.Then)
	}
	return b.String()
}

// node is a state's name as the drawing has it.
func node(s ingest.State) string { return strings.ReplaceAll(s.String(), "-", "_") }

// shown is an event's name where a colon would end it.
func shown(s string) string { return strings.ReplaceAll(s, ": ", " ") }

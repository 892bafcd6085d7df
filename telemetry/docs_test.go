package telemetry_test

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"kustospool/telemetry"
)

var update = flag.Bool("update", false, "write the table in docs/telemetry.md anew")

const (
	page        = "../docs/telemetry.md"
	begin, end  = "<!-- the table: go test ./telemetry -run Docs -update -->\n", "<!-- end of the table -->\n"
	perInstance = "| `%s` | `%s` | %s | %s | %s | %s |\n"
)

// documented is the table as the page has it.
func documented() string {
	var b strings.Builder
	b.WriteString("\n| OpenTelemetry | Prometheus | kind, unit | labels | meaning | what to do |\n|---|---|---|---|---|---|\n")
	for _, in := range telemetry.Instruments() {
		labels := "-"
		if len(in.Labels) > 0 {
			labels = "`" + strings.Join(in.Labels, "` `") + "`"
		}
		fmt.Fprintf(&b, perInstance, in.Name, in.Prometheus(), in.Kind.String()+", "+in.Unit, labels, in.Help, in.Do)
	}
	b.WriteString("\n")
	return b.String()
}

// TestDocs: the page has the table of the code, and names nothing else.
func TestDocs(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	table, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", page)
	}
	if table != documented() {
		if !*update {
			t.Fatalf("the table of %s is not the code's: run this test with -update", page)
		}
		if err := os.WriteFile(page, []byte(before+begin+documented()+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, bad := range unknownNames(before + after) {
		t.Errorf("%s names %s, which does not exist", page, bad)
	}
}

var namesOfMetrics = regexp.MustCompile(`\bkustospool[._][a-z._]*[a-z]\b`)

// unknownNames lists the names of metrics in a text that no instrument has.
func unknownNames(text string) (bad []string) {
	known := map[string]bool{}
	for _, in := range telemetry.Instruments() {
		known[in.Name], known[in.Prometheus()] = true, true
		if in.Kind == telemetry.Histogram {
			for _, part := range []string{"_bucket", "_sum", "_count"} {
				known[in.Prometheus()+part] = true
			}
		}
	}
	for _, name := range namesOfMetrics.FindAllString(text, -1) {
		if !known[name] {
			bad = append(bad, name)
		}
	}
	return bad
}

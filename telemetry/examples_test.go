package telemetry_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"kustospool/telemetry"
)

const alerts, dashboard = "examples/alerts.yml", "examples/grafana.json"

// selector finds in an expression each metric with the labels that it is narrowed by.
var (
	selector = regexp.MustCompile(`\b(kustospool_[a-z_]+)(?:\{([^}]*)\})?`)
	matcher  = regexp.MustCompile(`([a-z_]+)\s*(=~|!=|!~|=)\s*"([^"]*)"`)
	grouping = regexp.MustCompile(`\bby \(([^)]*)\)`)
)

// wrongIn lists what an expression names that no series has: metrics, labels, and
// values of labels whose values are fixed.
func wrongIn(expr string) (bad []string) {
	bad = unknownNames(expr)
	known := map[string]*telemetry.Instrument{}
	for _, in := range telemetry.Instruments() {
		known[in.Prometheus()] = in
		for _, part := range []string{"_bucket", "_sum", "_count"} {
			if in.Kind == telemetry.Histogram {
				known[in.Prometheus()+part] = in
			}
		}
	}
	labels := map[string]bool{"spool": true, "le": true}
	for _, m := range selector.FindAllStringSubmatch(expr, -1) {
		in := known[m[1]]
		if in == nil {
			continue // unknownNames has it
		}
		if in.Kind == telemetry.Histogram && m[1] == in.Prometheus() {
			bad = append(bad, m[1]+" is a histogram, and has no value of its own")
		}
		own := map[string]bool{"spool": true}
		for _, l := range in.Labels {
			own[l], labels[l] = true, true
		}
		for _, l := range matcher.FindAllStringSubmatch(m[2], -1) {
			if !own[l[1]] {
				bad = append(bad, m[1]+" has no label "+l[1])
			}
			if l[2] == "=" && !strings.Contains(in.Help, l[3]) {
				bad = append(bad, m[1]+" has no "+l[1]+" "+l[3])
			}
		}
	}
	for _, g := range grouping.FindAllStringSubmatch(expr, -1) {
		for _, l := range strings.Split(g[1], ",") {
			if !labels[strings.TrimSpace(l)] {
				bad = append(bad, "nothing has the label "+l)
			}
		}
	}
	if strings.Count(expr, "(") != strings.Count(expr, ")") {
		bad = append(bad, "parentheses")
	}
	return bad
}

func TestWrongIn(t *testing.T) {
	for expr, n := range map[string]int{
		`sum by (result) (rate(kustospool_records_settled_total{spool=~"$spool"}[5m]))`: 0,
		`kustospool_records_settled`:                               1,
		`kustospool_records_settled_total{result="droped"}`:        1,
		`kustospool_queue_age_seconds{table="T"}`:                  2,
		`sum by (color) (kustospool_queue_age_seconds)`:            1,
		`kustospool_sync_duration_seconds`:                         1,
		`sum by (le) (kustospool_sync_duration_seconds_bucket`:     1,
		`kustospool_table_held{database="D",table="T"}`:            2, // values that are not fixed do not belong in an example
		`kustospool_records_settled_total{result="dropped"} > (0)`: 0,
	} {
		if bad := wrongIn(expr); len(bad) != n {
			t.Errorf("%s: %q, want %d", expr, bad, n)
		}
	}
}

// TestAlerts: the rules name what exists. promtool, where it is, has the last word
// on their syntax.
func TestAlerts(t *testing.T) {
	text, err := os.ReadFile(alerts)
	if err != nil {
		t.Fatal(err)
	}
	rules := regexp.MustCompile(`(?m)^      - alert: (\w+)\n        expr: (.+)\n((?:        .+\n)+)`).FindAllStringSubmatch(string(text), -1)
	if n := strings.Count(string(text), "alert:"); len(rules) != n || n < 8 {
		t.Fatalf("%d rules of %d are read", len(rules), n)
	}
	names := map[string]bool{}
	for _, r := range rules {
		for _, bad := range wrongIn(r[2]) {
			t.Errorf("%s: %s", r[1], bad)
		}
		if names[r[1]] || !strings.Contains(r[3], "severity:") || !strings.Contains(r[3], "summary:") {
			t.Errorf("%s: a name twice, or no severity or summary", r[1])
		}
		names[r[1]] = true
	}
	for _, bad := range unknownNames(string(text)) {
		t.Error(bad)
	}
	tool, err := exec.LookPath("promtool")
	if err != nil {
		t.Log("promtool is not installed (Debian has it in the package prometheus): the syntax of the expressions was not checked by it")
		return
	}
	if said, err := exec.Command(tool, "check", "rules", alerts).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, said)
	}
}

// TestDashboard: each panel has a place of its own, a unit, and expressions that name
// what exists.
func TestDashboard(t *testing.T) {
	text, err := os.ReadFile(dashboard)
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Title, UID string
		Panels     []struct {
			ID          int
			Title, Type string
			Description string
			GridPos     struct{ X, Y, W, H int }
			FieldConfig struct{ Defaults struct{ Unit string } }
			Targets     []struct{ Expr, LegendFormat string }
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	taken, ids := map[[2]int]string{}, map[int]bool{}
	for _, p := range board.Panels {
		if p.Title == "" || p.Description == "" || p.FieldConfig.Defaults.Unit == "" || len(p.Targets) == 0 || ids[p.ID] {
			t.Errorf("panel %d: %+v", p.ID, p)
		}
		ids[p.ID] = true
		for x := range p.GridPos.W {
			for y := range p.GridPos.H {
				at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
				if other, ok := taken[at]; ok || at[0] >= 24 {
					t.Fatalf("%s stands on %q, or beside the page", p.Title, other)
				}
				taken[at] = p.Title
			}
		}
		for _, target := range p.Targets {
			for _, bad := range wrongIn(target.Expr) {
				t.Errorf("%s: %s in %s", p.Title, bad, target.Expr)
			}
			for _, l := range regexp.MustCompile(`\{\{(\w+)\}\}`).FindAllStringSubmatch(target.LegendFormat, -1) {
				if !strings.Contains(target.Expr, l[1]) {
					t.Errorf("%s: the legend names %s, which %s does not keep", p.Title, l[1], target.Expr)
				}
			}
		}
	}
	if len(board.Panels) < 10 || len(unknownNames(string(text))) > 0 {
		t.Errorf("%d panels; %q", len(board.Panels), unknownNames(string(text)))
	}
}

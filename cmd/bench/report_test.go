package main

import (
	"bytes"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"kustospool/cmd/bench/internal/report"
)

var update = flag.Bool("update", false, "write the golden charts")

const (
	recorded = "../../docs/benchmarks/2026-11-27.txt"
	images   = "../../docs/images"
	page     = "../../docs/benchmarks.md"
)

// charts runs the command and returns what it wrote, by name.
func charts(t *testing.T, files ...string) map[string][]byte {
	t.Helper()
	dir := t.TempDir()
	code, stdout, stderr := bench(t, append([]string{"report", "-out", dir}, files...)...)
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	out := map[string][]byte{}
	for name := range listed(t, dir) {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		out[name] = data
		if !strings.Contains(stdout, filepath.Join(dir, name)+"\t") {
			t.Errorf("%s is written and not told", name)
		}
	}
	return out
}

// listed are the charts in a directory. Nothing else may be there that the command left.
func listed(t *testing.T, dir string) map[string]bool {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".bench-report-") {
			t.Errorf("%s is left behind", e.Name())
		}
		if strings.HasPrefix(e.Name(), "bench-") {
			names[e.Name()] = true
		}
	}
	return names
}

// same compares charts with those of a directory, or writes them with -update.
func same(t *testing.T, got map[string][]byte, dir string) {
	t.Helper()
	for name, data := range got {
		file := filepath.Join(dir, name)
		if *update {
			if err := os.WriteFile(file, data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if want, err := os.ReadFile(file); err != nil || !bytes.Equal(data, want) {
			t.Errorf("%s is not what is drawn now (%v); look at it, and write it with: go test ./cmd/bench -run TestReport -update", file, err)
		}
	}
	for name := range listed(t, dir) {
		if got[name] == nil {
			t.Errorf("%s is drawn by nothing", filepath.Join(dir, name))
		}
	}
}

func TestReportOfASmallRun(t *testing.T) {
	got := charts(t, "testdata/report/run.txt")
	same(t, got, "testdata/report")
	if len(got) < 3 {
		t.Errorf("%d charts", len(got))
	}
}

// The plots of docs/benchmarks.md are those of the output beside it, and all shown.
func TestReportOfTheDocs(t *testing.T) {
	got := charts(t, recorded)
	same(t, got, images)
	text := readFile(t, page)
	for name := range got {
		// Those of other record sizes than 1 KiB add nothing to the bars.
		if n := strings.Count(text, "](images/"+name+")"); n != 1 && !regexp.MustCompile(`-(128|16384)\.svg$`).MatchString(name) {
			t.Errorf("docs/benchmarks.md shows %s %d times", name, n)
		}
	}
	for _, secret := range []string{"/tmp", "/home", "/root", "@"} {
		if strings.Contains(readFile(t, recorded), secret) {
			t.Errorf("%s holds %q", recorded, secret)
		}
	}
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

var (
	acksRow  = regexp.MustCompile(`^\| ([a-z0-9-]+) \|((?: [\d,]+, \d+/\d+ \|){5})$`)
	acksCell = regexp.MustCompile(`([\d,]+), (\d+)/(\d+) \|`)
)

// The acks tables of the page have the medians of the output: that of 1 KiB comes
// first, and then that of 16 KiB.
func TestTablesOfTheDocs(t *testing.T) {
	f, err := os.Open(recorded)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	runs, err := report.Read(f, recorded)
	if err != nil {
		t.Fatal(err)
	}
	results, _, _ := strings.Cut(readFile(t, page), "## History")
	cells := 0
	for i, table := range strings.Split(results, "| engine | 1 | 16 | 64 | 256 | 1024 |")[1:] {
		if i > 1 {
			t.Fatal("a third table of acks")
		}
		for line := range strings.Lines(table) {
			m := acksRow.FindStringSubmatch(strings.TrimSpace(line))
			if m == nil {
				continue
			}
			for k, cell := range acksCell.FindAllStringSubmatch(m[2], -1) {
				cells++
				if err := compareCell(&runs[i], m[1], []int{1024, 16384}[i], []int{1, 16, 64, 256, 1024}[k], cell[1:]); err != nil {
					t.Error(err)
				}
			}
		}
	}
	if cells < 100 { // the control: the rows are found at all
		t.Errorf("%d cells were compared", cells)
	}
	if compareCell(&runs[0], "kustospool", 1024, 1, []string{"11,057", "89", "150"}) == nil || compareCell(&runs[0], "kustospool", 1024, 1, []string{"11,056", "91", "150"}) == nil {
		t.Error("another figure is taken for that of the run")
	}
}

// compareCell holds acks, p50 and p99 of the page against a run. The page has the
// quantiles as the run's own table, from nanoseconds; its benchmark lines have them
// rounded to a tenth of a microsecond.
func compareCell(run *report.Run, engine string, record, producers int, cell []string) error {
	for i, unit := range []string{"acks/s", "p50-us", "p99-us"} {
		want, ok := run.Median(engine, record, producers, unit)
		got, err := strconv.ParseFloat(strings.ReplaceAll(cell[i], ",", ""), 64)
		if !ok || err != nil || math.Abs(got-want) > 0.56 {
			return fmt.Errorf("%s with %d producers of %d bytes: the page has %s %s, the run %v (%v)", engine, producers, record, cell[i], unit, want, err)
		}
	}
	return nil
}

// Bad input changes nothing.
func TestReportRefuses(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.txt")
	good := readFile(t, "testdata/report/run.txt")
	if err := os.WriteFile(bad, []byte(good+"BenchmarkIngest/engine=a/record=1 1 1 acks/s\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "alone.txt"), []byte("BenchmarkIngest/engine=a/record=1/producers=1 1 1 acks/s\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"no file", nil, 2, "at least one FILE"},
		{"no such file", []string{filepath.Join(dir, "none")}, 1, "none"},
		{"one of two is bad", []string{"testdata/report/run.txt", bad}, 1, fmt.Sprintf("%s:%d: wants /record=N and /producers=N", bad, strings.Count(good, "\n")+1)},
		{"nothing to draw", []string{filepath.Join(dir, "alone.txt")}, 1, "nothing to draw"},
		{"prefix", []string{"-prefix", "../x", "testdata/report/run.txt"}, 2, `-prefix "../x": must be a name`},
		{"flag", []string{"-o", "x"}, 2, "-o"},
	} {
		out := filepath.Join(dir, "out")
		if err := os.MkdirAll(out, 0o700); err != nil {
			t.Fatal(err)
		}
		code, _, stderr := bench(t, append([]string{"report", "-out", out}, test.args...)...)
		if code != test.code || !strings.Contains(stderr, test.want) {
			t.Errorf("%s: exit code %d, %q; want %d, %q", test.name, code, stderr, test.code, test.want)
		}
		if entries, err := os.ReadDir(out); err != nil || len(entries) > 0 {
			t.Errorf("%s: %v, %v in the directory", test.name, entries, err)
		}
	}
	// A directory that does not exist, and one in which a chart's place is taken.
	if code, _, _ := bench(t, "report", "-out", filepath.Join(dir, "none"), "testdata/report/run.txt"); code != 1 {
		t.Errorf("no directory: exit code %d", code)
	}
	taken := t.TempDir()
	for name := range charts(t, "testdata/report/run.txt") {
		if err := os.MkdirAll(filepath.Join(taken, name, "full"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if code, _, _ := bench(t, "report", "-out", taken, "testdata/report/run.txt"); code != 1 {
		t.Errorf("the places are taken: exit code %d", code)
	}
	listed(t, taken) // no temporary file is left
}

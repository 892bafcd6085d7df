package report

import (
	"bytes"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"kustospool/cmd/bench/internal/load"
)

const twoRuns = `==> peers -duration 300ms
goos: linux
BenchmarkIngest/engine=append-prealloc/record=1024/producers=1-2 	 10 	 100 ns/op 	 200 acks/s
BenchmarkIngest/engine=append-prealloc/record=1024/producers=64-2 	 10 	 100 ns/op 	 400 acks/s
BenchmarkIngest/engine=kustospool/record=1024/producers=1-2 	 10 	 100 ns/op 	 100 acks/s
BenchmarkIngest/engine=kustospool/record=1024/producers=1-2 	 10 	 100 ns/op 	 300 acks/s
BenchmarkIngest/engine=kustospool/record=1024/producers=1-2 	 10 	 100 ns/op 	 110 acks/s
BenchmarkIngest/engine=kustospool/record=1024/producers=64-2 	 10 	 100 ns/op 	 350 acks/s

==> peers -duration 10s -producers 64
BenchmarkIngest/engine=kustospool/record=1024/producers=64-2 	 10 	 100 ns/op 	 999 acks/s

==> verdicts
PASS     drain, of plain files  0.97  >= 0.95  a 1 / b 1
`

func read(t *testing.T, text string) []Run {
	t.Helper()
	runs, err := Read(strings.NewReader(text), "x.txt")
	if err != nil {
		t.Fatal(err)
	}
	return runs
}

// Figures of one run are not mixed with those of another.
func TestRunsAreApart(t *testing.T) {
	runs := read(t, twoRuns)
	if len(runs) != 2 || runs[0].Command != "peers -duration 300ms" || runs[1].Command != "peers -duration 10s -producers 64" {
		t.Fatalf("%+v", runs)
	}
	for i, want := range []float64{350, 999} {
		if v, ok := runs[i].Median("kustospool", 1024, 64, "acks/s"); !ok || v != want {
			t.Errorf("run %d: %v, %v, want %v", i, v, ok, want)
		}
	}
	if v, _ := runs[0].Median("kustospool", 1024, 1, "acks/s"); v != 110 {
		t.Errorf("the median of 100, 300 and 110 is %v", v)
	}
	if _, ok := runs[0].Median("kustospool", 1024, 2, "acks/s"); ok {
		t.Error("what was not measured has a median")
	}
	charts := Charts(runs)
	if len(charts) != 1 || charts[0].Name != "acks-1024" {
		t.Fatalf("%+v", charts)
	}
	if got := charts[0].Chart.Lines[0].Points[1].Y; got != 350 {
		t.Errorf("the chart has %v with 64 producers", got)
	}
}

// What PrintBars prints is read back.
func TestVerdictsAsPrinted(t *testing.T) {
	bars := []load.Bar{
		{Name: "drain, cold, lanes=1, of plain files", Over: load.Figure{Text: "spool MB/s", Value: 500}, Under: load.Figure{Text: "plain MB/s", Value: 1000}, AtLeast: 0.95},
		{Name: "open, in ms", Over: load.Figure{Text: "ms", Value: 5}, Under: load.Figure{Text: "bound", Value: 20}, AtMost: 1},
		{Name: "a note", Over: load.Figure{Text: "a", Value: 1}, Under: load.Figure{Text: "b", Value: 3}},
		{Name: "nothing measured", Under: load.Figure{Text: "b"}, AtLeast: 1},
	}
	var b bytes.Buffer
	if _, err := load.PrintBars(&b, bars); err != nil {
		t.Fatal(err)
	}
	run := read(t, b.String())[0]
	want := []Verdict{
		{"FAIL", "drain, cold, lanes=1, of plain files", 0.5, 0.95, false, "spool MB/s 500 / plain MB/s 1000"},
		{"PASS", "open, in ms", 0.25, 1, true, "ms 5.00 / bound 20.00"},
		{"note", "a note", 0.33, math.NaN(), false, "a 1.00 / b 3.00"},
		{"FAIL", "nothing measured", 0, 1, false, "0.00 / b 0.00"},
	}
	if len(run.Verdicts) != len(want) {
		t.Fatalf("%+v", run.Verdicts)
	}
	for i, v := range run.Verdicts {
		w := want[i]
		if math.IsNaN(v.Wanted) && math.IsNaN(w.Wanted) {
			v.Wanted, w.Wanted = 0, 0
		}
		v.Of = strings.TrimSpace(v.Of)
		if v != w {
			t.Errorf("%+v, want %+v", v, w)
		}
	}
	for _, c := range Charts([]Run{run}) {
		if c.Name == "drain" && !strings.Contains(c.Chart.Desc, "1 of 1 bars failed") {
			t.Errorf("the failed bar is not told: %s", c.Chart.Desc)
		}
	}
}

// A run of few rounds is no verdict, and its charts say so.
func TestFewRounds(t *testing.T) {
	run := read(t, "3 rounds: the verdicts below are no verdicts, which want medians of at least 5\nPASS  drain, x  0.97  >= 0.95  a 1 / b 1\n")[0]
	if c := Charts([]Run{run})[0].Chart; run.Rounds != 3 || !strings.Contains(c.Categories[0], "PASS (median of 3): ") {
		t.Errorf("%+v, %q", run, c.Categories)
	}
}

func TestBadLines(t *testing.T) {
	const good = "BenchmarkIngest/engine=a/record=1/producers=1 1 1 acks/s\n"
	for _, test := range []struct{ name, text, want string }{
		{"nothing", "hello\n", "x.txt: has neither"},
		{"a value that is no number", good + "BenchmarkIngest/engine=a/record=1/producers=1 1 one acks/s\n", "x.txt:2: "},
		{"no producers", good + "\n==> next\nBenchmarkIngest/engine=a/record=1 1 1 acks/s\n", "x.txt:4: wants /record=N and /producers=N in a name, numbers from 1; this is BenchmarkIngest/engine=a/record=1"},
		{"producers below 1", "BenchmarkIngest/engine=a/record=1/producers=0 1 1 acks/s\n", "x.txt:1: "},
		{"columns", good + "PASS  a bar  0.5\n", "x.txt:2: a verdict has 5 columns"},
		{"ratio", "PASS  a bar  half  >= 1.00  a / b\n", `x.txt:1: column ratio is "half"`},
		{"infinite", "PASS  a bar  +Inf  >= 1.00  a / b\n", `x.txt:1: column ratio is "+Inf"`},
		{"wanted", "FAIL  a bar  0.5  about 1  a / b\n", `x.txt:1: column wanted is "about 1"`},
		{"a note that wants", "note  a bar  0.5  >= 1.00  a / b\n", "x.txt:1: a note wants nothing"},
		{"a verdict that wants nothing", "PASS  a bar  0.5  -  a / b\n", "x.txt:1: a note wants nothing"},
		{"rounds", "some rounds: the verdicts below are no verdicts, which want medians of at least 5\n", "x.txt:1: the number of rounds"},
	} {
		_, err := Read(strings.NewReader(test.text), "x.txt")
		var bad *SyntaxError
		if !errors.As(err, &bad) || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%s: %v, want %s", test.name, err, test.want)
		}
	}
	// go test's own words are no verdicts.
	if runs := read(t, good+"PASS\nok  \tkustospool\t1s\nFAIL\tkustospool\t1s\nFAIL\n"); len(runs[0].Verdicts) != 0 {
		t.Errorf("%+v", runs[0].Verdicts)
	}
	if _, err := Read(io.LimitReader(zeros{}, MaxBytes+1), "x.txt"); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("too large: %v", err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// A chart that two runs have is there twice, and neither is lost.
func TestTwice(t *testing.T) {
	runs := append(read(t, twoRuns), read(t, twoRuns)...)
	var names []string
	for _, c := range Charts(runs) {
		names = append(names, c.Name)
		if c.Chart.ID != c.Name {
			t.Errorf("chart %s has id %s", c.Name, c.Chart.ID)
		}
	}
	if got := strings.Join(names, " "); got != "acks-1024 acks-1024-2" {
		t.Error(got)
	}
}

// Whatever is read without an error can be drawn.
func FuzzRead(f *testing.F) {
	f.Add(twoRuns)
	f.Add("PASS  drain, x  0.97  >= 0.95  a 1 / b 1\n")
	f.Add("PASS  store, of the limit, recycled space, record=99999999999999999999, producers=1  0.97  >= 0.95  a\nnote  store, of the limit, recycled space, record=1, producers=1  1  -  a\n")
	f.Add("3 rounds: the verdicts below are no verdicts, which want medians of at least 5\nFAIL  wear  1e308  <= 1e-308  x\n")
	f.Add("BenchmarkIngest/engine=append-prealloc/record=1/producers=1 1 NaN acks/s\n\n==> \n")
	f.Fuzz(func(t *testing.T, text string) {
		runs, err := Read(strings.NewReader(text), "x.txt")
		if err != nil {
			return
		}
		for _, c := range Charts(runs) {
			if svg := c.Chart.SVG(); len(svg) == 0 || len(svg) > 1<<20 {
				t.Errorf("%s has %d bytes", c.Name, len(svg))
			}
		}
	})
}

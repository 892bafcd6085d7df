// Package report reads what the benchmarks print and draws it.
//
// # What is promised
//
// [Read] takes the Go benchmark format (golang.org/x/perf/benchfmt) and, among
// it, the verdicts of [kustospool/cmd/bench/internal/load.PrintBars]. What bars.sh
// prints is several runs, each behind a line "==> COMMAND"; figures of different
// runs are never put into one chart, nor are their medians mixed. A line that
// looks like a benchmark or a verdict and is none is a [SyntaxError] with its
// file, line and rule. Every other line is left alone.
//
// [Charts] draws what the runs have figures for, and nothing else: medians, as the
// tables of the benchmarks, and each verdict, failed ones included. The same
// input gives the same charts.
//
// # What it does not do
//
// It judges nothing: a verdict is what the run said. It opens and writes no file.
package report

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"

	"golang.org/x/perf/benchfmt"

	"kustospool/cmd/bench/internal/load"
)

// MaxBytes is the largest input.
const MaxBytes = 64 << 20

// Run is what one command printed.
type Run struct {
	Command  string // behind "==>"; empty where there is no such line
	Verdicts []Verdict
	Rounds   int // where they are too few for verdicts, as the run itself said; else 0
	samples  map[sample][]float64
}

// sample names what is measured several times.
type sample struct {
	engine            string
	record, producers int
	unit              string // acks/s, p50-us, p99-us
}

// SyntaxError is a line that cannot be read.
type SyntaxError struct {
	File string
	Line int // from 1; 0 where the whole file is meant
	Rule string
}

func (e *SyntaxError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %s", e.File, e.Rule)
	}
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Rule)
}

// Read reads the runs of one file. name stands in errors. Runs without a benchmark or
// a verdict are left out, and so is the list of all verdicts at the end of bars.sh.
func Read(r io.Reader, name string) ([]Run, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(data) > MaxBytes {
		return nil, &SyntaxError{File: name, Rule: fmt.Sprintf("at most %d bytes are read", MaxBytes)}
	}
	var runs []Run
	line := 1
	for len(data) > 0 {
		part := data
		if i := bytes.Index(data, []byte("\n==> ")); i >= 0 {
			part = data[:i+1]
		}
		run, err := readRun(part, name, line)
		if err != nil {
			return nil, err
		}
		if run.Command != "verdicts" && len(run.samples)+len(run.Verdicts) > 0 {
			runs = append(runs, run)
		}
		line += bytes.Count(part, []byte("\n"))
		data = data[len(part):]
	}
	if len(runs) == 0 {
		return nil, &SyntaxError{File: name, Rule: "has neither acknowledgements with /engine=NAME, as bars.sh and peers print them, nor a verdict; bench ingest by itself prints neither"}
	}
	return runs, nil
}

// readRun reads one part, whose first line is that number of its file.
func readRun(data []byte, name string, first int) (Run, error) {
	run := Run{samples: map[sample][]float64{}}
	number := first
	for text := range bytes.Lines(data) {
		line := strings.TrimRight(string(text), "\r\n")
		if command, ok := strings.CutPrefix(line, "==> "); ok && number == first {
			run.Command = command
		}
		if words, few := strings.CutSuffix(line, fewRounds); few {
			n, err := strconv.Atoi(words)
			if err != nil || n < 1 {
				return run, &SyntaxError{name, number, "the number of rounds is to be a number from 1"}
			}
			run.Rounds = n
		}
		if verdict, is, err := parseVerdict(line); err != nil {
			return run, &SyntaxError{name, number, err.Error()}
		} else if is {
			run.Verdicts = append(run.Verdicts, verdict)
		}
		number++
	}
	for r := benchfmt.NewReader(bytes.NewReader(data), name); ; {
		if !r.Scan() {
			if err := r.Err(); err != nil {
				return run, fmt.Errorf("%s: %w", name, err)
			}
			return run, nil
		}
		switch record := r.Result().(type) {
		case *benchfmt.SyntaxError:
			return run, &SyntaxError{name, first + record.Line - 1, record.Msg}
		case *benchfmt.Result:
			if err := run.add(record); err != nil {
				_, line := record.Pos()
				return run, &SyntaxError{name, first + line - 1, err.Error()}
			}
		}
	}
}

// fewRounds is what a run says behind the number of its rounds; the least number follows.
var fewRounds = fmt.Sprintf(" rounds: the verdicts below are no verdicts, which want medians of at least %d", 5)

// add takes the figures of a benchmark of acknowledgements, and leaves others.
func (run *Run) add(r *benchfmt.Result) error {
	base, parts := r.Name.Parts()
	if string(base) != "Ingest" {
		return nil
	}
	labels := map[string]string{}
	for _, part := range parts {
		if key, value, ok := strings.Cut(strings.TrimPrefix(string(part), "/"), "="); ok {
			labels[key] = value
		}
	}
	engine := labels["engine"]
	record, err1 := strconv.Atoi(labels["record"])
	producers, err2 := strconv.Atoi(labels["producers"])
	if err1 != nil || err2 != nil || record < 1 || producers < 1 {
		return fmt.Errorf("wants /record=N and /producers=N in a name, numbers from 1; this is Benchmark%s", r.Name.String())
	}
	if engine == "" {
		return nil // bench ingest measures one engine, in other columns
	}
	for _, unit := range []string{"acks/s", "p50-us", "p99-us"} {
		if v, ok := r.Value(unit); ok {
			key := sample{engine, record, producers, unit}
			run.samples[key] = append(run.samples[key], v)
		}
	}
	return nil
}

// Median is that of an engine's figures by unit, "acks/s", "p50-us" or "p99-us"; ok
// is false where it was not measured.
func (run *Run) Median(engine string, record, producers int, unit string) (v float64, ok bool) {
	all := run.samples[sample{engine, record, producers, unit}]
	return load.Median(all), len(all) > 0
}

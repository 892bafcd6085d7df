package load

import (
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"
	"time"
)

// Table holds the results of a comparison.
type Table struct {
	names   []string
	cases   []Case
	results map[string]map[Case][]Result
}

func newTable() *Table { return &Table{results: make(map[string]map[Case][]Result)} }

func (t *Table) add(name string, c Case, r Result) {
	if !slices.Contains(t.names, name) {
		t.names = append(t.names, name)
	}
	if !slices.Contains(t.cases, c) {
		t.cases = append(t.cases, c)
	}
	if t.results[name] == nil {
		t.results[name] = make(map[Case][]Result)
	}
	t.results[name][c] = append(t.results[name][c], r)
}

// drop forgets the results of a contender that did not keep up with a case.
func (t *Table) drop(name string, c Case) { delete(t.results[name], c) }

// Rate is the median of a contender's acknowledgements a second; ok is false
// when it was not measured.
func (t *Table) Rate(name string, c Case) (rate float64, ok bool) {
	return t.median(name, c, Result.PerSecond)
}

// P99 is the median over the rounds of a contender's 99th percentile.
func (t *Table) P99(name string, c Case) (p99 time.Duration, ok bool) {
	ns, ok := t.median(name, c, func(r Result) float64 { return float64(r.P99) })
	return time.Duration(ns), ok
}

// P999 is the median over the rounds of a contender's 99.9th percentile.
func (t *Table) P999(name string, c Case) (p999 time.Duration, ok bool) {
	ns, ok := t.median(name, c, func(r Result) float64 { return float64(r.P999) })
	return time.Duration(ns), ok
}

func (t *Table) median(name string, c Case, of func(Result) float64) (float64, bool) {
	results := t.results[name][c]
	values := make([]float64, len(results))
	for i, r := range results {
		values[i] = of(r)
	}
	return Median(values), len(values) > 0
}

// Print writes for each record size a table of medians: acknowledgements a
// second, p50/p99 in microseconds, and the rate as a share of baseline's where
// that was measured.
func (t *Table) Print(w io.Writer, baseline string) error {
	var sizes []int
	for _, c := range t.cases {
		if !slices.Contains(sizes, c.Record) {
			sizes = append(sizes, c.Record)
		}
	}
	for _, size := range sizes {
		if _, err := fmt.Fprintf(w, "\nrecords of %d bytes, by producers: acks/s, p50/p99 in us, rate / %s\n", size, baseline); err != nil {
			return err
		}
		if err := t.printSize(w, size, baseline); err != nil {
			return err
		}
	}
	return nil
}

func (t *Table) printSize(w io.Writer, size int, baseline string) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(tw, "engine")
	for _, c := range t.cases {
		if c.Record == size {
			fmt.Fprintf(tw, "\t%d\t\t", c.Producers)
		}
	}
	fmt.Fprintln(tw)
	for _, name := range t.names {
		fmt.Fprint(tw, name)
		for _, c := range t.cases {
			if c.Record != size {
				continue
			}
			rate, ok := t.Rate(name, c)
			if !ok {
				fmt.Fprint(tw, "\t-\t\t")
				continue
			}
			p50, _ := t.median(name, c, func(r Result) float64 { return float64(r.P50) })
			p99, _ := t.P99(name, c)
			share := "-"
			if base, ok := t.Rate(baseline, c); ok && base > 0 {
				share = fmt.Sprintf("%.2f", rate/base)
			}
			fmt.Fprintf(tw, "\t%.0f\t%.0f/%.0f\t%s", rate, math.Round(p50/1e3), micros(p99), share)
		}
		fmt.Fprintln(tw)
	}
	return tw.Flush()
}

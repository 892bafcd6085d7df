package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"kustospool/internal/plot"
	"kustospool/internal/quantity"
)

// Named is a chart and the word for it in the name of its file.
type Named struct {
	Name  string
	Chart *plot.Chart
}

// The limit is what everything is held against.
const limit = "append-prealloc"

// group are the engines of one chart of acknowledgements.
type group struct {
	name, title string
	engines     []string
	units       []string // acks/s, or quantiles in microseconds
}

var groups = []group{
	{"acks", "Acknowledged records a second beside what else fsyncs", []string{"kustospool", "kustospool-recycled", limit, "pebble", "raft-wal", "tidwall-wal", "goqite", "nats-sync"}, []string{"acks/s"}},
	{"latency", "How long a record waits for its acknowledgement: p50 and p99", []string{"kustospool-recycled", limit, "pebble", "raft-wal"}, []string{"p50-us", "p99-us"}},
}

// ratios are the bars by producers that stand in one chart.
type ratios struct {
	name, title string
	bars        []ratio
}

type ratio struct{ name, bar string } // in the legend; in the verdict

var ratioCharts = []ratios{
	{"recycled", "Rate / the limit's, recycled space", []ratio{{"store", "store, of the limit, recycled space"}, {"engine", "engine, of the limit, recycled space"}}},
	{"fresh", "Rate / the limit's, fresh space", []ratio{{"store", "store, of the limit, fresh space"}, {"engine", "engine, of the limit, fresh space"}}},
	{"small", "Rate / the limit's, small records", []ratio{{"store", "store, small records, of the limit"}, {"engine", "engine, small records, of the limit"}}},
	{"large", "Rate / the limit's, large records", []ratio{{"store", "store, large records, of the limit"}, {"engine", "engine, large records, of the limit"}}},
	{"peers", "Rate / that of the best peer that fsyncs", []ratio{{"engine, recycled space", "engine, of the best peer that fsyncs"}, {"engine, fresh space", "engine on fresh space, of the best peer that fsyncs"}}},
}

// others are bars that lie, one for each verdict that begins with a prefix.
type others struct {
	name, title string
	prefixes    []string
	share       bool // of what is allowed; else the ratio itself
}

var otherCharts = []others{
	{"waits", "p99 and p99.9, of what is allowed", []string{"p99"}, true},
	{"wear", "Bytes on the device a byte of payload, of what is allowed", []string{"bytes on the device, "}, true},
	{"drain", "Of what plain files and the limit allow", []string{"drain, ", "ingestion beside a drain"}, false},
	{"open", "Opening and memory, of what is allowed", []string{"open ", "peak heap"}, true},
}

// Charts draws all runs. A chart of which two runs have the figures is drawn
// twice, the second with "-2" behind its name, but for drain, wear and open, whose
// bars are put together.
func Charts(runs []Run) []Named {
	var all []Named
	add := func(name string, c *plot.Chart) {
		for n, unique := 1, name; ; n++ {
			if n > 1 {
				unique = fmt.Sprintf("%s-%d", name, n)
			}
			if !slices.ContainsFunc(all, func(o Named) bool { return o.Name == unique }) {
				c.ID, c.Background = unique, "#ffffff"
				all = append(all, Named{unique, c})
				return
			}
		}
	}
	for i := range runs {
		for _, record := range runs[i].records() {
			for _, g := range groups {
				if c := g.chart(&runs[i], record); c != nil {
					add(fmt.Sprintf("%s-%d", g.name, record), c)
				}
			}
		}
		for _, r := range ratioCharts {
			if c := r.chart(&runs[i]); c != nil {
				add(r.name, c)
			}
		}
	}
	for _, o := range otherCharts {
		if c := o.chart(runs); c != nil {
			add(o.name, c)
		}
	}
	return all
}

// records are the sizes that were measured, the smallest first.
func (run *Run) records() (sizes []int) {
	for s := range run.samples {
		sizes = append(sizes, s.record)
	}
	slices.Sort(sizes)
	return slices.Compact(sizes)
}

// producers are the numbers that were measured for a record size.
func (run *Run) producers(record int) (numbers []int) {
	for s := range run.samples {
		if s.record == record {
			numbers = append(numbers, s.producers)
		}
	}
	slices.Sort(numbers)
	return slices.Compact(numbers)
}

// chart is nil where there is no line to draw: one number of producers is none.
func (g *group) chart(run *Run, record int) *plot.Chart {
	producers := run.producers(record)
	if len(producers) < 2 {
		return nil
	}
	c := &plot.Chart{Title: fmt.Sprintf("%s, %s a record", g.title, quantity.Bytes.Text(float64(record))) + run.doubt(), X: "producers", Width: 720, Height: 420, LogX: true, LogY: true}
	for _, p := range producers {
		c.TicksX = append(c.TicksX, float64(p))
	}
	for _, engine := range g.engines {
		for _, unit := range g.units {
			l := plot.Line{Name: engine}
			factor := 1.0
			if quantile, ok := strings.CutSuffix(unit, "-us"); ok {
				l.Name, factor = engine+" "+quantile, 1e-6
			}
			for _, p := range producers {
				if v, ok := run.Median(engine, record, p, unit); ok {
					l.Points = append(l.Points, plot.Point{X: float64(p), Y: v * factor})
				}
			}
			if len(l.Points) > 0 {
				c.Lines = append(c.Lines, l)
			}
		}
	}
	if len(c.Lines) < 2 {
		return nil
	}
	c.Y = "acknowledged records a second"
	if g.units[0] != "acks/s" {
		c.Y, c.UnitY = "time", quantity.Seconds
	}
	c.Desc = words(c)
	return c
}

// words are the figures of lines, for who does not see them.
func words(c *plot.Chart) string {
	var all []string
	for _, l := range c.Lines {
		first, last := l.Points[0], l.Points[len(l.Points)-1]
		all = append(all, fmt.Sprintf("%s: %s with %g, %s with %g.", l.Name, c.UnitY.Text(first.Y), first.X, c.UnitY.Text(last.Y), last.X))
	}
	return strings.Join(all, " ")
}

// doubt is what a title ends with where the medians are of too few rounds.
func (run *Run) doubt() string {
	if run.Rounds == 0 {
		return ""
	}
	return fmt.Sprintf(" (median of %d: no verdict)", run.Rounds)
}

// chart is nil where the run has none of the bars.
func (r *ratios) chart(run *Run) *plot.Chart {
	type place struct{ record, producers int }
	var places []place
	found := map[string]map[place]Verdict{}
	for _, v := range run.Verdicts {
		m := byProducers.FindStringSubmatch(v.Bar)
		if m == nil || !slices.ContainsFunc(r.bars, func(b ratio) bool { return b.bar == m[1] }) {
			continue
		}
		record, err1 := strconv.Atoi(m[2])
		producers, err2 := strconv.Atoi(m[3])
		if err1 != nil || err2 != nil {
			continue // digits, but too many
		}
		p := place{record, producers}
		if found[m[1]] == nil {
			found[m[1]] = map[place]Verdict{}
		}
		found[m[1]][p] = v
		if !slices.Contains(places, p) {
			places = append(places, p)
		}
	}
	if len(places) < 2 {
		return nil
	}
	slices.SortFunc(places, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.record, b.record), cmp.Compare(a.producers, b.producers))
	})
	c := &plot.Chart{Title: fmt.Sprintf("%s, %s a record", r.title, quantity.Bytes.Text(float64(places[0].record))) + run.doubt(), X: "producers", Y: "ratio", Width: 720, Height: 300}
	for _, p := range places {
		name := strconv.Itoa(p.producers)
		if p.record != places[0].record {
			name += " of " + quantity.Bytes.Text(float64(p.record))
		}
		c.Categories = append(c.Categories, name)
	}
	var failed []string
	for _, b := range r.bars {
		bar := plot.Bar{Name: b.name}
		for i, p := range places {
			v, ok := found[b.bar][p]
			if !ok {
				v.Ratio, v.Wanted = math.NaN(), math.NaN()
			}
			bar.Values, bar.Wanted = append(bar.Values, v.Ratio), append(bar.Wanted, v.Wanted)
			if v.Word == "FAIL" {
				failed = append(failed, fmt.Sprintf("%s with %s (%.2f of %.2f)", b.name, c.Categories[i], v.Ratio, v.Wanted))
			}
		}
		c.Bars = append(c.Bars, bar)
	}
	c.Desc = "Every bar reaches what is wanted."
	if len(failed) > 0 {
		c.Desc = "Short of what is wanted: " + strings.Join(failed, ", ") + "."
	}
	return c
}

// chart is nil where no run has such a verdict with a bound.
func (o *others) chart(runs []Run) *plot.Chart {
	c := &plot.Chart{Title: o.title, Y: "ratio", Width: 720, Across: true}
	bar := plot.Bar{}
	failed := 0
	for i := range runs {
		for _, v := range runs[i].Verdicts {
			if !slices.ContainsFunc(o.prefixes, func(p string) bool { return strings.HasPrefix(v.Bar, p) }) || v.Word == "note" {
				continue
			}
			value, bound, sign := v.Ratio, v.Wanted, "at least"
			if v.AtMost {
				sign = "at most"
			}
			word := v.Word
			if runs[i].Rounds > 0 {
				word += fmt.Sprintf(" (median of %d)", runs[i].Rounds)
			}
			if o.share {
				value, bound = v.Ratio/v.Wanted, 1
			}
			if v.Word == "FAIL" {
				failed++
			}
			c.Categories = append(c.Categories, fmt.Sprintf("%s: %s: %.2f, %s %.2f", word, v.Bar, v.Ratio, sign, v.Wanted))
			bar.Values, bar.Wanted = append(bar.Values, value), append(bar.Wanted, bound)
		}
	}
	if len(c.Categories) == 0 {
		return nil
	}
	if o.share {
		c.Y = "share of what is allowed"
	}
	c.Bars = []plot.Bar{bar}
	c.Height = 80 + 46*len(c.Categories)
	c.Desc = fmt.Sprintf("%d of %d bars failed. %s", failed, len(c.Categories), strings.Join(c.Categories, ". "))
	return c
}

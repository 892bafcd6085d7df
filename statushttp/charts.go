package statushttp

import (
	"math"
	"strings"
	"time"

	"kustospool/internal/plot"
	"kustospool/internal/quantity"
)

// gaps are n points that are not there.
func gaps(n int) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = plot.Gap()
	}
	return out
}

// ranges are what the charts can show, the first one by default.
var ranges = []string{"15m", "24h"}

// rangeOf is the range that a reader asks for; the default for anything else.
func rangeOf(asked string) string {
	for _, r := range ranges {
		if r == asked {
			return r
		}
	}
	return ranges[0]
}

// chartsOf draws what went on: what waits, how fast it comes and goes, and the age
// of the oldest record.
func chartsOf(s series, name string) string {
	span := "in the last 15 minutes"
	if name == "24h" {
		span = "in the last 24 hours"
	}
	one := func(id, title, desc string, unit quantity.Unit, lines ...plot.Line) string {
		c := plot.Chart{ID: id, Title: title, Desc: desc + " " + span + ".", Width: 360, Height: 220, Time: true, UnitY: unit, Lines: lines, Marks: silences(s)}
		return string(c.SVG())
	}
	var b strings.Builder
	b.WriteString(one("chart-backlog", "Records that wait", "Number of records that are accepted and not yet delivered", quantity.Number, line(s.at, s.records, "")))
	b.WriteString(one("chart-rate", "Records a second", "How many records a second are accepted, and how many reach their end", quantity.Number, line(s.at, s.acked, "accepted"), line(s.at, s.settle, "settled")))
	b.WriteString(one("chart-age", "Age of the oldest record", "How long the oldest record that waits has waited", quantity.Seconds, line(s.at, s.age, "")))
	return b.String()
}

func line(at []time.Time, values []float64, name string) plot.Line {
	l := plot.Line{Name: name, Points: make([]plot.Point, len(at))}
	for i := range at {
		l.Points[i] = plot.Point{X: float64(at[i].UnixMilli()) / 1000, Y: values[i]}
	}
	return l
}

// silences are the times in which the spool did not answer: from the last answer before
// to the first one behind.
func silences(s series) []plot.Mark {
	var out []plot.Mark
	x := func(i int) float64 { return float64(s.at[max(0, min(i, len(s.at)-1))].UnixMilli()) / 1000 }
	for i := range s.at {
		switch silent, before := math.IsNaN(s.records[i]), i > 0 && math.IsNaN(s.records[i-1]); {
		case silent && before:
			out[len(out)-1].To = x(i + 1)
		case silent:
			out = append(out, plot.Mark{Name: "no answer", From: x(i - 1), To: x(i + 1)})
		}
	}
	return out
}

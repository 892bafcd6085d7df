package load

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// Figure is one number of a run, by the words that name it.
type Figure struct {
	Text  string
	Value float64
}

// String is the figure as tables show it: whole from 100 on.
func (f Figure) String() string {
	if f.Value >= 100 {
		return fmt.Sprintf("%s %.0f", f.Text, f.Value)
	}
	return fmt.Sprintf("%s %.2f", f.Text, f.Value)
}

// Bar is a claim about one run: the ratio of two of its figures is not below
// AtLeast, and not above AtMost. A bound of 0 is none; a bar without bounds is
// a note, which is printed beside the others and judged by nobody. Where
// a bound is absolute, Under is that bound by name and AtMost 1.
type Bar struct {
	Name            string
	Over, Under     Figure // the ratio is Over.Value / Under.Value
	AtLeast, AtMost float64
}

// Ratio is Over / Under; 0 when Under is 0.
func (b Bar) Ratio() float64 {
	if b.Under.Value == 0 {
		return 0
	}
	return b.Over.Value / b.Under.Value
}

// Note tells whether the bar has no bounds.
func (b Bar) Note() bool { return b.AtLeast == 0 && b.AtMost == 0 }

// Passes tells whether the claim holds. It does not where the ratio is not
// positive, since a figure is missing then.
func (b Bar) Passes() bool {
	r := b.Ratio()
	return r > 0 && (b.AtLeast == 0 || r >= b.AtLeast) && (b.AtMost == 0 || r <= b.AtMost)
}

// PrintBars writes a line for each bar and returns how many did not pass.
func PrintBars(w io.Writer, bars []Bar) (failed int, err error) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "verdict\tbar\tratio\twanted\tof")
	for _, b := range bars {
		verdict := "PASS"
		switch {
		case b.Note():
			verdict = "note"
		case !b.Passes():
			verdict = "FAIL"
			failed++
		}
		fmt.Fprintf(tw, "%s\t%s\t%.2f\t%s\t%s / %s\n", verdict, b.Name, b.Ratio(), b.wanted(), b.Over, b.Under)
	}
	return failed, tw.Flush()
}

func (b Bar) wanted() string {
	switch {
	case b.Note():
		return "-"
	case b.AtLeast > 0 && b.AtMost > 0:
		return fmt.Sprintf("%.2f to %.2f", b.AtLeast, b.AtMost)
	case b.AtMost > 0:
		return fmt.Sprintf("<= %.2f", b.AtMost)
	}
	return fmt.Sprintf(">= %.2f", b.AtLeast)
}

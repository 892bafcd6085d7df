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

// Bar is a claim about one run: the ratio of two of its figures is not below
// AtLeast, and not above AtMost. A bound of 0 is none.
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
		if !b.Passes() {
			verdict = "FAIL"
			failed++
		}
		fmt.Fprintf(tw, "%s\t%s\t%.2f\t%s\t%s %.0f / %s %.0f\n", verdict, b.Name, b.Ratio(), b.wanted(),
			b.Over.Text, b.Over.Value, b.Under.Text, b.Under.Value)
	}
	return failed, tw.Flush()
}

func (b Bar) wanted() string {
	switch {
	case b.AtLeast > 0 && b.AtMost > 0:
		return fmt.Sprintf("%.2f to %.2f", b.AtLeast, b.AtMost)
	case b.AtMost > 0:
		return fmt.Sprintf("<= %.2f", b.AtMost)
	}
	return fmt.Sprintf(">= %.2f", b.AtLeast)
}

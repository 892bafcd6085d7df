// Package plot draws charts as SVG: lines over a number or over time, and bars
// by category, each with what is wanted of it.
//
// # Promise
//
// The same chart is the same bytes. Every chart can be drawn: what is not a
// number is a gap, what is out of bounds is held within them, no data is an
// empty frame that says so, and text is escaped, cut to a length and shown
// without control characters. The output is a piece of XML that may stand in an
// HTML page as it is: it has no script, no style sheet and no style attribute,
// so that a Content-Security-Policy without 'unsafe-inline' takes it, and its
// ids begin with the chart's own.
//
// It is read without colour: lines differ by dashes and markers and are named in
// words; and without eyes: title and description are there for screen readers.
// The colours stand out from white and from near black; text and axes have the
// text colour of the page around (currentColor). A style sheet finds the classes
// plot, plot-text, plot-grid, plot-axis, plot-ground, plot-mark, plot-want and plot-1
// to plot-6, by number of the line or bar.
//
// # What it does not do
//
// It knows the widths of letters only roughly, and no font at all. It does not
// move, zoom or answer a pointer. Where there are more than MaxLines lines, or
// MaxLines bars in each of MaxCategories categories, it says how many it left out.
package plot

import (
	"math"
	"time"

	"kustospool/internal/quantity"
)

// What a chart draws at most.
const (
	MaxLines      = 20
	MaxCategories = 60
)

// Chart is one chart. With Categories it is a chart of Bars, else one of Lines.
type Chart struct {
	ID          string // begins the ids in the output; letters, digits, dashes; by default "plot". Unique within a page
	Title, Desc string // what it is, drawn; and what is to be seen, for screen readers. Either may be empty
	X, Y        string // names of the axes; empty: none is drawn

	Width, Height int    // in pixels of CSS; by default 720 and 300; from 200 by 120 to 4000 by 4000
	Background    string // "#rrggbb", which the text colour then follows; empty: transparent

	UnitX, UnitY quantity.Unit  // what the values count, for the words at the axes
	Time         bool           // X values are seconds of Unix time
	Zone         *time.Location // of the clock at a Time axis; by default UTC
	LogX, LogY   bool           // a logarithmic axis; values that are not above 0 are gaps
	TicksX       []float64      // where an X axis of numbers is marked; by default at round values

	Lines []Line
	Marks []Mark

	Categories []string
	Bars       []Bar
	Across     bool // bars lie, each category's name above them: for names that are sentences
}

// Line is drawn from point to point in their order. It ends at a gap.
type Line struct {
	Name   string // empty: it is not named
	Points []Point
}

// Point is one value. A Y that is no number is a gap.
type Point struct{ X, Y float64 }

// Mark is a span of the X axis that is shaded from top to bottom, such as the
// time in which a spool did not answer.
type Mark struct {
	Name     string
	From, To float64
}

// Bar is one bar of each category.
type Bar struct {
	Name   string
	Values []float64 // by category; what is missing or no number is not drawn
	Wanted []float64 // the same; a stroke across the bar
}

// Gap is a value that is not there.
func Gap() float64 { return math.NaN() }

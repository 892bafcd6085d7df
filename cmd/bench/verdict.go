package main

import (
	"fmt"
	"io"
	"os"

	"kustospool/cmd/bench/internal/device"
	"kustospool/cmd/bench/internal/load"
)

// verdictRounds is how many measurements the medians of a verdict are to be of.
const verdictRounds = 5

// figures are the measurements of a run by their names.
type figures map[string][]float64

func (f figures) add(name string, value float64) { f[name] = append(f[name], value) }

// median is 0 when nothing was measured by that name, which no bar passes.
func (f figures) median(name string) float64 { return load.Median(f[name]) }

// ratio is that of two medians, by the names of both.
func (f figures) ratio(over, under string) load.Figure {
	r := load.Figure{Text: over + " / " + under}
	if d := f.median(under); d > 0 {
		r.Value = f.median(over) / d
	}
	return r
}

// judge prints the bars. A failed one is for the reader, and no error.
func judge(w io.Writer, bars []load.Bar, rounds int) error {
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	if rounds < verdictRounds {
		fmt.Fprintf(w, "%d rounds: the verdicts below are no verdicts, which want medians of at least %d\n", rounds, verdictRounds)
	}
	_, err := load.PrintBars(w, bars)
	return err
}

// settle waits until what earlier measurements wrote is on the disk of the flag
// -dir, so that it is not written in the next one's time.
func settle(dir string) error {
	if dir == "" {
		dir = os.TempDir()
	}
	return device.Settle(dir)
}

package report

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
)

// Verdict is a line of a run's table of bars.
type Verdict struct {
	Word   string  // PASS, FAIL or note
	Bar    string  // its name
	Ratio  float64 // of the two figures
	Wanted float64 // the bound; no number where it is a note
	AtMost bool    // the bound is an upper one
	Of     string  // the two figures, in words
}

// columns of such a line are apart by two spaces or more, as tabwriter writes them.
var columns = regexp.MustCompile(` {2,}`)

// parseVerdict reads a line. is is false where it is none: its first column is no
// verdict, or the only one (as go test has it).
func parseVerdict(line string) (v Verdict, is bool, err error) {
	word, rest, _ := strings.Cut(line, "  ")
	if word != "PASS" && word != "FAIL" && word != "note" || strings.TrimSpace(rest) == "" {
		return v, false, nil
	}
	fields := columns.Split(strings.TrimSpace(rest), -1)
	if len(fields) != 4 {
		return v, false, fmt.Errorf("a verdict has 5 columns, apart by two spaces: verdict, bar, ratio, wanted, of; this has %d", len(fields)+1)
	}
	v = Verdict{Word: word, Bar: fields[0], Of: fields[3]}
	if v.Ratio, err = number(fields[1]); err != nil {
		return v, false, fmt.Errorf("column ratio is %q, and is to be a number", fields[1])
	}
	v.Wanted, v.AtMost, err = wanted(fields[2])
	if err == nil && (word == "note") != math.IsNaN(v.Wanted) {
		err = errors.New("a note wants nothing, PASS and FAIL a bound")
	}
	return v, err == nil, err
}

// wanted reads "-", ">= 0.90" or "<= 1.10".
func wanted(s string) (bound float64, atMost bool, err error) {
	if s == "-" {
		return math.NaN(), false, nil
	}
	sign, value, _ := strings.Cut(s, " ")
	bound, err = number(value)
	if err != nil || bound == 0 || sign != ">=" && sign != "<=" {
		return 0, false, fmt.Errorf(`column wanted is %q, and is to be "-", ">= NUMBER" or "<= NUMBER"`, s)
	}
	return bound, sign == "<=", nil
}

// number is one that a ratio can be: finite and not below 0.
func number(s string) (float64, error) {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsInf(v, 0) || !(v >= 0) {
		return 0, errors.New("no such number")
	}
	return v, nil
}

// byProducers takes a name apart that ends in ", record=R, producers=P".
var byProducers = regexp.MustCompile(`^(.+), record=(\d+), producers=(\d+)$`)

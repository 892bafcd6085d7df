// Package quantity writes numbers as people read them: counts, sizes, times and
// rates.
//
// # Promise
//
// Any number has words, and they are short: what is infinite or no number is
// "none", and what is beyond 1e18 stands as that. No text has an exponent. Three
// digits are enough, but for counts, which are exact.
//
// # What it does not do
//
// It knows no languages but English, and reads nothing back.
package quantity

import (
	"math"
	"strconv"
	"strings"
)

// Unit is what values count.
type Unit int

const (
	Number  Unit = iota // 1500, 15k, 20M
	Bytes               // 1.5 KiB, 20 MiB
	Seconds             // 250 µs, 1.5 ms, 20 s, 5 min, 3 h
)

// most bounds what is written.
const most = 1e18

// Text is a value in words of the unit, with three digits.
func (u Unit) Text(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "none"
	}
	return u.TextStep(max(-most, min(v, most)), 0)
}

// Count is a whole number with a comma at each thousand.
func Count(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// Size is a number of bytes, as [Bytes] has it, and with its unit also where it is
// 0: at an axis that needs none.
func Size(n int64) string {
	if n == 0 {
		return "0 B"
	}
	return Bytes.Text(float64(n))
}

// Rate is a number that is read beside a unit of time: three digits, and all of a
// large one, with a comma at each thousand.
func Rate(v float64) string {
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return "none"
	case v >= 999.5:
		return Count(int64(math.Round(min(v, most))))
	}
	return Number.Text(v)
}

// digits is the step between numbers of three digits that are about v.
func digits(v float64) float64 {
	if v == 0 {
		return 1
	}
	return math.Pow(10, math.Floor(math.Log10(math.Abs(v)))-2)
}

// scale is a factor and how it is written.
type scale struct {
	factor float64
	suffix string
}

// Each begins with the largest.
var scales = [...][]scale{
	Number:  {{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}, {1, ""}},
	Bytes:   {{1 << 50, " PiB"}, {1 << 40, " TiB"}, {1 << 30, " GiB"}, {1 << 20, " MiB"}, {1 << 10, " KiB"}, {1, " B"}},
	Seconds: {{86400, " d"}, {3600, " h"}, {60, " min"}, {1, " s"}, {1e-3, " ms"}, {1e-6, " µs"}, {1e-9, " ns"}},
}

func (u Unit) scales() []scale {
	if u < 0 || int(u) >= len(scales) {
		u = Number
	}
	return scales[u]
}

// TextStep is v with as many digits as tell it from v + step; with a step of 0, three.
// v must be within 1e18 of 0.
func (u Unit) TextStep(v, step float64) string {
	all := u.scales()
	s := all[len(all)-1]
	if v == 0 {
		s = scale{1, ""}
	}
	for _, larger := range all {
		least := larger.factor
		if larger.suffix == "k" {
			least = 1e4 // 1024 is read more easily than 1.024k
		}
		if math.Abs(v) >= least*(1-1e-9) {
			s = larger
			break
		}
	}
	if step == 0 {
		step = digits(v/s.factor) * s.factor
	}
	decimals := 0
	if step > 0 {
		// A step of 0.25 wants two decimals, though it is only a bit less than 1.
		for step /= s.factor; decimals < 9 && math.Abs(step-math.Round(step)) > step*1e-3; decimals++ {
			step *= 10
		}
	}
	out := strconv.FormatFloat(v/s.factor, 'f', decimals, 64)
	if strings.Contains(out, ".") {
		out = strings.TrimRight(strings.TrimRight(out, "0"), ".")
	}
	if out == "-0" {
		out = "0"
	}
	return out + s.suffix
}

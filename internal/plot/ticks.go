package plot

import (
	"math"
	"time"

	"kustospool/internal/quantity"
)

// tick is a place on an axis that is marked.
type tick struct {
	at   float64
	text string
}

// axis maps values to pixels. low < high, both above 0 where log is set.
type axis struct {
	low, high  float64
	log        bool
	start, end float64 // the pixels of low and high
	ticks      []tick
}

// at is the pixel of a value within low and high.
func (a *axis) at(v float64) float64 {
	low, high := a.low, a.high
	if a.log {
		low, high, v = math.Log10(low), math.Log10(high), math.Log10(v)
	}
	part := max(0, min((v-low)/(high-low), 1))
	return a.start + float64(part*(a.end-a.start))
}

// span is the smallest and the largest of several values.
type span struct {
	low, high float64
	some      bool
}

func (s *span) add(v float64) {
	switch {
	case math.IsNaN(v):
	case !s.some:
		*s = span{v, v, true}
	default:
		s.low, s.high = min(s.low, v), max(s.high, v)
	}
}

// step is the smallest of 1, 2 and 5 times a power of ten that is at least raw.
func step(raw float64) float64 {
	ten := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, m := range []float64{1, 2, 5} {
		if m*ten >= raw*(1-1e-9) {
			return m * ten
		}
	}
	return 10 * ten
}

// Steps of time that a clock has, in seconds.
var clockSteps = []float64{1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 2 * 3600, 3 * 3600, 6 * 3600, 12 * 3600, 86400, 2 * 86400, 7 * 86400, 14 * 86400}

// clockStep is the smallest of them that is at least raw, and beyond them a round
// number of days.
func clockStep(raw float64) float64 {
	for _, s := range clockSteps {
		if s >= raw {
			return s
		}
	}
	return 86400 * step(raw/86400)
}

// stepOf is the distance of an axis' ticks, at most n of them from low to high.
func stepOf(u quantity.Unit, low, high float64, n int) float64 {
	raw := (high - low) / float64(n)
	switch {
	case u == quantity.Seconds && raw > 1:
		return clockStep(raw)
	case u == quantity.Bytes && raw > 1:
		return math.Exp2(math.Ceil(math.Log2(raw) - 1e-9))
	case u == quantity.Bytes:
		return 1
	}
	return step(raw)
}

// linear are round values of an axis, about n of them, and its bounds: with
// whole they are moved outwards to ticks.
func linear(s span, u quantity.Unit, n int, whole bool) axis {
	if s.high-s.low <= math.Abs(s.high)*1e-9 { // all the same, or nothing
		room := math.Abs(s.high)
		if room == 0 {
			room = 1
		}
		if s.low >= 0 && whole {
			s.low, s.high = 0, max(s.high, room)
		} else {
			s.low, s.high = s.low-room/2, s.high+room/2
		}
	}
	d := stepOf(u, s.low, s.high, n)
	if whole {
		s.low, s.high = math.Floor(s.low/d+1e-9)*d, math.Ceil(s.high/d-1e-9)*d
		s.high = max(s.high, s.low+d) // all within a rounding error of a tick
	}
	a := axis{low: s.low, high: s.high}
	first := math.Ceil(s.low/d - 1e-9)
	for i := 0.0; i < 100; i++ {
		at := (first + i) * d
		if at > s.high+d*1e-6 {
			break
		}
		a.ticks = append(a.ticks, tick{at, u.TextStep(at, d)})
	}
	return a
}

// logarithmic are powers of ten, and where the values lie within two of them also
// their multiples by 2 and 5.
func logarithmic(s span, u quantity.Unit, n int, whole bool) axis {
	if s.low >= s.high*(1-1e-9) {
		s.low, s.high = s.low/2, s.high*2
	}
	first, last := math.Floor(math.Log10(s.low)+1e-9), math.Ceil(math.Log10(s.high)-1e-9)
	multiples := []float64{1}
	if last-first <= 2 {
		multiples = []float64{1, 2, 5}
	}
	each := max(1, math.Ceil((last-first)/float64(max(n, 1)))) // decades from tick to tick
	var all []float64
	for e := first; e <= last; e += each {
		for _, m := range multiples {
			all = append(all, m*math.Pow(10, e))
		}
	}
	a := axis{low: s.low, high: s.high, log: true}
	if whole {
		a.low, a.high = all[0], math.Pow(10, last)
		for _, at := range all { // the bounds are the nearest ticks outside
			if at <= s.low*(1+1e-9) {
				a.low = at
			}
		}
		for i := len(all) - 1; i >= 0; i-- {
			if all[i] >= s.high*(1-1e-9) {
				a.high = all[i]
			}
		}
	}
	for _, at := range all {
		if at >= a.low*(1-1e-9) && at <= a.high*(1+1e-9) {
			a.ticks = append(a.ticks, tick{at, u.TextStep(at, at)})
		}
	}
	return a
}

// Times that a clock can show: the years 1 to 9999.
const (
	firstTime = -62135596800
	lastTime  = 253402300799
)

// clock are round times of an axis whose values are seconds of Unix time, at
// most n of them. A day is named where it begins.
func clock(s span, zone *time.Location, n int) axis {
	if s.high-s.low < 1 {
		s.low, s.high = s.low-0.5, s.high+0.5
	}
	s.low, s.high = max(s.low, firstTime), min(s.high, lastTime)
	if s.high <= s.low {
		s.low, s.high = min(s.low, lastTime-1), min(s.low, lastTime-1)+1
	}
	a := axis{low: s.low, high: s.high}
	d := clockStep((s.high - s.low) / float64(n))
	_, offset := time.Unix(int64(s.low), 0).In(zone).Zone()
	local := float64(offset) // ticks are round on the zone's clock
	for at := math.Ceil((s.low+local)/d)*d - local; at <= s.high && len(a.ticks) < 100; at += d {
		t := time.Unix(int64(at), 0).In(zone)
		format := "15:04"
		switch h, m, sec := t.Clock(); {
		case d >= 200*86400:
			format = "2006-01-02"
		case d >= 86400, h == 0 && m == 0 && sec == 0:
			format = "2 Jan"
		case d < 60:
			format = "15:04:05"
		}
		a.ticks = append(a.ticks, tick{at, t.Format(format)})
	}
	return a
}

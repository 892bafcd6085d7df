package statushttp

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"pgregory.net/rapid"
)

// The rings hold what they are for and no more, whatever comes.
func TestRingIsBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		every := time.Duration(rapid.IntRange(100, 200_000).Draw(t, "every ms")) * time.Millisecond
		short, long := newRing(shortSpan, max(every, shortStep)), newRing(longSpan, max(every, longStep))
		now, last, peak := at, int64(0), int64(0)
		for i := range rapid.IntRange(1, 3000).Draw(t, "looks") {
			now = now.Add(every)
			p := point{at: now, ok: rapid.IntRange(0, 9).Draw(t, "ok") > 0, records: rapid.Int64Range(0, 1e6).Draw(t, "records"), acked: int64(i)}
			if p.ok {
				last, peak = p.acked, max(peak, p.records)
			}
			short.add(p)
			long.add(p)
		}
		for _, r := range []*ring{short, long} {
			if len(r.points) > 721 || r == short && len(r.points) > 451 {
				t.Fatalf("%d points", len(r.points))
			}
			var most, newest int64
			for i, p := range r.points {
				if i > 0 && !p.at.After(r.points[i-1].at) {
					t.Fatalf("point %d is not behind the one before", i)
				}
				if p.ok {
					most, newest = max(most, p.records), p.acked
				}
			}
			if newest != last && r.step == every {
				t.Fatalf("the newest look is lost: %d, want %d", newest, last)
			}
			if most != peak && now.Sub(at) < shortSpan { // no peak is lost before it is old
				t.Fatalf("the peak is %d, want %d", most, peak)
			}
		}
	})
}

func TestSeries(t *testing.T) {
	r := newRing(time.Minute, time.Second)
	for i, p := range []point{
		{ok: true, records: 5, acked: 10, settled: 5},
		{ok: true, records: 25, acked: 40, settled: 15},
		{},
		{ok: true, records: 30, acked: 50, settled: 20},
		{ok: true, records: 1, acked: 1, settled: 0}, // another spool
		{ok: true, records: 1, acked: 3, settled: 2},
		{ok: true, records: 1, acked: 5, settled: 0}, // and another one, which took more
	} {
		p.at = at.Add(time.Duration(i) * 2 * time.Second)
		r.add(p)
	}
	s := seriesOf(r.points)
	nan := math.NaN()
	for _, tt := range []struct {
		name      string
		got, want []float64
	}{
		{"records", s.records, []float64{5, 25, nan, 30, 1, 1, 1}},
		{"acked", s.acked, []float64{nan, 15, nan, nan, nan, 1, nan}},
		{"settled", s.settle, []float64{nan, 5, nan, nan, nan, 1, nan}},
	} {
		for i := range tt.want {
			if tt.got[i] != tt.want[i] && !(math.IsNaN(tt.got[i]) && math.IsNaN(tt.want[i])) {
				t.Errorf("%s is %v, want %v", tt.name, tt.got, tt.want)
				break
			}
		}
	}
	begin := float64(at.Unix())
	if marks := silences(s); len(marks) != 1 || marks[0].From != begin+2 || marks[0].To != begin+6 {
		t.Errorf("silences %v", marks)
	}
}

// Each line is drawn in its chart, and under its name.
func TestCharts(t *testing.T) {
	two := func(v float64) []float64 { return []float64{v, v} }
	s := series{at: []time.Time{at, at.Add(time.Minute)}, records: two(40), age: two(7200), acked: two(9), settle: two(0)}
	parts := strings.Split(chartsOf(s, "15m"), "<svg")[1:]
	if len(parts) != 3 {
		t.Fatalf("%d charts", len(parts))
	}
	last := func(chart, line string) float64 { // how far down the line is at its end
		t.Helper()
		found := regexp.MustCompile(`<polyline class="`+line+`" points="[^"]* ([0-9.]+)"`).FindAllStringSubmatch(chart, -1)
		if len(found) == 0 {
			t.Fatalf("no %s in %s", line, chart)
		}
		y, err := strconv.ParseFloat(found[len(found)-1][1], 64)
		if err != nil {
			t.Fatal(err)
		}
		return y
	}
	for i, want := range []string{">40<", ">accepted<", ">2 h<"} {
		if !strings.Contains(parts[i], want) {
			t.Errorf("chart %d has no %s: %s", i, want, parts[i])
		}
	}
	if first, second := strings.Index(parts[1], ">accepted<"), strings.Index(parts[1], ">settled<"); first > second || last(parts[1], "plot-1") >= last(parts[1], "plot-2") {
		t.Error("what is accepted and what is settled have changed places: " + parts[1])
	}
}

// behind is a moment d later than at, of a clock that was set meanwhile: by the monotonic
// clock alone.
func behind(at time.Time, d time.Duration) time.Time {
	later := at
	parts := (*struct {
		wall uint64
		ext  int64 // the monotonic reading of a time that has one
		loc  *time.Location
	})(unsafe.Pointer(&later))
	parts.ext += int64(d)
	return later
}

// A device whose clock is set while the page is there, as many begin in 1970, has lines in which
// the times are as far apart as they were.
func TestClockThatIsSet(t *testing.T) {
	now := time.Now()
	first := now.Add(-50 * 365 * 24 * time.Hour)
	set := behind(first, 0) // the same moment, first told by the old clock and then by the new one
	set = set.Add(now.Sub(first))
	set = behind(set, -now.Sub(first))
	if d := set.Sub(first); d != 0 || set.Round(0).Equal(first.Round(0)) {
		t.Fatalf("the test is wrong: %v", d)
	}
	s := seriesOf([]point{{at: first, ok: true}, {at: first.Add(2 * time.Second), ok: true}, {at: set.Add(4 * time.Second), ok: true, acked: 6}})
	for i, want := range []time.Duration{4 * time.Second, 2 * time.Second, 0} {
		if got := s.at[2].Round(0).Sub(s.at[i].Round(0)); got != want {
			t.Errorf("point %d is %v before the newest, want %v", i, got, want)
		}
	}
	if s.acked[2] != 3 {
		t.Errorf("%v a second, want 3", s.acked[2])
	}
}

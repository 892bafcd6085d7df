package telemetry

import (
	"slices"
	"time"

	"kustospool/engine"
)

// Series are the values of one instrument at one moment.
type Series struct {
	*Instrument
	Points []Point
}

// Point is one value.
type Point struct {
	// Labels are the value of "spool" and those of the instrument's Labels, in
	// their order. They are texts of the program's or a service's, unescaped.
	Labels []string
	Value  float64
	// Buckets is what a histogram has in the place of Value; nil for others.
	Buckets *Buckets
}

// Buckets is a histogram: how many times were in each bucket, by the instrument's
// Bounds, and the rest.
type Buckets struct {
	Bounds []float64 // upper bounds, in seconds
	Counts []int64   // one more than Bounds; none is in two
	Sum    float64   // seconds
}

// Count is how many times there are.
func (b *Buckets) Count() (n int64) {
	for _, c := range b.Counts {
		n += c
	}
	return n
}

func newBuckets(bounds []float64) Buckets {
	return Buckets{Bounds: bounds, Counts: make([]int64, len(bounds)+1)}
}

func (b *Buckets) add(d time.Duration) {
	seconds := max(d, 0).Seconds()
	i, _ := slices.BinarySearch(b.Bounds, seconds)
	b.Counts[i]++
	b.Sum += seconds
}

// merge adds the engine's, whose bounds are callBounds.
func (b *Buckets) merge(d *engine.Durations) {
	for i, n := range d.Buckets {
		b.Counts[i] += n
	}
	b.Sum += d.Sum.Seconds()
}

func (b *Buckets) clone() Buckets {
	return Buckets{Bounds: b.Bounds, Counts: slices.Clone(b.Counts), Sum: b.Sum}
}

func cloneAll(all map[string]*Buckets) map[string]*Buckets {
	out := make(map[string]*Buckets, len(all))
	for key, b := range all {
		c := b.clone()
		out[key] = &c
	}
	return out
}

func bucketsOf(all map[string]*Buckets, key string, bounds []float64) *Buckets {
	b := all[key]
	if b == nil {
		made := newBuckets(bounds)
		b = &made
		all[key] = b
	}
	return b
}

func secondsOf() []float64 {
	var out []float64
	for _, d := range engine.DurationBounds() {
		out = append(out, d.Seconds())
	}
	return out
}

// Collect takes a snapshot of the spool and gives the values of all instruments,
// in the order of [Instruments], the points of each by their labels. An instrument
// without a value has no points. All of it is empty before Watch.
func (m *Meter) Collect() []Series {
	out := make([]Series, len(rows))
	r, ok := m.read()
	spool := m.Spool()
	for i := range rows {
		row := &rows[i]
		s := Series{Instrument: &row.Instrument}
		switch {
		case !ok:
		case row.hist != nil:
			for label, b := range row.hist(&r.sums) {
				p := Point{Labels: []string{spool}, Buckets: b}
				if len(row.Labels) > 0 {
					p.Labels = append(p.Labels, label)
				}
				s.Points = append(s.Points, p)
			}
		default:
			row.read(r, func(v float64, labels ...string) {
				s.Points = append(s.Points, Point{Labels: append([]string{spool}, labels...), Value: v})
			})
		}
		slices.SortFunc(s.Points, func(a, b Point) int { return slices.Compare(a.Labels, b.Labels) })
		out[i] = s
	}
	return out
}

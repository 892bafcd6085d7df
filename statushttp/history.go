package statushttp

import "time"

// Two rings hold what the charts show. Each has one point for a step of time: the
// short one for each look, or for each two seconds where the looks are closer.
const (
	shortSpan = 15 * time.Minute
	shortStep = 2 * time.Second
	longSpan  = 24 * time.Hour
	longStep  = 2 * time.Minute
)

// point is what was seen in one step.
type point struct {
	at      time.Time // of the last look in it
	ok      bool      // there was an answer
	records int64     // that wait, the most of the step
	age     float64   // of the oldest one in seconds, the most of the step
	acked   int64     // counters, the last of the step
	settled int64
}

// ring is the newest points, bounded in number.
type ring struct {
	step   time.Duration
	most   int
	points []point // the oldest first
}

func newRing(span, step time.Duration) *ring {
	return &ring{step: step, most: int(span/step) + 1}
}

// add takes what was seen. Looks that fall into one step make one point.
func (r *ring) add(p point) {
	if n := len(r.points); n > 0 {
		last := &r.points[n-1]
		if p.at.Truncate(r.step).Equal(last.at.Truncate(r.step)) {
			last.merge(p)
			return
		}
	}
	if len(r.points) == r.most {
		copy(r.points, r.points[1:])
		r.points = r.points[:r.most-1]
	}
	r.points = append(r.points, p)
}

func (p *point) merge(newer point) {
	p.at = newer.at
	if !newer.ok {
		return
	}
	if p.ok {
		newer.records, newer.age = max(newer.records, p.records), max(newer.age, p.age)
	}
	*p = newer
}

// series are points as lines. A step without an answer is a gap.
type series struct {
	at                          []time.Time
	records, age, acked, settle []float64 // NaN in a gap; acked and settle a second
}

func seriesOf(points []point) series {
	n := len(points)
	s := series{at: make([]time.Time, n), records: gaps(n), age: gaps(n), acked: gaps(n), settle: gaps(n)}
	for i, p := range points {
		// By the clock of now: where it was set meanwhile, as on a device that begins in
		// 1970, the times before it are told anew, and stay as far apart as they were.
		s.at[i] = points[n-1].at.Add(p.at.Sub(points[n-1].at))
		if !p.ok {
			continue
		}
		s.records[i], s.age[i] = float64(p.records), p.age
		if i == 0 || !points[i-1].ok {
			continue
		}
		// Counters only grow; where they do not, another spool is there now.
		before := points[i-1]
		if dt := p.at.Sub(before.at).Seconds(); dt > 0 && p.acked >= before.acked && p.settled >= before.settled {
			s.acked[i], s.settle[i] = float64(p.acked-before.acked)/dt, float64(p.settled-before.settled)/dt
		}
	}
	return s
}

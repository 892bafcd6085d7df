package progress

import "time"

const (
	// meterWindow is how far back a rate looks: long enough for deliveries,
	// which settle a batch at a time.
	meterWindow = 30 * time.Second
	// meterLeast is how long is counted before there is a rate. What a second
	// brings in its first millisecond says nothing of the second.
	meterLeast = time.Second
	// meterStep is the distance between two samples that are kept.
	meterStep = 250 * time.Millisecond
	// longest is the time left above which none is told.
	longest = 100 * time.Hour
)

// meter makes a rate of counts. Its zero value is ready for use.
type meter struct {
	samples []sample // oldest first; those within the window, and the one before
}

type sample struct {
	at time.Time
	n  int64
}

// add notes that n were done at a time.
func (m *meter) add(at time.Time, n int64) {
	if last := len(m.samples) - 1; last >= 1 && at.Sub(m.samples[last-1].at) < meterStep {
		m.samples[last] = sample{at, n}
	} else {
		m.samples = append(m.samples, sample{at, n})
	}
	keep := 0
	for keep+1 < len(m.samples) && at.Sub(m.samples[keep+1].at) >= meterWindow {
		keep++
	}
	m.samples = append(m.samples[:0], m.samples[keep:]...)
}

// rate is how many a second the last window brought; false where too little
// was seen to tell.
func (m *meter) rate() (perSecond float64, ok bool) {
	if len(m.samples) < 2 {
		return 0, false
	}
	first, last := m.samples[0], m.samples[len(m.samples)-1]
	seconds := last.at.Sub(first.at).Seconds()
	if seconds < meterLeast.Seconds() {
		return 0, false
	}
	return max(0, float64(last.n-first.n)/seconds), true
}

// left is how long the rest takes at the rate; false where the rate does not
// tell.
func (m *meter) left(total int64) (time.Duration, bool) {
	rate, ok := m.rate()
	if !ok || rate <= 0 {
		return 0, false
	}
	rest := total - m.samples[len(m.samples)-1].n
	seconds := float64(rest) / rate
	if rest <= 0 || seconds >= longest.Seconds() {
		return 0, false
	}
	return max(time.Duration(seconds*float64(time.Second)), time.Second), true
}

package engine

import (
	"slices"
	"sync/atomic"
	"time"
)

// durationBounds are the upper bounds of the buckets of Durations: from what a
// commit to fast memory takes to what a caller waits for room.
var durationBounds = [...]time.Duration{
	100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute,
}

// Durations is a histogram of times: how many were at most as long as each of
// [DurationBounds], without those in a bucket before, and how many were longer.
// The zero value is empty.
type Durations struct {
	Buckets [len(durationBounds) + 1]int64
	Sum     time.Duration
}

// DurationBounds are the upper bounds of the buckets, from 100 microseconds to a
// minute. The last bucket has none.
func DurationBounds() []time.Duration { return slices.Clone(durationBounds[:]) }

// Count is how many times there are.
func (d *Durations) Count() (n int64) {
	for _, b := range d.Buckets {
		n += b
	}
	return n
}

// Add counts one time. A negative one, of a clock that was set back, counts as 0.
func (d *Durations) Add(t time.Duration) {
	t = max(t, 0)
	d.Buckets[bucketOf(t)]++
	d.Sum += t
}

// Merge adds all times of another histogram.
func (d *Durations) Merge(other *Durations) {
	for i, n := range other.Buckets {
		d.Buckets[i] += n
	}
	d.Sum += other.Sum
}

// bucketOf is a loop because most times are short, and one of a few microseconds
// is in the first bucket.
func bucketOf(t time.Duration) int {
	for i, bound := range durationBounds {
		if t <= bound {
			return i
		}
	}
	return len(durationBounds)
}

// sharedDurations are Durations that many goroutines add to: on the way of each
// acknowledgement, so without a lock.
type sharedDurations struct {
	buckets [len(durationBounds) + 1]atomic.Int64
	sum     atomic.Int64
}

func (d *sharedDurations) add(t time.Duration) {
	t = max(t, 0)
	d.buckets[bucketOf(t)].Add(1)
	d.sum.Add(int64(t))
}

// take gives what was added since the last time. A time that is added meanwhile
// may have its sum in one and its count in the next.
func (d *sharedDurations) take() (out Durations) {
	for i := range d.buckets {
		out.Buckets[i] = d.buckets[i].Swap(0)
	}
	out.Sum = time.Duration(d.sum.Swap(0))
	return out
}

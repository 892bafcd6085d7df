package load

import (
	"math/bits"
	"time"
)

// Each power of two is divided into subBuckets steps; numbers below
// 2*subBuckets have a bucket of their own. maxBits bounds what is told apart:
// longer durations, from 2^42 ns or 73 minutes, are counted in the last bucket.
const (
	subBits    = 5
	subBuckets = 1 << subBits
	maxBits    = 42
	buckets    = (maxBits-subBits-1)*subBuckets + 2*subBuckets
)

// Histogram counts durations in logarithmic buckets, each divided linearly:
// about 9 KiB, however many are counted. The zero value is empty. It is not
// safe for concurrent use.
type Histogram struct {
	counts [buckets]int64
	total  int64
	max    time.Duration
}

// Add counts one duration. A negative one, from a clock that was set, counts
// as zero.
func (h *Histogram) Add(d time.Duration) {
	d = max(d, 0)
	h.counts[bucketOf(uint64(d))]++
	h.total++
	h.max = max(h.max, d)
}

// Merge adds everything that o counted.
func (h *Histogram) Merge(o *Histogram) {
	for i, n := range o.counts {
		h.counts[i] += n
	}
	h.total += o.total
	h.max = max(h.max, o.max)
}

// Count is the number of durations.
func (h *Histogram) Count() int64 { return h.total }

// Max is the longest duration, exactly.
func (h *Histogram) Max() time.Duration { return h.max }

// Quantile is the duration that the share q (0 to 1) of all durations does not
// exceed, give or take half a bucket's width, 1.6%. It is 0 when empty and
// never more than Max.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h.total == 0 {
		return 0
	}
	rank := min(int64(q*float64(h.total)), h.total-1)
	for i, n := range h.counts {
		if rank -= n; rank < 0 {
			low, width := bucketRange(i)
			return min(time.Duration(low+width/2), h.max)
		}
	}
	return h.max
}

func bucketOf(n uint64) int {
	shift := max(0, bits.Len64(n)-subBits-1)
	return min(shift*subBuckets+int(n>>shift), buckets-1)
}

// bucketRange is the lowest number in a bucket, and how many numbers are in it.
func bucketRange(bucket int) (low, width uint64) {
	shift := max(0, bucket/subBuckets-1)
	return uint64(bucket-shift*subBuckets) << shift, 1 << shift
}

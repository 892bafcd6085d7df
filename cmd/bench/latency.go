package main

import (
	"math/bits"
	"time"
)

// latencies is a histogram of durations with 32 steps to each doubling, so a
// quantile is off by 3% at most. The zero value is empty.
type latencies struct {
	counts [64 * latencySteps]int64
	total  int64
}

const latencySteps = 32

func (l *latencies) add(d time.Duration) {
	l.counts[latencyBucket(uint64(max(d, 0)))]++
	l.total++
}

// latencyBucket gives numbers below 64 buckets of their own, and then 32
// buckets to each power of two.
func latencyBucket(n uint64) int {
	shift := max(0, bits.Len64(n)-6)
	return shift*latencySteps + int(n>>shift)
}

func latencyFloor(bucket int) time.Duration {
	shift := max(0, bucket/latencySteps-1)
	return time.Duration(uint64(bucket-shift*latencySteps) << shift)
}

func (l *latencies) merge(other *latencies) {
	for i, n := range other.counts {
		l.counts[i] += n
	}
	l.total += other.total
}

// quantile is the duration that the share q of all stay at or under.
func (l *latencies) quantile(q float64) time.Duration {
	rank := int64(q * float64(l.total))
	for i, n := range l.counts {
		if rank -= n; n > 0 && rank < 0 {
			return latencyFloor(i)
		}
	}
	return 0
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }

package load

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestHistogram_QuantilesAreWithinHalfABucket(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var parts [3]Histogram
	var all []time.Duration
	for i := range 20_000 {
		d := time.Duration(rnd.ExpFloat64() * float64(time.Millisecond))
		parts[i%3].Add(d)
		all = append(all, d)
	}
	var h Histogram
	for i := range parts {
		h.Merge(&parts[i])
	}
	slices.Sort(all)
	for _, q := range []float64{0, 0.5, 0.9, 0.99, 0.999, 1} {
		want := all[min(int(q*float64(len(all))), len(all)-1)]
		got := h.Quantile(q)
		if off := float64(got - want); off > 0.016*float64(want)+1 || off < -0.016*float64(want)-1 {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	if h.Count() != 20_000 || h.Max() != all[len(all)-1] {
		t.Errorf("count %d, max %v; want 20000, %v", h.Count(), h.Max(), all[len(all)-1])
	}
}

func TestHistogram_Extremes(t *testing.T) {
	var h Histogram
	if h.Quantile(0.5) != 0 || h.Max() != 0 {
		t.Error("an empty histogram has a median")
	}
	h.Add(-time.Second)
	if h.Quantile(1) != 0 {
		t.Errorf("a negative duration counts as %v", h.Quantile(1))
	}
	h.Add(1<<63 - 1)
	if h.Max() != 1<<63-1 || h.Quantile(1) < 1<<41 {
		t.Errorf("the longest duration: max %v, quantile %v", h.Max(), h.Quantile(1))
	}
}

func TestBucket_RangesMeetWithoutGaps(t *testing.T) {
	var next uint64
	for b := range buckets {
		low, width := bucketRange(b)
		if low != next {
			t.Fatalf("bucket %d begins at %d, the one before ended at %d", b, low, next)
		}
		for _, n := range []uint64{low, low + width - 1} {
			if bucketOf(n) != b {
				t.Fatalf("%d is in bucket %d, want %d", n, bucketOf(n), b)
			}
		}
		next = low + width
	}
	if next != 1<<maxBits {
		t.Errorf("the last bucket ends at %d, want %d", next, uint64(1)<<maxBits)
	}
}

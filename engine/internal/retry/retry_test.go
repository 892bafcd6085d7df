package retry

import (
	"testing"
	"time"
)

func TestRetryCeilingDoublesUpToTheCapAndNeverEnds(t *testing.T) {
	want := []time.Duration{1, 2, 4, 8, 16, 32, 60, 60}
	for i, w := range want {
		if got := ceiling(i+1, time.Second, time.Minute); got != w*time.Second {
			t.Errorf("after %d failures: %v, want %vs", i+1, got, int(w))
		}
	}
	for _, n := range []int{100, 1_000_000} {
		if got := ceiling(n, time.Second, time.Minute); got != time.Minute {
			t.Errorf("after %d failures: %v", n, got)
		}
	}
}

func TestJitterStaysBetweenFloorAndCeiling(t *testing.T) {
	for _, r := range []float64{0, 0.25, 0.999} {
		if d := jitter(10*time.Second, time.Second, r); d < time.Second || d > 10*time.Second {
			t.Errorf("r=%v: %v", r, d)
		}
	}
	if d := jitter(time.Second, 2*time.Second, 0.5); d != 2*time.Second {
		t.Errorf("a ceiling under the floor: %v", d)
	}
}

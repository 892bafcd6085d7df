package engine

import (
	"testing"
	"time"
)

// TestRatePromisesNoEnd: of what stands still with something waiting, an operator
// is told how fast it went, and no time at which it will be empty.
func TestRatePromisesNoEnd(t *testing.T) {
	takes := func(d time.Duration, ok bool) func() (time.Duration, bool) {
		return func() (time.Duration, bool) { return d, ok }
	}
	zero, minute := 0.0, 60.0
	tests := []struct {
		name    string
		toEmpty func() (time.Duration, bool)
		still   bool
		want    *float64
	}{
		{"on its way", takes(time.Minute, true), false, &minute},
		{"it stands still", takes(time.Minute, true), true, nil},
		{"nothing was settled lately", takes(0, false), false, nil},
		{"nothing waits", takes(0, true), false, &zero},
		{"nothing waits, and what went before failed", takes(0, true), true, &zero},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rate, got := rateOf(Rate{Records: 2, Bytes: 3}, tt.toEmpty, tt.still)
			if rate.Records != 2 || rate.Bytes != 3 {
				t.Errorf("rate %v", *rate)
			}
			if (got == nil) != (tt.want == nil) || got != nil && *got != *tt.want {
				t.Errorf("empty in %v, want %v", got, tt.want)
			}
		})
	}
}

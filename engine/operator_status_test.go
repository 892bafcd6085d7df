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

// A table promises no end where its destination is in trouble, also one that has not met
// it yet, and none in a spool that failed.
func TestTablePromisesNoEnd(t *testing.T) {
	for _, tt := range []struct {
		name      string
		unhealthy string
		failed    bool
		want      bool
	}{{"well", "", false, true}, {"an outage that it has not met", "transient", false, false}, {"the spool has failed", "", true, false}} {
		l := LaneStats{Waiting: Backlog{Records: 10}, Rate: Rate{Records: 2}, Unhealthy: tt.unhealthy}
		if got := (&operator{inUse: true}).laneOf(&l, tt.failed); (got.TimeToEmpty != nil) != tt.want {
			t.Errorf("%s: empty in %v", tt.name, got.TimeToEmpty)
		}
	}
}

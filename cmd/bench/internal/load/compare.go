package load

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Target is something opened for one measurement.
type Target struct {
	Put   Put
	Close func() error // may be nil
}

// Contender is one of the things compared.
type Contender struct {
	// Name is the figures' key, without spaces or slashes, so that it fits a
	// benchmark's name.
	Name string
	// Open makes it ready, with nothing in it, outside of the measured time.
	Open func(ctx context.Context) (Target, error)
}

// Case is a workload: what stays equal for all contenders.
type Case struct {
	Record    int // bytes
	Producers int
}

// Comparison is the plan of a [Compare].
type Comparison struct {
	Contenders []Contender
	Cases      []Case
	Repeats    int // rounds, at least 1
	Warmup     time.Duration
	Duration   time.Duration
	// Before, where set, runs ahead of each measurement, outside of its time.
	Before func(ctx context.Context) error
	// Measured, where set, hears of each measurement when it is made.
	Measured func(contender string, c Case, r Result)
	// Failed, where set, hears of a contender that failed; what is left of this
	// case is measured without it, and it has no figures there. Where it is not
	// set the comparison ends.
	Failed func(contender string, c Case, err error)
}

// recordBytes bounds what a case's prepared records take in memory together.
const recordBytes = 32 << 20

// Compare measures all contenders on all cases: for each case the rounds, in
// each round every contender once. Round by round the order is turned by one, so that
// none always runs after the same other one. It stops at the first error, where
// Failed does not take it, and when ctx ends.
func Compare(ctx context.Context, c Comparison) (*Table, error) {
	if c.Repeats < 1 || len(c.Contenders) == 0 || len(c.Cases) == 0 {
		return nil, fmt.Errorf("load: %d contenders, %d cases, %d repeats: want at least 1 of each", len(c.Contenders), len(c.Cases), c.Repeats)
	}
	t := newTable()
	for _, of := range c.Cases {
		records := Records(min(1000, max(2, recordBytes/max(of.Record, 1))), of.Record, 1)
		out := make(map[string]bool)
		for round := range c.Repeats {
			for i := range c.Contenders {
				contender := c.Contenders[(i+round)%len(c.Contenders)]
				if out[contender.Name] {
					continue
				}
				r, err := c.measure(ctx, contender, Load{Producers: of.Producers, Records: records, Warmup: c.Warmup, Duration: c.Duration})
				if err != nil && c.Failed != nil && ctx.Err() == nil {
					c.Failed(contender.Name, of, err)
					t.drop(contender.Name, of)
					out[contender.Name] = true
					continue
				}
				if err != nil {
					return nil, fmt.Errorf("%s with %d producers of %d bytes: %w", contender.Name, of.Producers, of.Record, err)
				}
				t.add(contender.Name, of, r)
				if c.Measured != nil {
					c.Measured(contender.Name, of, r)
				}
			}
		}
	}
	// The rounds turn the order; the table shows the one that was asked for.
	t.names = t.names[:0]
	for _, contender := range c.Contenders {
		t.names = append(t.names, contender.Name)
	}
	return t, nil
}

func (c *Comparison) measure(ctx context.Context, of Contender, l Load) (r Result, err error) {
	if c.Before != nil {
		if err := c.Before(ctx); err != nil {
			return Result{}, err
		}
	}
	target, err := of.Open(ctx)
	if err != nil {
		return Result{}, fmt.Errorf("opening: %w", err)
	}
	if target.Close != nil {
		defer func() {
			if closing := target.Close(); closing != nil {
				err = errors.Join(err, fmt.Errorf("closing: %w", closing))
			}
		}()
	}
	return Drive(ctx, l, target.Put)
}

// Median is the middle of the values, or the mean of the two middle ones; 0
// when there are none. The values are left as they are.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	mid := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[mid]
	}
	return (sorted[mid-1] + sorted[mid]) / 2
}

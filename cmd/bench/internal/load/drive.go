package load

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Put makes one record durable, to whatever degree the target promises, and
// returns then. data must not be changed or kept.
type Put func(ctx context.Context, producer int, data []byte) error

// Load is what [Drive] does to a target.
type Load struct {
	// Producers is how many goroutines put records at the same time, from 1.
	Producers int
	// Records are put in turn, each producer beginning at another one. All
	// are assumed to be of one size.
	Records [][]byte
	// Warmup goes before the measurement and is not counted. 0: none.
	Warmup time.Duration
	// Duration is how long records are begun. Those under way at its end are
	// waited for and counted.
	Duration time.Duration
	// Count, where it is not 0, is how many records are measured, in place of
	// Duration.
	Count int64
}

func (l *Load) validate() error {
	var errs []error
	if l.Producers < 1 {
		errs = append(errs, fmt.Errorf("load: %d producers, want at least 1", l.Producers))
	}
	if len(l.Records) == 0 {
		errs = append(errs, errors.New("load: no records"))
	}
	if l.Count < 0 || l.Warmup < 0 || l.Count == 0 && l.Duration <= 0 {
		errs = append(errs, fmt.Errorf("load: count %d, duration %s, warm-up %s: want one of the first two positive, none negative", l.Count, l.Duration, l.Warmup))
	}
	return errors.Join(errs...)
}

// Result is one measurement.
type Result struct {
	N       int64         // records acknowledged
	Bytes   int64         // of their data
	Elapsed time.Duration // from the first one's begin to the last one's end
	// Latencies of single records, as their producer saw them.
	P50, P99, P999, Max time.Duration
}

// PerSecond is acknowledged records a second.
func (r Result) PerSecond() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(r.N) / r.Elapsed.Seconds()
}

// Drive runs the load against put and returns when all producers have ended.
// An error is put's first one, with ctx's cause when that ended first, or says
// what is wrong with l.
func Drive(ctx context.Context, l Load, put Put) (Result, error) {
	if err := l.validate(); err != nil {
		return Result{}, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if l.Warmup > 0 {
		if _, err := l.run(ctx, cancel, put, l.Warmup, 0); err != nil {
			return Result{}, err
		}
	}
	return l.run(ctx, cancel, put, l.Duration, l.Count)
}

// run is one phase: a duration, or count records where that is not 0.
func (l *Load) run(ctx context.Context, cancel context.CancelCauseFunc, put Put, length time.Duration, count int64) (Result, error) {
	var (
		taken atomic.Int64
		bytes atomic.Int64
		start = make(chan struct{})
		begun time.Time // written before start is closed
		seen  = make([]Histogram, l.Producers)
		wg    sync.WaitGroup
	)
	for p := range l.Producers {
		wg.Go(func() {
			<-start
			now, sum := begun, int64(0)
			defer func() { bytes.Add(sum) }()
			for i := p; ; i++ {
				if count == 0 && now.Sub(begun) >= length || count > 0 && taken.Add(1) > count || ctx.Err() != nil {
					return
				}
				data := l.Records[i%len(l.Records)]
				if err := put(ctx, p, data); err != nil {
					cancel(fmt.Errorf("producer %d: %w", p, err))
					return
				}
				end := time.Now()
				seen[p].Add(end.Sub(now))
				sum += int64(len(data))
				now = end
			}
		})
	}
	begun = time.Now()
	close(start)
	wg.Wait()
	elapsed := time.Since(begun)
	if ctx.Err() != nil {
		return Result{}, context.Cause(ctx)
	}
	all := &seen[0]
	for p := 1; p < len(seen); p++ {
		all.Merge(&seen[p])
	}
	return Result{
		N: all.Count(), Bytes: bytes.Load(), Elapsed: elapsed,
		P50: all.Quantile(0.50), P99: all.Quantile(0.99), P999: all.Quantile(0.999), Max: all.Max(),
	}, nil
}

// Package retry says how long to wait after failures: ever longer up to a bound,
// and not all at the same moment. It gives nothing up: there is no last attempt, and
// elapsed time alone ends nothing. It keeps no state, cannot fail, and does not wait
// itself.
package retry

import (
	"math/rand/v2"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// Delay is the pause after the given number of failures in a row, 1 for
// the first: anything up to least doubled with each failure and capped at most
// ("full jitter", so that a fleet that failed together does not come back
// together), but never under a tenth of least, so that it is a pause.
func Delay(failures int, least, most time.Duration) time.Duration {
	return jitter(ceiling(failures, least, most), least/10, rand.Float64())
}

// ceiling is the longest pause after so many failures. It has no end:
// elapsed time alone never gives data up.
func ceiling(failures int, least, most time.Duration) time.Duration {
	b := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(least),
		backoff.WithMaxInterval(most),
		backoff.WithMultiplier(2),
		backoff.WithRandomizationFactor(0),
		backoff.WithMaxElapsedTime(0),
	)
	d := least
	for range min(failures, 64) { // 2^64 passes every cap
		d = b.NextBackOff()
	}
	return d
}

// jitter picks the part r, from 0 to 1, of the way from floor to ceiling.
func jitter(ceiling, floor time.Duration, r float64) time.Duration {
	return floor + time.Duration(r*float64(max(ceiling-floor, 0)))
}

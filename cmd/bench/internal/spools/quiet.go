package spools

import (
	"context"
	"time"

	"kustospool/cmd/bench/internal/device"
)

const (
	// quietFor is how long a spool's files keep their size before its work in
	// the background counts as done, and quietLook how often that is looked at.
	quietFor  = 100 * time.Millisecond
	quietLook = 10 * time.Millisecond
	// patience is for a spool that never comes to rest.
	patience = 5 * time.Second
)

// quiet waits until what was settled has been given back or put by, and the
// device has it all: that is the work of the time before the first measured record.
func quiet(ctx context.Context, dir string, diskBytes func() int64) error {
	tick := time.NewTicker(quietLook)
	defer tick.Stop()
	begun := time.Now()
	for last, since := diskBytes(), begun; time.Since(since) < quietFor && time.Since(begun) < patience; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		if now := diskBytes(); now != last {
			last, since = now, time.Now()
		}
	}
	return device.Settle(dir)
}

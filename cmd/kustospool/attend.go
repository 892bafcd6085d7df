package main

import (
	"context"
	"errors"
	"time"

	"kustospool/cmd/kustospool/internal/progress"
	"kustospool/engine"
)

// lookEvery is how often a waiting command looks at what it waits for.
const lookEvery = 250 * time.Millisecond

// ending is why work ended.
type ending int

const (
	done        ending = iota + 1 // it is done
	timedOut                      // --timeout passed
	interrupted                   // a signal
	held                          // what is in the way waits for an operator
)

// patience is what is left of --timeout. It passes while a run waits for the
// target, be it for room in a full spool or for delivery, and not while it
// reads its input.
type patience struct {
	limited bool
	left    time.Duration
}

func (s *deliverySettings) patience() patience {
	return patience{limited: s.timeout > 0, left: s.timeout}
}

// next is when to look again.
func (p *patience) next() time.Duration {
	if p.limited {
		return min(lookEvery, max(p.left, time.Millisecond))
	}
	return lookEvery
}

// view is what a look at the work under way shows.
type view struct {
	n       int64  // how much is done
	note    string // what stands in the way; empty for nothing
	waiting bool   // for the target
	stuck   bool   // only an operator can make it move
}

// attend runs work, shows in the phase how far it is, and ends its context
// when the patience has run out or the work is stuck. It returns when work
// has. The error is work's own, and none that comes of its context's end.
func attend(ctx context.Context, phase *progress.Phase, limit *patience, work func(context.Context) error, look func() view) (ending, error) {
	defer phase.End()
	within, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- work(within) }()

	why := interrupted // where it is not this function that ends the context
	last := time.Now()
	timer := time.NewTimer(limit.next())
	defer timer.Stop()
	for {
		select {
		case err := <-ended:
			undelivered := new(engine.NotDrainedError)
			switch {
			case err == nil:
				return done, nil
			case within.Err() != nil && (errors.Is(err, context.Canceled) || errors.As(err, &undelivered)):
				return why, nil
			}
			return 0, err
		case now := <-timer.C:
			v := look()
			phase.Show(now, v.n, v.note)
			if v.waiting {
				limit.left -= now.Sub(last)
			}
			last = now
			switch {
			case within.Err() != nil: // it is about to end
			case v.waiting && limit.limited && limit.left <= 0:
				why = timedOut
				cancel()
			case v.stuck:
				why = held
				cancel()
			}
			timer.Reset(limit.next())
		}
	}
}

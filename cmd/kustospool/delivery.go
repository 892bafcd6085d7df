package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"kustospool/engine"
)

// lookEvery is how often a waiting command looks at what it waits for.
const lookEvery = 250 * time.Millisecond

// ending is why waiting for delivery ended.
type ending int

const (
	delivered   ending = iota + 1 // nothing is spooled any more
	timedOut                      // --timeout passed
	interrupted                   // a signal
	held                          // everything left waits for an operator
)

// deliver seals what is open and waits until nothing is spooled, or one of
// the other endings. begun is when this run opened the spool: a lane counts
// as held only by an attempt of this run, because the cause of an older one
// may have been mended since. The error is the engine's, and none of these.
func deliver(ctx context.Context, s *deliverySettings, spool *engine.Spool, p *progress, begun time.Time) (ending, error) {
	wait, cancel := s.waiting(ctx)
	defer cancel()
	total := spool.Stats().Spooled()
	p.begin("settled", total)
	defer p.end()

	done := make(chan error, 1)
	go func() { done <- spool.Drain(wait) }()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	waitsForOperator := false
	for {
		select {
		case err := <-done:
			left := new(engine.NotDrainedError)
			switch {
			case err == nil:
				p.at(total, "")
				return delivered, nil
			case !errors.As(err, &left):
				return 0, err
			case waitsForOperator:
				return held, nil
			case ctx.Err() != nil:
				return interrupted, nil
			}
			return timedOut, nil
		case <-look.C:
			stats, lanes := spool.Stats(), spool.Lanes()
			p.at(max(0, total-stats.Spooled()), obstacle(stats, lanes))
			if allHeld(lanes, begun) {
				waitsForOperator = true
				cancel()
			}
		}
	}
}

// allHeld reports whether only an operator can make anything move: every lane
// is held by an attempt since begun, and nothing is under way.
func allHeld(lanes []engine.LaneStatus, begun time.Time) bool {
	for _, l := range lanes {
		if !l.Held || l.Open > 0 || l.InFlight > 0 || l.Failure == nil || l.Failure.At.Before(begun) {
			return false
		}
	}
	return len(lanes) > 0
}

// obstacle is what the service or the network last said against what is still
// spooled, in one line; empty when nothing was said.
func obstacle(stats engine.Stats, lanes []engine.LaneStatus) string {
	first, more := "", 0
	for _, l := range lanes {
		if l.Failure == nil {
			continue
		}
		if first != "" {
			more++
			continue
		}
		waits := ""
		if l.Held {
			waits = " waits"
		}
		first = fmt.Sprintf("%s.%s%s: %s", l.Properties.Database, l.Properties.Table, waits, l.Failure)
	}
	switch {
	case first == "" && stats.Unhealthy != nil:
		return stats.Unhealthy.String()
	case more > 0:
		return fmt.Sprintf("%s (and %d more tables)", first, more)
	}
	return first
}

// explain says why a run ended before everything was delivered, and how to go
// on.
func explain(c *console, why ending, t target, dir string, timeout time.Duration, stats engine.Stats, lanes []engine.LaneStatus) {
	switch why {
	case delivered:
		return
	case timedOut:
		c.note("Not delivered within %s.", timeout)
	case interrupted:
		c.note("Stopped.")
	case held:
		c.note("All that is left waits for somebody to act:")
	}
	shown := 0
	for _, l := range lanes {
		if l.Failure == nil {
			continue
		}
		if shown == 10 {
			c.note("  ...")
			break
		}
		shown++
		c.note("  %s.%s: %s", l.Properties.Database, l.Properties.Table, l.Failure)
	}
	if shown == 0 && stats.Unhealthy != nil {
		c.note("  %s", stats.Unhealthy)
	}
	c.note("%d records are durable in the spool. To go on:\n  %s", stats.Spooled(), goOn(t, dir))
}

// goOn is the command that delivers what a run has left.
func goOn(t target, dir string) string {
	to := t.text
	if t.kind == toSimulator {
		// The simulator ended with the run; the data can go anywhere.
		to = "TARGET"
	}
	return fmt.Sprintf("kustospool drain --to %s --spool %s", shellWord(to), shellWord(dir))
}

// shellWord quotes s for a POSIX shell where that is needed.
func shellWord(s string) string {
	for _, r := range s {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
		case strings.ContainsRune("/.:-_=@+,", r), r == filepath.Separator:
		default:
			return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
		}
	}
	if s == "" {
		return "''"
	}
	return s
}

package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"kustospool/cmd/kustospool/internal/progress"
	"kustospool/engine"
)

// deliver seals what is open and waits until nothing is spooled, or one of
// the other endings. The error is the engine's, and none of these.
func (x *session) deliver(ctx context.Context) (ending, error) {
	total := x.spool.Stats().Waiting.Records
	return attend(ctx, x.c.begin("settled", "records", total), &x.patience, x.spool.Drain, func() view {
		stats := x.spool.Stats()
		return view{n: max(0, total-stats.Waiting.Records), note: obstacle(&stats), waiting: true, stuck: allHeld(&stats, x.begun, false)}
	})
}

// allHeld reports whether only an operator can make anything move: every lane
// is paused, or held by an attempt since begun, because the cause of an older one may have
// been mended, and nothing is under way. What is open in a lane that is held stays
// open behind its batches, and in a full spool without any.
func allHeld(stats *engine.Stats, begun time.Time, full bool) bool {
	lanes := stats.Backlogged()
	for _, l := range lanes {
		waits := l.Paused != nil || l.Held && l.Failure != nil && !l.Failure.At.Before(begun)
		if !waits || l.Waiting.Open > 0 && l.Batches.Live() == 0 && !full || l.Batches.UnderWay() > 0 {
			return false
		}
	}
	return len(lanes) > 0
}

// obstacle is what the service or the network last said against what is still
// spooled, in one line; empty when nothing was said.
func obstacle(stats *engine.Stats) string {
	first, more := "", 0
	for _, l := range stats.Backlogged() {
		if l.Failure == nil && l.Paused == nil {
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
		first = fmt.Sprintf("%s.%s%s: %s", l.Properties.Database, l.Properties.Table, waits, whyWaiting(&l))
	}
	switch {
	case first == "" && stats.Unhealthy != nil:
		return stats.Unhealthy.String()
	case more > 0:
		return fmt.Sprintf("%s (and %d more tables)", first, more)
	}
	return first
}

// whyWaiting is why a lane that has something waiting does not move.
func whyWaiting(l *engine.LaneStats) string {
	if p := l.Paused; p != nil {
		text := "paused since " + p.Since.Format(time.RFC3339)
		if p.Reason != "" {
			text += " (" + p.Reason + ")"
		}
		return text
	}
	return l.Failure.String()
}

// explain says why a run ended before everything was stored and delivered, and
// how to go on.
func (x *session) explain(o outcome, stats *engine.Stats) {
	c := x.c
	switch {
	case o.why == timedOut && o.unread:
		c.note("The spool is full, and there was no room for the rest of the input within %s.", x.s.timeout)
	case o.why == timedOut:
		c.note("Not delivered within %s.", x.s.timeout)
	case o.why == interrupted:
		c.note("Stopped.")
	case o.why == held && o.unread:
		c.note("The spool is full, and all that is in it waits for somebody to act:")
	case o.why == held:
		c.note("All that is left waits for somebody to act:")
	}
	shown := 0
	for _, l := range stats.Backlogged() {
		if l.Failure == nil && l.Paused == nil {
			continue
		}
		if shown == 10 {
			c.note("  ...")
			break
		}
		shown++
		c.note("  %s.%s: %s", l.Properties.Database, l.Properties.Table, progress.Clean(whyWaiting(&l)))
	}
	if shown == 0 && stats.Unhealthy != nil {
		c.note("  %s", progress.Clean(stats.Unhealthy.String()))
	}
	if o.why == held {
		c.note("What to do about it:\n  kustospool status --spool %s", shellWord(x.dir))
	}
	if n := stats.Waiting.Records; n > 0 {
		c.note("%s in the spool, durable and not delivered. To go on:\n  %s", count(n, "record"), goOn(x.dest.target, x.dir))
	}
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

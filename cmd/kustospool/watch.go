package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"kustospool/cmd/kustospool/internal/progress"
	"kustospool/internal/visible"
	"kustospool/operate"
)

// watchIt shows the status again and again. What goes wrong is shown in its
// place, because it may come right again: a program that is restarted, say.
func (s *statusSettings) watchIt(ctx context.Context, c *console, dir string) (int, error) {
	var canvas *progress.Canvas
	if out, ok := c.out.(*visible.Writer); ok && !s.json {
		canvas = progress.NewCanvas(out.W)
	}
	if canvas != nil {
		if err := canvas.Begin(); err != nil {
			return 0, err
		}
	}
	tick := time.NewTicker(s.every)
	defer tick.Stop()
	for {
		shown, err := s.now(ctx, dir)
		if ctx.Err() != nil {
			return exitOK, nil
		}
		switch {
		case canvas != nil:
			columns, rows := canvas.Size()
			err = canvas.Paint(watchLines(shown, err, columns, rows))
		case err != nil:
			c.note("kustospool status: %s", err)
			err = nil
		case s.json:
			err = json.NewEncoder(c.out).Encode(shown)
		default:
			if err = writeStatus(c.out, shown); err == nil {
				_, err = io.WriteString(c.out, "\n")
			}
		}
		if err != nil {
			return 0, err
		}
		select {
		case <-ctx.Done():
			return exitOK, nil
		case <-tick.C:
		}
	}
}

// watchLines are a status on a terminal: the troubles first, then the tables with the
// longest wait, and as many of both as there is room for.
func watchLines(s *operate.Status, err error, columns, rows int) []string {
	if err != nil {
		return []string{time.Now().Format(time.TimeOnly), err.Error()}
	}
	n := &s.Counters
	state := "at rest"
	if s.InUse {
		state = "in use"
	}
	lines := []string{
		fmt.Sprintf("%s  %s  %s", s.At.Local().Format(time.TimeOnly), s.Spool, state),
		fmt.Sprintf("acked %d, waiting %d, ingested %d, dead letters %d", n.Acked, n.Open+n.Sealed, n.Ingested+n.HandedOver, n.DeadWaiting),
	}
	disk := shortBytes(n.DiskBytes)
	if n.QuotaBytes > 0 {
		disk += " of " + shortBytes(n.QuotaBytes)
	}
	line := "disk " + disk
	if s.Rate != nil {
		line += "; " + rateText(s.Rate, s.TimeToEmpty)
	}
	lines = append(lines, line)
	left := rows - 1 - len(lines)
	// Of the room that is left, the tables have a third at least.
	forTroubles := left - min(left/3, len(s.Lanes)+2)
	for i := range s.Troubles {
		t := &s.Troubles[i]
		text := []string{"", string(t.Level) + ": " + troubleTitle(t)}
		if t.Said != "" {
			text = append(text, "  said: "+t.Said)
		}
		text = append(text, wrap("  next: "+t.Next, columns-1)...)
		if len(text) > forTroubles {
			lines = append(lines, fmt.Sprintf("and %d more troubles", len(s.Troubles)-i))
			break
		}
		forTroubles -= len(text)
		lines = append(lines, text...)
	}
	if len(s.Lanes) > 0 {
		lines = append(lines, "", fmt.Sprintf("%-32s %10s %8s %10s  %s", "TABLE", "WAITING", "OLDEST", "RATE", "SAID"))
	}
	for i := range s.Lanes {
		l := &s.Lanes[i]
		if len(lines) >= rows-2 && len(s.Lanes)-i > 1 {
			lines = append(lines, fmt.Sprintf("and %d more tables", len(s.Lanes)-i))
			break
		}
		said, rate := "", ""
		if l.Failure != nil {
			said = l.Failure.String()
		}
		if l.Rate != nil {
			rate = few(l.Rate.Records) + "/s"
		}
		lines = append(lines, fmt.Sprintf("%-32s %10d %8s %10s  %s", progress.Fit(visible.String(l.Database+"."+l.Table), 32), l.Open+l.Records, shortAge(l.OldestSeconds), rate, said))
	}
	return lines[:min(len(lines), max(rows-1, 1))]
}

// wrap breaks text into lines of a number of columns, at blanks, the later ones set in.
func wrap(text string, columns int) (lines []string) {
	const in = "        "
	for len(text) > columns && columns > 2*len(in) {
		at := columns
		for at > len(in) && text[at] != ' ' {
			at--
		}
		if at == len(in) {
			break
		}
		lines = append(lines, text[:at])
		text = in + text[at+1:]
	}
	return append(lines, text)
}

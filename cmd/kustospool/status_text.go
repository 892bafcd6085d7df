package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"kustospool/internal/quantity"
	"kustospool/internal/visible"
	"kustospool/operate"
)

// writeStatus writes a status for people.
func writeStatus(w io.Writer, s *operate.Status) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, line := range statusHead(s) {
		fmt.Fprintf(t, "%s\t%s\n", line[0], visible.String(line[1]))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for i := range s.Troubles {
		if err := writeTrouble(w, &s.Troubles[i]); err != nil {
			return err
		}
	}
	t = tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i := range s.Lanes {
		for _, line := range laneLines(&s.Lanes[i], s.At) {
			fmt.Fprintf(t, "%s\t%s\n", line[0], visible.String(line[1]))
		}
	}
	if n := s.Cut["lanes"]; n > 0 {
		fmt.Fprintf(t, "\nand %d more\t\n", n)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if err := writeBatches(w, "Batches", s.Batches, s.Cut["batches"]); err != nil {
		return err
	}
	if err := writeBatches(w, "Dead letters in "+visible.String(deadDir(s.Spool)), s.Dead, s.Cut["dead_letters"]); err != nil {
		return err
	}
	return writeFiles(w, s)
}

// statusHead are name and value of what is of the spool as a whole.
func statusHead(s *operate.Status) (lines [][2]string) {
	n := &s.Counters
	add := func(name, format string, args ...any) {
		lines = append(lines, [2]string{name, fmt.Sprintf(format, args...)})
	}
	add("spool", "%s", s.Spool)
	add("identity", "%s", s.ID)
	if s.InUse {
		add("state", "in use")
	} else {
		add("state", "at rest")
	}
	for _, line := range []struct {
		name   string
		n      int64
		always bool
	}{
		{"acked (durable)", n.Acked, true}, {"in no batch yet", n.Open, true}, {"in batches", n.Sealed, true},
		{"ingested", n.Ingested, true}, {"of them skipped", n.Skipped, false}, {"handed over", n.HandedOver, false},
		{"dead-lettered", n.DeadLettered, true}, {"dead letters waiting", n.DeadWaiting, false},
		{"dead letters handled", n.DeadHandled, false}, {"dropped", n.Dropped, false},
		{"possible duplicates", n.PossibleDuplicates, true}, {"damage found", n.Damaged, false},
		{"waiting for room", int64(n.WaitingForRoom), false},
	} {
		if line.always || line.n != 0 {
			add(line.name, "%s", quantity.Count(line.n))
		}
	}
	if !n.Oldest.IsZero() {
		add("oldest", "accepted %s, %s ago", n.Oldest.Format(time.RFC3339), shortAge(n.OldestSeconds))
	}
	if s.Rate != nil {
		add("rate", "%s", rateText(s.Rate, s.TimeToEmpty))
	}
	disk := quantity.Size(n.DiskBytes)
	if n.QuotaBytes > 0 {
		disk += fmt.Sprintf(" of %s (%.0f%%)", quantity.Size(n.QuotaBytes), 100*float64(n.DiskBytes)/float64(n.QuotaBytes))
	}
	if n.FreeBytes >= 0 {
		disk += fmt.Sprintf(", %s free", quantity.Size(n.FreeBytes))
	}
	add("disk", "%s", disk)
	if n.QuarantinedFiles > 0 {
		add("quarantine", "%d files, %s", n.QuarantinedFiles, quantity.Size(n.QuarantinedBytes))
	}
	for _, line := range s.Found {
		add("found", "%s", line)
	}
	return lines
}

// rateText is a speed, and how long the backlog takes at it.
func rateText(r *operate.Rate, toEmpty *float64) string {
	text := fmt.Sprintf("%s records/s, %s/s", quantity.Rate(r.Records), quantity.Size(int64(r.Bytes)))
	switch {
	case toEmpty == nil && r.Records == 0:
		text += "; not emptying"
	case toEmpty != nil && *toEmpty > 0:
		text += fmt.Sprintf(", empty in %s", shortAge(*toEmpty))
	}
	return text
}

// writeTrouble writes what does not go well, since when, why, and what to do.
func writeTrouble(w io.Writer, t *operate.Trouble) error {
	t2 := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t2, "\n%s\t%s\n", strings.ToUpper(string(t.Level)), visible.String(troubleTitle(t)))
	if !t.Since.IsZero() {
		fmt.Fprintf(t2, "  since\t%s", t.Since.Format(time.RFC3339))
		if t.Last.After(t.Since) {
			fmt.Fprintf(t2, ", last %s", t.Last.Format(time.RFC3339))
		}
		fmt.Fprintln(t2)
	}
	if f := t.Failure(); f != nil {
		fmt.Fprintf(t2, "  said\t%s\n", visible.String(f.String()))
	}
	for _, file := range t.Files {
		fmt.Fprintf(t2, "  file\t%s\n", visible.String(file))
	}
	fmt.Fprintf(t2, "  next\t%s\n", t.Next)
	return t2.Flush()
}

// troubleTitle is a trouble in one line.
func troubleTitle(t *operate.Trouble) string {
	title := string(t.Kind)
	switch {
	case t.Table != "":
		title += ", table " + t.Table
	case t.Tables > 1:
		title += ", " + quantity.Count(int64(t.Tables)) + " tables"
	}
	return title + ": " + t.What
}

// laneLines are name and value of what is of a lane, behind an empty line.
func laneLines(l *operate.Lane, now time.Time) (lines [][2]string) {
	add := func(name, format string, args ...any) {
		lines = append(lines, [2]string{name, fmt.Sprintf(format, args...)})
	}
	format := l.Format
	if l.Blobs {
		format += ", blobs by reference"
	}
	add("\ntable", "%s.%s (%s)", l.Database, l.Table, format)
	size := quantity.Size(l.RawBytes)
	if l.Blobs {
		size = "of a size that shows when they are sent"
	}
	batches := "batches"
	if l.Batches == 1 {
		batches = "batch"
	}
	records := "records"
	if l.Open == 1 {
		records = "record"
	}
	add("waiting", "%s %s in no batch, %s in %s %s (%s)", quantity.Count(l.Open), records, quantity.Count(l.Records), quantity.Count(l.Batches), batches, size)
	if !l.Oldest.IsZero() {
		add("oldest", "accepted %s, %s ago", l.Oldest.Format(time.RFC3339), shortAge(l.OldestSeconds))
	}
	if l.Rate != nil {
		add("rate", "%s", rateText(l.Rate, l.TimeToEmpty))
	}
	if f := l.Failure; f != nil {
		said := fmt.Sprintf("%s (%s", f.String(), f.At.Format(time.RFC3339))
		if !f.First.IsZero() {
			said += ", since " + f.First.Format(time.RFC3339)
		}
		add("last failure", "%s)", said)
	}
	if p := l.Paused; p != nil {
		add("paused", "since %s%s", p.Since.Format(time.RFC3339), reason(p.Reason))
	}
	if l.Held {
		add("held", "it waits for an operator")
	}
	if l.Next.After(now) {
		add("next attempt", "%s", l.Next.Format(time.RFC3339))
	}
	return lines
}

func reason(s string) string {
	if s == "" {
		return ""
	}
	return ": " + s
}

func writeBatches(w io.Writer, title string, batches []operate.Batch, more int) error {
	if len(batches) == 0 && more == 0 {
		return nil
	}
	if _, err := fmt.Fprintf(w, "\n%s:\n", title); err != nil {
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "  ID\tTABLE\tSTATE\tRECORDS\tSIZE\tATTEMPTS\tSAID")
	for i := range batches {
		b := &batches[i]
		said := ""
		if b.Failure != nil {
			said = visible.String(b.Failure.String())
		}
		fmt.Fprintf(t, "  %s\t%s.%s\t%s\t%s\t%s\t%d\t%s\n", b.ID, visible.String(b.Database), visible.String(b.Table), b.State, quantity.Count(b.Records), quantity.Size(b.RawBytes), b.Attempts, said)
	}
	if more > 0 {
		fmt.Fprintf(t, "  and %d more; see --limit\n", more)
	}
	return t.Flush()
}

func writeFiles(w io.Writer, s *operate.Status) error {
	if len(s.Quarantine) == 0 {
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "\nSet aside because of damage:\n  FILE\tSIZE\tSINCE\n")
	for _, f := range s.Quarantine {
		fmt.Fprintf(t, "  %s\t%s\t%s\n", visible.String(f.Name), quantity.Size(f.Bytes), f.At.Format(time.RFC3339))
	}
	if more := s.Cut["quarantine"]; more > 0 {
		fmt.Fprintf(t, "  and %d more; see --limit\n", more)
	}
	return t.Flush()
}

// shortAge is a time span in its two largest units: 3d4h, 2h5m, 12s.
func shortAge(seconds float64) string {
	n := int64(seconds)
	switch {
	case n < 60:
		return fmt.Sprintf("%ds", n)
	case n < 3600:
		return fmt.Sprintf("%dm%ds", n/60, n%60)
	case n < 86400:
		return fmt.Sprintf("%dh%dm", n/3600, n%3600/60)
	}
	return fmt.Sprintf("%dd%dh", n/86400, n%86400/3600)
}

package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"kustospool/internal/visible"
	"kustospool/operate"
)

// The exit codes and words of monitoring plugins, see
// https://www.monitoring-plugins.org/doc/guidelines.html.
const (
	nagiosOK = iota
	nagiosWarning
	nagiosCritical
	nagiosUnknownCode
)

var nagiosWords = [...]string{"OK", "WARNING", "CRITICAL", "UNKNOWN"}

// bound is a pair of thresholds; 0 is none.
type bound struct{ warn, critical float64 }

// level is what a value means.
func (b bound) level(v float64) int {
	switch {
	case b.critical > 0 && v >= b.critical:
		return nagiosCritical
	case b.warn > 0 && v >= b.warn:
		return nagiosWarning
	}
	return nagiosOK
}

// nagiosBounds are the thresholds of --nagios.
type nagiosBounds struct {
	warnAge, criticalAge   time.Duration
	warnDisk, criticalDisk int
	warnDead, criticalDead int
	warnWait, criticalWait int64
}

func (b *nagiosBounds) register(fs *pflag.FlagSet) {
	fs.DurationVar(&b.warnAge, "warn-age", time.Hour, "--nagios: warn when the oldest record waits that long; 0 means never, here and below")
	fs.DurationVar(&b.criticalAge, "critical-age", 24*time.Hour, "--nagios: critical when the oldest record waits that long")
	fs.IntVar(&b.warnDisk, "warn-disk", 80, "--nagios: warn at this percentage of the spool's bound on disk, where a process has it open")
	fs.IntVar(&b.criticalDisk, "critical-disk", 95, "--nagios: critical at this percentage")
	fs.IntVar(&b.warnDead, "warn-dead", 1, "--nagios: warn at this number of dead letters that wait")
	fs.IntVar(&b.criticalDead, "critical-dead", 0, "--nagios: critical at this number")
	fs.Int64Var(&b.warnWait, "warn-waiting", 0, "--nagios: warn at this number of waiting records")
	fs.Int64Var(&b.criticalWait, "critical-waiting", 0, "--nagios: critical at this number")
}

func (b *nagiosBounds) check() error {
	for _, f := range []struct {
		name string
		n    float64
	}{
		{"warn-age", float64(b.warnAge)}, {"critical-age", float64(b.criticalAge)}, {"warn-disk", float64(b.warnDisk)}, {"critical-disk", float64(b.criticalDisk)},
		{"warn-dead", float64(b.warnDead)}, {"critical-dead", float64(b.criticalDead)}, {"warn-waiting", float64(b.warnWait)}, {"critical-waiting", float64(b.criticalWait)},
	} {
		if f.n < 0 {
			return usagef("--%s: must not be negative", f.name)
		}
	}
	return nil
}

// judge prints the one line, and gives the exit code.
func (b *nagiosBounds) judge(w io.Writer, s *operate.Status) (int, error) {
	n := &s.Counters
	level, reasons := nagiosOK, []string(nil)
	raise := func(l int, format string, args ...any) {
		if l > nagiosOK {
			level = max(level, l)
			reasons = append(reasons, fmt.Sprintf(format, args...))
		}
	}
	disk := 0.0
	if n.QuotaBytes > 0 {
		disk = float64(n.DiskBytes) * 100 / float64(n.QuotaBytes)
	}
	age, dead := bound{b.warnAge.Seconds(), b.criticalAge.Seconds()}, bound{float64(b.warnDead), float64(b.criticalDead)}
	used, waits := bound{float64(b.warnDisk), float64(b.criticalDisk)}, bound{float64(b.warnWait), float64(b.criticalWait)}
	waiting := n.Open + n.Sealed
	for i := range s.Troubles {
		t := &s.Troubles[i]
		switch {
		case t.Kind == operate.MalformedRecords: // has bounds of its own
		case t.Level == operate.Critical:
			raise(nagiosCritical, "%s", troubleTitle(t))
		case t.Level == operate.Warning:
			raise(nagiosWarning, "%s", troubleTitle(t))
		}
	}
	raise(age.level(n.OldestSeconds), "the oldest record waits for %s", shortAge(n.OldestSeconds))
	raise(used.level(disk), "%.0f%% of the room are used", disk)
	raise(dead.level(float64(n.DeadWaiting)), "%s", wait(n.DeadWaiting, "dead letter"))
	raise(waits.level(float64(waiting)), "%s", wait(waiting, "record"))
	if level == nagiosOK {
		reasons = []string{fmt.Sprintf("%s, the oldest for %s", wait(waiting, "record"), shortAge(n.OldestSeconds))}
	}
	// 'label'=value[unit];warn;critical;least;most
	data := []string{
		perf("waiting", fmt.Sprint(waiting), waits, "0;"),
		perf("oldest", fmt.Sprintf("%.0fs", n.OldestSeconds), age, "0;"),
		perf("dead_letters", fmt.Sprint(n.DeadWaiting), dead, "0;"),
		perf("disk", fmt.Sprintf("%dB", n.DiskBytes), bound{used.warn * float64(n.QuotaBytes) / 100, used.critical * float64(n.QuotaBytes) / 100}, fmt.Sprintf("0;%s", some(float64(n.QuotaBytes)))),
		perf("acked", fmt.Sprintf("%dc", n.Acked), bound{}, "0;"),
		perf("ingested", fmt.Sprintf("%dc", n.Ingested), bound{}, "0;"),
		perf("dead_lettered", fmt.Sprintf("%dc", n.DeadLettered), bound{}, "0;"),
		perf("dropped", fmt.Sprintf("%dc", n.Dropped), bound{}, "0;"),
	}
	_, err := fmt.Fprintf(w, "KUSTOSPOOL %s - %s | %s\n", nagiosWords[level], nagiosText(strings.Join(reasons, "; ")), strings.Join(data, " "))
	return level, err
}

func perf(label, value string, b bound, rest string) string {
	return fmt.Sprintf("%s=%s;%s;%s;%s", label, value, some(b.warn), some(b.critical), rest)
}

// some is a threshold; empty for none.
func some(v float64) string {
	if v == 0 {
		return ""
	}
	return fmt.Sprintf("%.0f", v)
}

// nagiosText is text that ends neither the line nor its first part.
func nagiosText(s string) string { return strings.ReplaceAll(visible.String(s), "|", "/") }

// nagiosUnknown says that the status could not be had.
func nagiosUnknown(w io.Writer, err error) (int, error) {
	_, werr := fmt.Fprintf(w, "KUSTOSPOOL %s - %s\n", nagiosWords[nagiosUnknownCode], nagiosText(inFlags(err)))
	return nagiosUnknownCode, werr
}

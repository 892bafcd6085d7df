// Command peers compares how fast kustospool acknowledges records with the
// disk's own limit and with other stores, all in one run.
//
//	go run . -h
//	go run . -producers 1,16,64,256 -repeats 5 -duration 2s -dir /the/disk
//	go run . -engines 'kustospool*,append*,pebble' -record 128,16384
//
// ../bars.sh runs it as the bars want it, with the other benchmarks of them.
//
// # What is promised
//
// All engines get the same records from the same producers. They take turns,
// in rounds whose order is turned, each in a new directory on the same disk;
// before each one the file system is synced, and the disk's fdatasync is timed. Standard
// output has a Go benchmark line for each measurement, then tables of the
// medians, then the bars: ratios of two figures of this run with a verdict.
//
// # Failure
//
// An engine that fails in a case is named on standard error and has no figures
// there; the run goes on without it and ends with exit code 1. So does, with
// -strict, a run where a bar failed. Exit code 2 says that the command is wrong.
//
// # What it does not do
//
// It does not check that a peer keeps what it promises, and it measures only
// the way in: every queue fills up and nothing is taken out, except of engines
// whose name ends in -recycled (see package spools). append-prealloc is a ring,
// and so on recycled space by itself. Engines whose name ends in -default or -nosync acknowledge what a power cut takes away.
// All modules are linked into one program, so that file_storage and
// kustospool run on the same version of bbolt, the newest that one of them asks for.
//
// It is a module of its own, so that the peers never enter kustospool's go.mod.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"time"

	"kustospool/cmd/bench/internal/device"
	"kustospool/cmd/bench/internal/limit"
	"kustospool/cmd/bench/internal/load"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// settings are the flags.
type settings struct {
	engines   []engine
	records   []int
	producers []int
	repeats   int
	warmup    time.Duration
	duration  time.Duration
	dir       string
	strict    bool
}

const (
	maxRecord    = 4 << 20
	maxProducers = 1 << 14
	// syncsBefore each measurement are timed; the run's median is over all.
	syncsBefore = 15
)

// run returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	s, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintf(stderr, "peers: %v\n", err)
		return 2
	}
	if err := compare(ctx, s, args, stdout, stderr); err != nil {
		fmt.Fprintf(stderr, "peers: %v\n", err)
		return 1
	}
	return 0
}

func parse(args []string, stderr io.Writer) (s settings, err error) {
	var names, records, producers string
	fs := flag.NewFlagSet("peers", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&names, "engines", "*", "engines to compare, with commas between; a * at the end is for all that begin so")
	fs.StringVar(&records, "record", strconv.Itoa(barRecord), "record sizes in bytes, with commas between; the bars are for "+strconv.Itoa(barRecord))
	fs.StringVar(&producers, "producers", "1,16,64,256,1024", "numbers of producers, with commas between")
	fs.IntVar(&s.repeats, "repeats", 3, "rounds; the tables have their medians")
	fs.DurationVar(&s.warmup, "warmup", 200*time.Millisecond, "time before each measurement that does not count")
	fs.DurationVar(&s.duration, "duration", 2*time.Second, "time of each measurement")
	fs.StringVar(&s.dir, "dir", "", "directory on the disk to measure; default the temporary directory")
	fs.BoolVar(&s.strict, "strict", false, "exit with 1 when a bar fails")
	fs.Usage = func() {
		fmt.Fprintln(stderr, "usage: peers [flags]\n\nCompares acknowledged records a second. Flags:")
		fs.PrintDefaults()
		fmt.Fprintln(stderr, "\nEngines:")
		for _, e := range engines {
			fmt.Fprintf(stderr, "  %-21s %s\n", e.name, e.about)
		}
	}
	if err := fs.Parse(args); err != nil {
		return s, err
	}
	var errs [4]error
	s.engines, errs[0] = choose(names)
	s.records, errs[1] = load.Numbers("record", records, load.MinRecordBytes, maxRecord)
	s.producers, errs[2] = load.Numbers("producers", producers, 1, maxProducers)
	if s.repeats < 1 || s.duration <= 0 || s.warmup < 0 || fs.NArg() > 0 {
		errs[3] = fmt.Errorf("-repeats and -duration must be positive, -warmup not negative, and no arguments follow the flags (%q)", fs.Args())
	}
	return s, errors.Join(errs[:]...)
}

func compare(ctx context.Context, s settings, args []string, stdout, stderr io.Writer) error {
	if err := load.Heading(stdout, "kustospool/cmd/bench/peers"); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "date: %s\ngo: %s\ncommand: go run . %s\n\n", time.Now().UTC().Format(time.RFC3339), runtime.Version(), strings.Join(args, " "))
	parent, err := os.MkdirTemp(s.dir, "kustospool-peers-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(parent) // each measurement has removed its own
	var syncs []float64
	failures := 0
	plan := load.Comparison{
		Repeats: s.repeats, Warmup: s.warmup, Duration: s.duration,
		Before: func(context.Context) error {
			if err := device.Settle(parent); err != nil {
				return err
			}
			d, err := limit.MedianSync(parent, syncsBefore)
			syncs = append(syncs, float64(d))
			return err
		},
		Measured: func(name string, c load.Case, r load.Result) {
			r.Print(stdout, "Ingest", "engine="+name, fmt.Sprintf("record=%d", c.Record), fmt.Sprintf("producers=%d", c.Producers))
		},
		Failed: func(name string, c load.Case, err error) {
			failures++
			fmt.Fprintf(stderr, "peers: %s with %d producers of %d bytes: %v\n", name, c.Producers, c.Record, err)
		},
	}
	for _, e := range s.engines {
		plan.Contenders = append(plan.Contenders, e.contender(parent))
	}
	for _, record := range s.records {
		for _, producers := range s.producers {
			plan.Cases = append(plan.Cases, load.Case{Record: record, Producers: producers})
		}
	}
	table, err := load.Compare(ctx, plan)
	if err != nil {
		return err
	}
	median := time.Duration(load.Median(syncs))
	fmt.Fprintf(stdout, "\nmedian fdatasync of an appended 4 KiB page in this run: %.0f us\n", micros(median))
	if err := table.Print(stdout, floor); err != nil {
		return err
	}
	if s.repeats < barRepeats {
		fmt.Fprintf(stdout, "\n%d rounds: the verdicts below are no verdicts, which want medians of at least %d\n", s.repeats, barRepeats)
	}
	failed, err := judge(stdout, bars(table, median, s.duration))
	if err == nil && failures > 0 {
		err = fmt.Errorf("%d engines failed", failures)
	}
	if err == nil && failed > 0 && s.strict {
		err = fmt.Errorf("%d bars failed", failed)
	}
	return err
}

// judge prints the bars and counts those that failed.
func judge(w io.Writer, verdicts []load.Bar) (failed int, err error) {
	if len(verdicts) == 0 {
		_, err := fmt.Fprintln(w, "\nno bar has both of its figures in this run")
		return 0, err
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return 0, err
	}
	return load.PrintBars(w, verdicts)
}

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"kustospool/cmd/bench/internal/limit"
	"kustospool/cmd/bench/internal/load"
)

// limits are the forms of the plain file, see package limit.
var limits = []struct {
	name string
	opts limit.Options
}{
	{"append1", limit.Options{Syncs: 1}},
	{"append2", limit.Options{Syncs: 2}},
	{"prealloc", limit.Options{Syncs: 1, Preallocate: 64 << 20}},
	{"pipelined", limit.Options{Syncs: 1, Preallocate: 64 << 20, InFlight: 2}},
	{"nosync", limit.Options{}},
}

// runLimit measures what the disk allows a store, without one.
func runLimit(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var record, count int
	var producers, dir string
	var duration time.Duration
	fs := flag.NewFlagSet("limit", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.IntVar(&record, "record", 1024, "record size in bytes, from "+strconv.Itoa(load.MinRecordBytes))
	fs.StringVar(&producers, "producers", "1,16,64,256,1024", "numbers of producers, one result each")
	fs.DurationVar(&duration, "duration", 2*time.Second, "how long each result takes")
	fs.IntVar(&count, "count", 1, "how many times to measure each")
	fs.StringVar(&dir, "dir", "", "directory on the disk to measure; default the temporary directory")
	if err := parse(fs, args); err != nil {
		return err
	}
	if record < load.MinRecordBytes || record > 4<<20 || duration <= 0 || count < 1 {
		return usageError{fmt.Errorf("-record must be from %d to %d, -duration and -count positive", load.MinRecordBytes, 4<<20)}
	}
	counts, err := load.Numbers("producers", producers, 1, 1<<14)
	if err != nil {
		return usageError{err}
	}
	heading(stdout)
	records := load.Records(64, record, 1)
	for range count {
		for _, n := range counts {
			for _, l := range limits {
				r, err := measureLimit(ctx, dir, l.opts, load.Load{Producers: n, Records: records, Warmup: duration / 10, Duration: duration}, func(int) {})
				if err != nil {
					return err
				}
				if err := r.Print(stdout, "Limit", "log="+l.name, fmt.Sprintf("record=%d", record), fmt.Sprintf("producers=%d", n)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// measureLimit drives a load into a log of its own. acked hears of the size of
// each record that is acknowledged.
func measureLimit(ctx context.Context, dir string, opts limit.Options, l load.Load, acked func(bytes int)) (r load.Result, err error) {
	temp, err := os.MkdirTemp(dir, "kustospool-limit-")
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	log, err := limit.Create(filepath.Join(temp, "log"), opts)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	return load.Drive(ctx, l, func(ctx context.Context, _ int, data []byte) error {
		err := log.Append(ctx, data)
		if err == nil {
			acked(len(data))
		}
		return err
	})
}

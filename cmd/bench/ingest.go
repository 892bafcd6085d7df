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
	"strings"
	"time"

	"kustospool/batching"
	"kustospool/cmd/bench/internal/limit"
	"kustospool/cmd/bench/internal/load"
	"kustospool/cmd/bench/internal/spools"
	"kustospool/engine"
	"kustospool/transport"
)

type ingestSettings struct {
	records   []int
	producers []int
	lanes     []int
	duration  time.Duration
	n         int64
	count     int
	dir       string
	floor     bool
	backlog   int64
	options   engine.Options
}

// runIngest measures acknowledgements: producers that each ingest one record
// after the other, into a spool whose destination never answers.
func runIngest(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	s := ingestSettings{}
	fs := flag.NewFlagSet("ingest", flag.ContinueOnError)
	fs.SetOutput(stderr)
	records := fs.String("record", "1024", "record sizes in bytes, from "+strconv.Itoa(load.MinRecordBytes)+", with commas between")
	producers := fs.String("producers", "1,16,64,256,1024", "numbers of producers")
	lanes := fs.String("lanes", "1", "numbers of tables the producers spread over")
	fs.DurationVar(&s.duration, "duration", 2*time.Second, "how long each result takes")
	fs.Int64Var(&s.n, "n", 0, "number of records of each result, in place of -duration")
	fs.IntVar(&s.count, "count", 1, "how many times to measure each")
	fs.StringVar(&s.dir, "dir", "", "directory on the disk to measure; default the temporary directory")
	fs.BoolVar(&s.floor, "floor", false, "also measure the disk: a plain file with a group commit")
	fs.Int64Var(&s.backlog, "backlog", 0, "raw bytes that wait in the spool before each result")
	fs.BoolVar(&s.options.CompressOnDisk, "compress", false, "compress frames on disk")
	fs.DurationVar(&s.options.CommitInterval, "commit-interval", 0, "how long a commit waits for more records")
	if err := parse(fs, args); err != nil {
		return err
	}
	var errs [4]error
	s.records, errs[0] = load.Numbers("record", *records, load.MinRecordBytes, 4<<20)
	s.producers, errs[1] = load.Numbers("producers", *producers, 1, 1<<14)
	s.lanes, errs[2] = load.Numbers("lanes", *lanes, 1, 10_000)
	if s.n < 0 || s.backlog < 0 || s.count < 1 || s.duration <= 0 {
		errs[3] = errors.New("-count and -duration must be positive, -n and -backlog not negative")
	}
	if err := errors.Join(errs[:]...); err != nil {
		return usageError{err}
	}
	heading(stdout)
	for range s.count {
		for _, size := range s.records {
			prepared := load.Records(max(2, min(1000, 32<<20/size)), size, 1)
			for _, n := range s.producers {
				l := load.Load{Producers: n, Records: prepared, Duration: s.duration, Count: s.n}
				if s.n == 0 {
					l.Warmup = s.duration / 10
				}
				if err := s.measure(ctx, l, size, stdout); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// measure makes the results of one load.
func (s *ingestSettings) measure(ctx context.Context, l load.Load, size int, stdout io.Writer) error {
	for _, lanes := range s.lanes {
		heap := watchHeap()
		r, err := measureSpool(ctx, s.dir, l, lanes, s.backlog, spools.Silent{}, s.options)
		peak := float64(heap.stop()) / (1 << 20)
		if err != nil {
			return err
		}
		name := []string{"Ingest", fmt.Sprintf("record=%d", size), fmt.Sprintf("lanes=%d", lanes), fmt.Sprintf("producers=%d", l.Producers)}
		if err := r.Print(stdout, name...); err != nil {
			return err
		}
		fmt.Fprintf(stdout, "# %s: peak heap %.1f MiB\n", strings.Join(name[1:], " "), peak)
	}
	if !s.floor {
		return nil
	}
	r, err := measureLimit(ctx, s.dir, limit.Options{Syncs: 1}, l, func(int) {})
	if err != nil {
		return err
	}
	return r.Print(stdout, "Floor", fmt.Sprintf("record=%d", size), fmt.Sprintf("producers=%d", l.Producers))
}

// measureSpool drives a load into a spool of its own on fresh space, with a
// backlog, that delivers to to.
func measureSpool(ctx context.Context, dir string, l load.Load, tables int, size int64, to transport.Transport, opts engine.Options) (r load.Result, err error) {
	temp, err := os.MkdirTemp(dir, "kustospool-bench-")
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	path := filepath.Join(temp, "spool")
	if size > 0 {
		if _, err := fillBacklog(ctx, path, backlog{size: size, batch: batching.DefaultMaxBytes}); err != nil {
			return r, err
		}
	}
	return driveSpool(ctx, path, l, spools.EngineOptions{Tables: tables, Transport: to, Engine: opts})
}

// driveSpool drives a load into the spool at path.
func driveSpool(ctx context.Context, path string, l load.Load, o spools.EngineOptions) (r load.Result, err error) {
	spool, err := spools.OpenEngine(ctx, path, o)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, spool.Close()) }()
	return load.Drive(ctx, l, func(ctx context.Context, _ int, data []byte) error { return spool.Put(ctx, data) })
}

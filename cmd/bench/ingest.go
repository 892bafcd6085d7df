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
	"sync/atomic"
	"time"

	"kustospool/batching"
	"kustospool/cmd/bench/internal/limit"
	"kustospool/cmd/bench/internal/load"
	"kustospool/engine"
	"kustospool/ingest"
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

// quota is never reached: only the way in is measured.
const quota = 1 << 40

// runIngest measures acknowledgements: producers that each ingest one record
// after the other, into a spool whose destination never answers.
func runIngest(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	s := ingestSettings{options: engine.Options{MaxDiskBytes: quota}}
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
		r, written, err := measureSpool(ctx, s.dir, l, lanes, s.backlog, silent{}, s.options)
		peak := float64(heap.stop()) / (1 << 20)
		if err != nil {
			return err
		}
		name := []string{"Ingest", fmt.Sprintf("record=%d", size), fmt.Sprintf("lanes=%d", lanes), fmt.Sprintf("producers=%d", l.Producers)}
		if err := r.Print(stdout, name...); err != nil {
			return err
		}
		fmt.Fprintf(stdout, "# %s: peak heap %.1f MiB", strings.Join(name[1:], " "), peak)
		if written > 0 {
			fmt.Fprintf(stdout, ", %.2f bytes written to disk for each payload byte", written)
		}
		fmt.Fprintln(stdout)
	}
	if !s.floor {
		return nil
	}
	r, err := measureLimit(ctx, s.dir, limit.Options{Syncs: 1}, l)
	if err != nil {
		return err
	}
	return r.Print(stdout, "Floor", fmt.Sprintf("record=%d", size), fmt.Sprintf("producers=%d", l.Producers))
}

// measureSpool drives a load into a spool of its own, with a backlog, that
// delivers to to. written is
// how many bytes went to the disk for each of the payload, warm-up included;
// 0 where the system does not tell.
func measureSpool(ctx context.Context, dir string, l load.Load, lanes int, backlog int64, to transport.Transport, opts engine.Options) (r load.Result, written float64, err error) {
	temp, err := os.MkdirTemp(dir, "kustospool-bench-")
	if err != nil {
		return r, 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	path := filepath.Join(temp, "spool")
	if backlog > 0 {
		if _, err := fillBacklog(ctx, path, backlog, batching.DefaultMaxBytes); err != nil {
			return r, 0, err
		}
	}
	spool, err := engine.Open(path, to, &opts)
	if err != nil {
		return r, 0, err
	}
	defer func() { err = errors.Join(err, spool.Close()) }()
	tables := make([]*engine.Table, lanes)
	for i := range tables {
		tables[i], err = spool.Table(ingest.Properties{Database: "Bench", Table: fmt.Sprintf("T%d", i), Format: ingest.JSON})
		if err != nil {
			return r, 0, err
		}
		// The first record of a table makes its lane, which is not what is measured.
		if _, err := tables[i].Ingest(ctx, []byte("{}")); err != nil {
			return r, 0, err
		}
	}
	var next, bytes atomic.Int64
	before := diskWritten()
	r, err = load.Drive(ctx, l, func(ctx context.Context, _ int, data []byte) error {
		bytes.Add(int64(len(data)))
		_, err := tables[next.Add(1)%int64(lanes)].Ingest(ctx, data)
		return err
	})
	if after := diskWritten(); after > before {
		written = float64(after-before) / float64(max(bytes.Load(), 1))
	}
	return r, written, err
}

// silent is a destination that never answers.
type silent struct{}

func (silent) Send(ctx context.Context, _ *transport.Delivery) (transport.Ack, error) {
	<-ctx.Done()
	return transport.Ack{}, &transport.Error{Op: "send", Class: transport.Transient, Err: ctx.Err()}
}

func (silent) Capabilities() transport.Capabilities { return transport.Capabilities{ExactlyOnce: true} }

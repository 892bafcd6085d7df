package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/transport"
)

type ingestSettings struct {
	record    int
	producers []int
	lanes     int
	duration  time.Duration
	records   int64
	count     int
	dir       string
	floor     bool
}

// runIngest measures acknowledgements: producers that each ingest one record
// after the other, into a spool whose destination never answers.
func runIngest(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var s ingestSettings
	var producers string
	fs := flag.NewFlagSet("ingest", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.IntVar(&s.record, "record", 1024, "record size in bytes")
	fs.StringVar(&producers, "producers", "1,16,64", "numbers of producers, one result each")
	fs.IntVar(&s.lanes, "lanes", 1, "number of tables the producers spread over")
	fs.DurationVar(&s.duration, "duration", 2*time.Second, "how long each result takes")
	fs.Int64Var(&s.records, "n", 0, "number of records of each result, in place of -duration")
	fs.IntVar(&s.count, "count", 1, "how many times to measure each")
	fs.StringVar(&s.dir, "dir", "", "directory on the disk to measure; default the temporary directory")
	fs.BoolVar(&s.floor, "floor", false, "also measure the disk: a plain file with a group commit")
	if err := parse(fs, args); err != nil {
		return err
	}
	for _, text := range strings.Split(producers, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || n < 1 {
			return usageError{fmt.Errorf("-producers %q: must be numbers from 1, with commas between", producers)}
		}
		s.producers = append(s.producers, n)
	}
	if s.record < 1 || s.record > ingest.MaxRecordBytes || s.lanes < 1 || s.records < 0 || s.count < 1 || s.duration <= 0 {
		return usageError{errors.New("-record must be from 1 to 67108864, -lanes, -count and -duration positive, -n not negative")}
	}
	heading(stdout)
	for range s.count {
		for _, n := range s.producers {
			r, err := measureSpool(ctx, s, n)
			if err != nil {
				return err
			}
			r.print(stdout, "Ingest", s.record, n)
			if !s.floor {
				continue
			}
			if r, err = measureFloor(ctx, s, n); err != nil {
				return err
			}
			r.print(stdout, "Floor", s.record, n)
		}
	}
	return nil
}

// acks is one measurement.
type acks struct {
	n         int64
	elapsed   time.Duration
	latencies latencies
}

func (r *acks) print(w io.Writer, name string, record, producers int) {
	sec := r.elapsed.Seconds()
	fmt.Fprintf(w, "Benchmark%s/record=%d/producers=%d-%d\t%8d\t%10.0f ns/op\t%8.2f MB/s\t%10.0f acks/s\t%8.1f p50-us\t%8.1f p99-us\n",
		name, record, producers, runtime.GOMAXPROCS(0), r.n, float64(r.elapsed.Nanoseconds())/float64(max(r.n, 1)),
		float64(r.n)*float64(record)/sec/1e6, float64(r.n)/sec,
		micros(r.latencies.quantile(0.50)), micros(r.latencies.quantile(0.99)))
}

func measureSpool(ctx context.Context, s ingestSettings, producers int) (r *acks, err error) {
	dir, err := os.MkdirTemp(s.dir, "kustospool-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	// A destination that never answers, and a quota that is never reached:
	// only the way in is measured.
	spool, err := engine.Open(dir, silent{}, &engine.Options{MaxDiskBytes: 1 << 40})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, spool.Close()) }()
	tables := make([]*engine.Table, s.lanes)
	for i := range tables {
		tables[i], err = spool.Table(ingest.Properties{Database: "Bench", Table: fmt.Sprintf("T%d", i), Format: ingest.JSON})
		if err != nil {
			return nil, err
		}
		// The first record of a table makes its lane, which is not what is measured.
		if _, err := tables[i].Ingest(ctx, []byte("{}")); err != nil {
			return nil, err
		}
	}
	return produce(ctx, s, producers, func(ctx context.Context, producer int, record []byte) error {
		_, err := tables[producer%s.lanes].Ingest(ctx, record)
		return err
	})
}

// produce runs the producers until the time is over or the records are used
// up. A producer waits for each acknowledgement before its next record.
func produce(ctx context.Context, s ingestSettings, producers int, put func(context.Context, int, []byte) error) (*acks, error) {
	var (
		left    atomic.Int64
		over    atomic.Bool
		wg      sync.WaitGroup
		results = make([]latencies, producers)
		errs    = make([]error, producers)
	)
	left.Store(s.records)
	if s.records == 0 {
		left.Store(1 << 62)
		timer := time.AfterFunc(s.duration, func() { over.Store(true) })
		defer timer.Stop()
	}
	begun := time.Now()
	for p := range producers {
		wg.Go(func() {
			record := payload(s.record)
			for !over.Load() && left.Add(-1) >= 0 {
				at := time.Now()
				if errs[p] = put(ctx, p, record); errs[p] != nil {
					over.Store(true)
					return
				}
				results[p].add(time.Since(at))
			}
		})
	}
	wg.Wait()
	r := &acks{elapsed: time.Since(begun)}
	for p := range results {
		r.latencies.merge(&results[p])
	}
	r.n = r.latencies.total
	return r, errors.Join(errs...)
}

// payload is a record of size bytes that could be a JSON line.
func payload(size int) []byte {
	if size < len(`{"x":""}`) {
		return []byte(strings.Repeat("1", size))
	}
	return []byte(`{"x":"` + strings.Repeat("y", size-len(`{"x":""}`)) + `"}`)
}

// silent is a destination that never answers.
type silent struct{}

func (silent) Send(ctx context.Context, _ *transport.Delivery) (transport.Ack, error) {
	<-ctx.Done()
	return transport.Ack{}, &transport.Error{Op: "send", Class: transport.Transient, Err: ctx.Err()}
}

func (silent) Capabilities() transport.Capabilities { return transport.Capabilities{ExactlyOnce: true} }

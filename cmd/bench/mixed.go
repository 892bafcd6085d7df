package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/gzip"

	"kustospool/batching"
	"kustospool/cmd/bench/internal/load"
	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/transport"
)

// runMixed measures ingestion at full rate while the same spool is drained,
// read, verified and compressed, beside ingestion alone.
func runMixed(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var producers, record, count, senders int
	var duration time.Duration
	var dir string
	fs := flag.NewFlagSet("mixed", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.IntVar(&producers, "producers", 64, "number of producers")
	fs.IntVar(&record, "record", 1024, "record size in bytes")
	fs.IntVar(&senders, "senders", 1, "batches that are drained at the same time")
	fs.IntVar(&count, "count", 5, "how many times to measure each, in turns")
	fs.DurationVar(&duration, "duration", 2*time.Second, "how long each result takes")
	fs.StringVar(&dir, "dir", "", "directory on the disk to measure; default the temporary directory")
	if err := parse(fs, args); err != nil {
		return err
	}
	if producers < 1 || record < load.MinRecordBytes || record > 4<<20 || count < 1 || senders < 1 || duration <= 0 {
		return usageError{fmt.Errorf("-record must be from %d to %d, all others positive", load.MinRecordBytes, 4<<20)}
	}
	heading(stdout)
	l := load.Load{Producers: producers, Records: load.Records(max(2, min(1000, 32<<20/record)), record, 1), Warmup: duration / 10, Duration: duration}
	rates := map[string][]float64{}
	for round := range count {
		order := []string{"alone", "draining"}
		if round%2 == 1 {
			order[0], order[1] = order[1], order[0]
		}
		for _, what := range order {
			sink := &gzipSink{}
			var to transport.Transport = silent{}
			if what == "draining" {
				to = sink
			}
			opts := engine.Options{MaxDiskBytes: quota, Senders: senders, Batch: batching.Policy{MaxBytes: 8 << 20}}
			r, _, err := measureSpool(ctx, dir, l, 1, 0, to, opts)
			if err != nil {
				return err
			}
			rates[what] = append(rates[what], r.PerSecond())
			if err := r.Print(stdout, "Mixed", "ingest="+what, fmt.Sprintf("record=%d", record), fmt.Sprintf("producers=%d", producers)); err != nil {
				return err
			}
			if what == "draining" {
				fmt.Fprintf(stdout, "# drained beside it: %.0f MB/s\n", float64(sink.raw.Load())/1e6/(duration+l.Warmup).Seconds())
			}
		}
	}
	over, under := load.Median(rates["draining"]), load.Median(rates["alone"])
	_, err := fmt.Fprintf(stdout, "ingestion while draining / alone: %.2f (medians %.0f, %.0f acks/s)\n", over/max(under, 1), over, under)
	return err
}

// gzipSink compresses what it is sent, as an upload would, and has it then.
type gzipSink struct{ raw atomic.Int64 }

var _ transport.Transport = (*gzipSink)(nil)

func (s *gzipSink) Send(ctx context.Context, d *transport.Delivery) (transport.Ack, error) {
	r := d.Payload.Open()
	z, err := gzip.NewWriterLevel(io.Discard, gzipLevel)
	if err == nil {
		var n int64
		n, err = io.Copy(z, r)
		s.raw.Add(n)
	}
	if err = errors.Join(err, r.Close()); err == nil {
		err = errors.Join(z.Close(), d.Journal.Commit(ctx, nil))
	}
	if err != nil {
		return transport.Ack{}, &transport.Error{Op: "compress", Class: transport.Transient, Err: err}
	}
	return transport.Ack{State: ingest.Succeeded}, nil
}

func (s *gzipSink) Capabilities() transport.Capabilities {
	return transport.Capabilities{ExactlyOnce: true}
}

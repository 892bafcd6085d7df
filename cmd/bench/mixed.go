package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/gzip"

	"kustospool/batching"
	"kustospool/cmd/bench/internal/limit"
	"kustospool/cmd/bench/internal/load"
	"kustospool/cmd/bench/internal/spools"
	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/transport"
)

// runMixed measures ingestion at full rate while the same spool is drained,
// read, verified and compressed, beside ingestion alone, and the same of the
// plain file that is the limit.
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
	m := mixed{dir: dir, senders: senders, load: load.Load{
		Producers: producers, Records: load.Records(max(2, min(1000, 32<<20/record)), record, 1), Warmup: duration / 10, Duration: duration,
	}}
	rates := make(figures)
	order := []string{"alone", "draining", "limit", "limit-gzip"}
	for round := range count {
		for i := range order {
			what := order[(i+round)%len(order)]
			r, drained, err := m.measure(ctx, what)
			if err != nil {
				return err
			}
			rates.add(what, r.PerSecond())
			if err := r.Print(stdout, "Mixed", "ingest="+what, fmt.Sprintf("record=%d", record), fmt.Sprintf("producers=%d", producers)); err != nil {
				return err
			}
			if drained > 0 {
				fmt.Fprintf(stdout, "# compressed beside it: %.0f MB/s\n", float64(drained)/1e6/(duration+m.load.Warmup).Seconds())
			}
		}
	}
	over, under := rates.ratio("draining", "alone"), rates.ratio("limit-gzip", "limit")
	fmt.Fprintf(stdout, "ingestion while draining / alone: %.2f (medians %.0f, %.0f acks/s); the limit beside gzip / alone: %.2f (%.0f, %.0f)\n",
		over.Value, rates.median("draining"), rates.median("alone"), under.Value, rates.median("limit-gzip"), rates.median("limit"))
	return judge(stdout, []load.Bar{{Name: "ingestion beside a drain, of what the limit keeps beside gzip", Over: over, Under: under, AtLeast: 0.9}}, count)
}

// mixed is what all measurements of a run have in common.
type mixed struct {
	dir     string
	senders int
	load    load.Load
}

// measure gives one result, and how many bytes were compressed beside it.
//
// Both of the spool's are on fresh space. That of a drain
// is given back in part while it is measured, since records come in faster than gzip takes them.
func (m *mixed) measure(ctx context.Context, what string) (r load.Result, drained int64, err error) {
	if err := settle(m.dir); err != nil {
		return r, 0, err
	}
	sink := &gzipSink{}
	opts := engine.Options{Senders: m.senders, Batch: batching.Policy{MaxBytes: drainBatch}}
	switch what {
	case "alone":
		r, err = measureSpool(ctx, m.dir, m.load, 1, 0, spools.Silent{}, opts)
	case "draining":
		r, err = measureSpool(ctx, m.dir, m.load, 1, 0, sink, opts)
	case "limit":
		r, err = measureLimit(ctx, m.dir, mixedLimit, m.load, func(int) {})
	case "limit-gzip":
		r, err = m.besideGzip(ctx, sink)
	}
	return r, sink.raw.Load(), err
}

// mixedLimit is a ring that was written before.
var mixedLimit = limit.Options{Syncs: 1, Preallocate: 64 << 20}

// besideGzip measures the limit while as many goroutines as there are senders
// compress as much as it acknowledges, as far as they keep up: a batch of the same
// records, from a file, for each batch's worth.
func (m *mixed) besideGzip(ctx context.Context, sink *gzipSink) (r load.Result, err error) {
	name, err := m.batchFile()
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.Remove(name)) }()
	var beside sync.WaitGroup
	batches, stop := make(chan struct{}, 1<<16), make(chan struct{})
	errs := make([]error, m.senders)
	for i := range errs {
		beside.Go(func() {
			for errs[i] == nil {
				select {
				case <-stop:
					return
				case <-batches:
				}
				var f *os.File
				if f, errs[i] = os.Open(name); errs[i] == nil {
					errs[i] = errors.Join(sink.compress(f), f.Close())
				}
			}
		})
	}
	var acked atomic.Int64
	r, err = measureLimit(ctx, m.dir, mixedLimit, m.load, func(bytes int) {
		if n := acked.Add(int64(bytes)); n/drainBatch == (n-int64(bytes))/drainBatch {
			return
		}
		select {
		case batches <- struct{}{}:
		default: // far behind, and so busy to the end
		}
	})
	close(stop)
	beside.Wait()
	return r, errors.Join(err, errors.Join(errs...))
}

// batchFile writes a file of the records, as large as a batch.
func (m *mixed) batchFile() (name string, err error) {
	f, err := os.CreateTemp(m.dir, "kustospool-batch-")
	if err != nil {
		return "", err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	for n := 0; n < drainBatch && err == nil; {
		for _, data := range m.load.Records {
			w.Write(data) // Flush has its error
			w.WriteByte('\n')
			n += len(data) + 1
		}
		err = w.Flush()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}

// gzipSink compresses what it is sent, as an upload would, and has it then.
type gzipSink struct{ raw atomic.Int64 }

var _ transport.Transport = (*gzipSink)(nil)

// compress reads r to its end.
func (s *gzipSink) compress(r io.Reader) error {
	z, err := gzip.NewWriterLevel(io.Discard, gzipLevel)
	if err != nil {
		return err
	}
	n, err := io.Copy(z, r)
	s.raw.Add(n)
	return errors.Join(err, z.Close())
}

func (s *gzipSink) Send(ctx context.Context, d *transport.Delivery) (transport.Ack, error) {
	r := d.Payload.Open()
	err := errors.Join(s.compress(r), r.Close())
	if err == nil {
		err = d.Journal.Commit(ctx, nil)
	}
	if err != nil {
		return transport.Ack{}, &transport.Error{Op: "compress", Class: transport.Transient, Err: err}
	}
	return transport.Ack{State: ingest.Succeeded}, nil
}

func (s *gzipSink) Capabilities() transport.Capabilities {
	return transport.Capabilities{ExactlyOnce: true}
}

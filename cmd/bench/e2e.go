package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"kustospool/batching"
	"kustospool/cmd/bench/internal/load"
	"kustospool/cmd/bench/telemetry"
	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/transport/queued"
)

type e2eSettings struct {
	records    int
	producers  int
	batchBytes int64
	outage     time.Duration
	timeout    time.Duration
	dir        string
	verbose    bool
}

// runE2E measures the whole way: producers, spool, queued transport, simulated
// service, rows. After half of the records the service and its storage refuse
// connections for a while, and the producers go on.
func runE2E(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var s e2eSettings
	fs := flag.NewFlagSet("e2e", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.IntVar(&s.records, "n", 200_000, "number of records")
	fs.IntVar(&s.producers, "producers", 64, "number of producers")
	fs.Int64Var(&s.batchBytes, "batch-bytes", 4<<20, "raw bytes of a batch")
	fs.DurationVar(&s.outage, "outage", 2*time.Second, "length of the outage; 0 for none")
	fs.DurationVar(&s.timeout, "timeout", 5*time.Minute, "longest time to wait for delivery")
	fs.StringVar(&s.dir, "dir", "", "directory for the spool; default the temporary directory")
	fs.BoolVar(&s.verbose, "v", false, "tell what happens")
	if err := parse(fs, args); err != nil {
		return err
	}
	if s.records < 1 || s.producers < 1 || s.outage < 0 || s.timeout <= 0 {
		return usageError{errors.New("-n, -producers and -timeout must be positive, -outage not negative")}
	}
	say := func(string, ...any) {}
	if s.verbose {
		say = func(format string, args ...any) { fmt.Fprintf(stderr, format+"\n", args...) }
	}
	r, err := measureE2E(ctx, s, say)
	if err != nil {
		return err
	}
	heading(stdout)
	r.print(stdout, s)
	if r.lost > 0 || r.doubled > 0 || r.unknown > 0 {
		return fmt.Errorf("%d rows lost, %d doubled, %d that nobody sent", r.lost, r.doubled, r.unknown)
	}
	return nil
}

// passage is one measurement. The heap includes the simulator's, which holds
// every row.
type passage struct {
	acked, delivered       time.Duration // from the start
	raw                    int64
	latencies              load.Histogram
	stats                  engine.Stats
	lost, doubled, unknown int64
	peakHeap               uint64
}

func (r *passage) print(w io.Writer, s e2eSettings) {
	sec := r.delivered.Seconds()
	fmt.Fprintf(w, "BenchmarkE2E/producers=%d/outage=%s-%d\t%8d\t%10.0f ns/op\t%8.2f MB/s\t%10.0f records/s\t%10.0f acks/s\t%8.1f p99-ack-us\t%6d batches\t%6.2f ratio\t%d lost\t%d doubled\t%d possible-duplicates\t%6.1f peak-heap-MiB\t%6.1f disk-after-MiB\n",
		s.producers, s.outage, runtime.GOMAXPROCS(0), s.records, float64(r.delivered.Nanoseconds())/float64(s.records),
		float64(r.raw)/sec/1e6, float64(s.records)/sec, float64(s.records)/r.acked.Seconds(), float64(r.latencies.Quantile(0.99).Nanoseconds())/1e3,
		r.stats.SettledBatches.Ingested+r.stats.SettledBatches.Skipped, float64(r.stats.RawBytes)/float64(max(r.stats.WireBytes, 1)),
		r.lost, r.doubled, r.stats.Duplicates.Possible, float64(r.peakHeap)/(1<<20), float64(r.stats.Disk.Bytes)/(1<<20))
}

const e2eDatabase, e2eTable = "Bench", "Telemetry"

func measureE2E(ctx context.Context, s e2eSettings, say func(string, ...any)) (r *passage, err error) {
	sim, err := kustosim.Start(nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, sim.Close()) }()
	if err := sim.CreateTable(e2eDatabase, e2eTable); err != nil {
		return nil, err
	}
	client, err := queued.NewClient(sim.Endpoint(), nil, &queued.ClientOptions{TrackInterval: 100 * time.Millisecond})
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(s.dir, "kustospool-bench-")
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	spool, err := engine.Open(dir, client, &engine.Options{
		Batch: batching.Policy{MaxBytes: s.batchBytes, MaxAge: time.Second},
		// The outage is shorter than any real one, so the pauses are as well.
		RetryMin: 50 * time.Millisecond, RetryMax: 500 * time.Millisecond,
	})
	if err != nil {
		return nil, errors.Join(err, client.Close())
	}
	defer func() { err = errors.Join(err, spool.Close()) }()
	table, err := spool.Table(ingest.Properties{Database: e2eDatabase, Table: e2eTable, Format: ingest.JSON})
	if err != nil {
		return nil, err
	}

	heap := watchHeap()
	r = &passage{}
	books := newLedger()
	begun := time.Now()
	half := make(chan struct{})
	var broken sync.WaitGroup
	broken.Go(func() { breakDown(ctx, sim, half, s.outage, say) })
	err = r.ingest(ctx, s, table, books, half)
	r.acked = time.Since(begun)
	broken.Wait()
	if err == nil {
		say("%d records are durable after %s", s.records, r.acked.Round(time.Millisecond))
		wait, cancel := context.WithTimeout(ctx, s.timeout)
		err = spool.Drain(wait)
		cancel()
	}
	r.delivered = time.Since(begun)
	r.stats = spool.Stats()
	r.peakHeap = heap.stop()
	if err != nil {
		return nil, err
	}
	for _, row := range sim.Rows(e2eDatabase, e2eTable) {
		books.delivered(row)
	}
	r.lost, r.doubled, r.unknown = books.balance()
	return r, nil
}

// ingest runs the producers, and closes half when half of the records are
// durable, or when it ends early.
func (r *passage) ingest(ctx context.Context, s e2eSettings, table *engine.Table, books *ledger, half chan<- struct{}) error {
	var (
		left, done, raw atomic.Int64
		wg              sync.WaitGroup
		results         = make([]load.Histogram, s.producers)
		errs            = make([]error, s.producers)
		once            sync.Once
	)
	left.Store(int64(s.records))
	reached := func() { once.Do(func() { close(half) }) }
	for p := range s.producers {
		wg.Go(func() {
			// A seed of its own makes each producer's records unlike all others.
			source := telemetry.New(uint64(p) + 1)
			var record []byte
			for left.Add(-1) >= 0 {
				record = source.Append(record[:0])
				at := time.Now()
				if _, errs[p] = table.Ingest(ctx, record); errs[p] != nil {
					left.Store(0)
					return
				}
				results[p].Add(time.Since(at))
				books.acknowledged(record)
				raw.Add(int64(len(record)) + 1)
				if done.Add(1) == int64(s.records+1)/2 {
					reached()
				}
			}
		})
	}
	wg.Wait()
	reached()
	for p := range results {
		r.latencies.Merge(&results[p])
	}
	r.raw = raw.Load()
	return errors.Join(errs...)
}

// breakDown takes the whole service away at half time, and gives it back.
func breakDown(ctx context.Context, sim *kustosim.Sim, half <-chan struct{}, length time.Duration, say func(string, ...any)) {
	<-half
	if length == 0 {
		return
	}
	say("outage begins")
	for _, host := range []kustosim.Host{kustosim.DM, kustosim.Blob, kustosim.Queue, kustosim.Table} {
		defer sim.Fault(host, kustosim.Fault{Kind: kustosim.Refuse})()
	}
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	say("outage ends")
}

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"kustospool/batching"
	"kustospool/cmd/bench/internal/load"
	"kustospool/cmd/bench/internal/spools"
	"kustospool/engine"
)

// heapProducers put records while the heap is watched.
const heapProducers = 1024

// recovery are the settings of runRecover.
type recovery struct {
	backlog  int64
	count    int
	duration time.Duration
	dir      string
	stdout   io.Writer
	seen     figures
}

// runRecover measures how long a spool takes to open, with a backlog, without
// one, and after a kill; and what a backlog takes of the heap.
func runRecover(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	r := recovery{stdout: stdout, seen: make(figures)}
	fs := flag.NewFlagSet("recover", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Int64Var(&r.backlog, "backlog", 1<<30, "raw bytes that wait in the spool; the bars are for 20 GiB, 21474836480")
	fs.IntVar(&r.count, "count", 5, "how many times to measure each, in turns")
	fs.DurationVar(&r.duration, "duration", time.Second, "how long the heap is watched under load each time")
	fs.StringVar(&r.dir, "dir", "", "directory for the spools; default the temporary directory")
	if err := parse(fs, args); err != nil {
		return err
	}
	if r.backlog < 1 || r.count < 1 || r.duration <= 0 {
		return usageError{errors.New("-backlog, -count and -duration must be positive")}
	}
	heading(stdout)
	if err := errors.Join(r.kills(ctx), r.opens(ctx)); err != nil {
		return err
	}
	full, empty := fmt.Sprintf("backlog=%d", r.backlog), "backlog=0"
	ms := func(name string) load.Figure { return load.Figure{Text: "ms", Value: r.seen.median(name) / 1e6} }
	mib := func(name string) load.Figure {
		return load.Figure{Text: "MiB", Value: r.seen.median(name) / (1 << 20)}
	}
	bound := func(value float64) load.Figure { return load.Figure{Text: "bound", Value: value} }
	bars := []load.Bar{
		{Name: "open with " + full + ", of an empty spool", Over: ms("open " + full), Under: ms("open " + empty), AtMost: 2.5},
		{Name: "open with " + full + ", in ms", Over: ms("open " + full), Under: bound(20), AtMost: 1},
		{Name: "open after kill -9 with a full active segment, warm, in ms", Over: ms("killed warm"), Under: bound(150), AtMost: 1},
	}
	if len(r.seen["killed cold"]) > 0 {
		bars = append(bars, load.Bar{Name: "open after kill -9 with a full active segment, cold, in ms", Over: ms("killed cold"), Under: bound(150), AtMost: 1})
	}
	bars = append(bars,
		load.Bar{Name: fmt.Sprintf("peak heap with %s, producers=%d, in MiB", full, heapProducers), Over: mib("heap " + full), Under: bound(34), AtMost: 1},
		load.Bar{Name: "peak heap, flat: of an empty spool's", Over: mib("heap " + full), Under: mib("heap " + empty), AtMost: 1.15},
	)
	return judge(stdout, bars, r.count)
}

// opens measures a spool with a backlog and one without, first how they open
// and then their heap under load, which adds to what waits.
func (r *recovery) opens(ctx context.Context) (err error) {
	sizes := []int64{0, r.backlog}
	dirs := make([]string, len(sizes))
	for i, size := range sizes {
		if dirs[i], err = os.MkdirTemp(r.dir, "kustospool-recover-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dirs[i])) }()
		if _, err := fillBacklog(ctx, dirs[i], backlog{size: size, batch: batching.DefaultMaxBytes}); err != nil {
			return err
		}
	}
	for range r.count {
		for i, size := range sizes {
			if err := r.open(dirs[i], "Open", fmt.Sprintf("backlog=%d", size), fmt.Sprintf("open backlog=%d", size), 0); err != nil {
				return err
			}
		}
	}
	for range r.count {
		for i, size := range sizes {
			if err := r.heap(ctx, dirs[i], fmt.Sprintf("backlog=%d", size), size == 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// open opens the spool once, which holds at least so many records.
func (r *recovery) open(dir, benchmark, name, figure string, records int64) error {
	if err := settle(r.dir); err != nil {
		return err
	}
	begun := time.Now()
	spool, err := engine.Open(dir, spools.Silent{}, &engine.Options{MaxDiskBytes: spools.Quota})
	elapsed := time.Since(begun)
	if err != nil {
		return err
	}
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	acked := spool.Stats().Acked
	if err := spool.Close(); err != nil {
		return err
	}
	if acked < records {
		return fmt.Errorf("the spool has %d records, and %d were acknowledged", acked, records)
	}
	r.seen.add(figure, float64(elapsed))
	_, err = fmt.Fprintf(r.stdout, "Benchmark%s/%s-%d\t%8d\t%10d ns/op\t%10d heap-bytes\n", benchmark, name, runtime.GOMAXPROCS(0), 1, elapsed.Nanoseconds(), m.HeapAlloc)
	return err
}

// heap watches the heap while producers put records into the spool; fresh
// takes a new one below dir in its place, so that it stays empty.
func (r *recovery) heap(ctx context.Context, dir, name string, fresh bool) (err error) {
	if fresh {
		if dir, err = os.MkdirTemp(r.dir, "kustospool-recover-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	l := load.Load{Producers: heapProducers, Records: load.Records(1000, 1024, 1), Duration: r.duration}
	if err := settle(r.dir); err != nil {
		return err
	}
	runtime.GC()
	watch := watchHeap()
	result, err := driveSpool(ctx, dir, l, spools.EngineOptions{Tables: 1})
	peak := watch.stop()
	if err != nil {
		return err
	}
	r.seen.add("heap "+name, float64(peak))
	_, err = fmt.Fprintf(r.stdout, "BenchmarkHeap/%s/producers=%d-%d\t%8d\t%10d peak-heap-bytes\t%10.0f acks/s\n", name, heapProducers, runtime.GOMAXPROCS(0), result.N, peak, result.PerSecond())
	return err
}

// kills measures how a spool opens whose process was killed when its active
// segment was nearly full, with and without that in the page cache.
func (r *recovery) kills(ctx context.Context) error {
	states := []string{"warm", "cold"}
	for range r.count {
		for _, state := range states {
			if err := r.kill(ctx, state); errors.Is(err, errors.ErrUnsupported) {
				fmt.Fprintf(r.stdout, "n/a: open after a kill, %s: %v\n", state, err)
				states = states[:1]
			} else if err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *recovery) kill(ctx context.Context, state string) (err error) {
	dir, err := os.MkdirTemp(r.dir, "kustospool-killed-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	records, err := killed(ctx, dir)
	if err == nil && state == "cold" {
		err = dropCached(filepath.Join(dir, "segments"))
	}
	if err != nil {
		return err
	}
	return r.open(dir, "OpenKilled", "cache="+state, "killed "+state, records)
}

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"kustospool/batching"
	"kustospool/cmd/bench/internal/load"
	"kustospool/engine"
)

// runRecover measures how long a spool takes to open, and what it takes of
// the heap, beside one that is empty.
func runRecover(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var backlog int64
	var count int
	var dir string
	fs := flag.NewFlagSet("recover", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Int64Var(&backlog, "backlog", 1<<30, "raw bytes that wait in the spool")
	fs.IntVar(&count, "count", 5, "how many times to open each, in turns")
	fs.StringVar(&dir, "dir", "", "directory for the spools; default the temporary directory")
	if err := parse(fs, args); err != nil {
		return err
	}
	if backlog < 1 || count < 1 {
		return usageError{errors.New("-backlog and -count must be positive")}
	}
	return measureRecover(ctx, dir, backlog, count, stdout)
}

func measureRecover(ctx context.Context, dir string, backlog int64, count int, stdout io.Writer) (err error) {
	sizes := []int64{0, backlog}
	dirs := make([]string, len(sizes))
	for i, size := range sizes {
		if dirs[i], err = os.MkdirTemp(dir, "kustospool-recover-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dirs[i])) }()
		if _, err := fillBacklog(ctx, dirs[i], size, batching.DefaultMaxBytes); err != nil {
			return err
		}
	}
	heading(stdout)
	took := make([][]float64, len(sizes))
	for range count {
		for i, size := range sizes {
			begun := time.Now()
			spool, err := engine.Open(dirs[i], silent{}, &engine.Options{MaxDiskBytes: 1 << 40})
			elapsed := time.Since(begun)
			if err != nil {
				return err
			}
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			if err := spool.Close(); err != nil {
				return err
			}
			took[i] = append(took[i], float64(elapsed))
			fmt.Fprintf(stdout, "BenchmarkOpen/backlog=%d-%d\t%8d\t%10d ns/op\t%10d heap-bytes\n", size, runtime.GOMAXPROCS(0), 1, elapsed.Nanoseconds(), m.HeapAlloc)
		}
	}
	empty, full := load.Median(took[0]), load.Median(took[1])
	_, err = fmt.Fprintf(stdout, "open with a backlog of %d bytes / open of an empty spool: %.2f (medians %.1f ms, %.1f ms)\n", backlog, full/empty, full/1e6, empty/1e6)
	return err
}

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
	"slices"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"

	"kustospool/cmd/bench/internal/load"
	"kustospool/store"
)

// gzipLevel is what transport/queued compresses with.
const gzipLevel = 2

// laneFrame is how many records a frame of a backlog to be drained has: as 64
// producers make them.
const laneFrame = 64

// drained are the bars of a drain, by the state of the cache and the lanes.
var drained = []struct {
	state   string
	lanes   int
	atLeast float64 // 0: a note
}{
	{"cold", 1, 0.95}, {"warm", 1, 0.97}, {"cold", 20, 0.70}, {"warm", 20, 0},
}

// runDrain measures how fast a backlog can be read, verified and compressed,
// beside plain files of the same bytes.
func runDrain(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var backlog int64
	var count int
	var dir, lanes string
	fs := flag.NewFlagSet("drain", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Int64Var(&backlog, "backlog", 384<<20, "raw bytes that wait in the spool")
	fs.StringVar(&lanes, "lanes", "1,20", "numbers of lanes, a spool for each")
	fs.IntVar(&count, "count", 5, "how many times to drain each, in turns")
	fs.StringVar(&dir, "dir", "", "directory for the spools and the plain files; default the temporary directory")
	if err := parse(fs, args); err != nil {
		return err
	}
	counts, err := load.Numbers("lanes", lanes, 1, 1000)
	if backlog < 1 || count < 1 {
		err = errors.Join(err, errors.New("-backlog and -count must be positive"))
	}
	if err != nil {
		return usageError{err}
	}
	heading(stdout)
	rates := make(figures)
	for _, n := range counts {
		if err := measureDrain(ctx, dir, backlog, n, count, rates, stdout); err != nil {
			return err
		}
	}
	var bars []load.Bar
	for _, d := range drained {
		over, under := drainName("spool", d.state, d.lanes), drainName("plain", d.state, d.lanes)
		if len(rates[over]) == 0 || len(rates[under]) == 0 {
			continue
		}
		bars = append(bars, load.Bar{
			Name: fmt.Sprintf("drain, %s, lanes=%d, of plain files", d.state, d.lanes),
			Over: load.Figure{Text: "spool MB/s", Value: rates.median(over)}, Under: load.Figure{Text: "plain MB/s", Value: rates.median(under)},
			AtLeast: d.atLeast,
		})
	}
	return judge(stdout, bars, count)
}

// drainName is what a measurement is called.
func drainName(what, state string, lanes int) string {
	return fmt.Sprintf("from=%s-%s/lanes=%d", what, state, lanes)
}

// measureDrain adds the MB/s of each measurement to rates.
func measureDrain(ctx context.Context, dir string, size int64, lanes, count int, rates figures, stdout io.Writer) (err error) {
	temp, err := os.MkdirTemp(dir, "kustospool-drain-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	spool, plain := filepath.Join(temp, "spool"), filepath.Join(temp, "plain")
	if err := errors.Join(os.Mkdir(spool, 0o700), os.Mkdir(plain, 0o700)); err != nil {
		return err
	}
	batches, err := fillBacklog(ctx, spool, backlog{size: size, batch: drainBatch, lanes: lanes, frame: laneFrame})
	if err != nil {
		return err
	}
	if err := copyPlain(spool, plain, batches); err != nil {
		return err
	}
	cached := map[string]string{"plain": plain, "spool": filepath.Join(spool, "segments")}
	for round := range count {
		for _, state := range []string{"cold", "warm"} {
			order := []string{"plain", "spool"}
			if round%2 == 1 {
				slices.Reverse(order)
			}
			for _, what := range order {
				name := drainName(what, state, lanes)
				if state == "cold" {
					// Each right before it is read: memory that was given back
					// for longer may be slower to come by.
					if err := dropCached(cached[what]); err != nil {
						fmt.Fprintf(stdout, "n/a: %s: %v\n", name, err)
						continue
					}
				}
				begun := time.Now()
				var n int64
				if what == "plain" {
					n, err = drainPlain(plain, len(batches))
				} else {
					n, err = drainSpool(spool, batches)
				}
				if err != nil {
					return err
				}
				elapsed := time.Since(begun)
				rate := float64(n) / 1e6 / elapsed.Seconds()
				rates.add(name, rate)
				fmt.Fprintf(stdout, "BenchmarkDrain/%s-%d\t%8d\t%10d ns/op\t%8.2f MB/s\n", name, runtime.GOMAXPROCS(0), 1, elapsed.Nanoseconds(), rate)
			}
		}
	}
	return nil
}

func plainName(dir string, i int) string { return filepath.Join(dir, fmt.Sprintf("%06d", i)) }

// copyPlain writes each batch's payload to a file of its own.
func copyPlain(spool, plain string, batches []store.Entry) (err error) {
	s, err := store.Open(spool, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	for i := range batches {
		f, err := os.Create(plainName(plain, i))
		if err != nil {
			return err
		}
		r := s.Payload(&batches[i].Batch).Open()
		_, err = io.Copy(f, r)
		if err = errors.Join(err, r.Close(), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

func drainPlain(dir string, batches int) (int64, error) {
	return compressAll(batches, func(i int) (io.ReadCloser, error) { return os.Open(plainName(dir, i)) })
}

// drainSpool opens the spool as well: that is part of draining a cold one.
func drainSpool(dir string, batches []store.Entry) (n int64, err error) {
	s, err := store.Open(dir, nil)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return compressAll(len(batches), func(i int) (io.ReadCloser, error) { return s.Payload(&batches[i].Batch).Open(), nil })
}

// compressAll compresses batches in order, as many at a time as there are
// processors, and counts the raw bytes.
func compressAll(batches int, open func(i int) (io.ReadCloser, error)) (int64, error) {
	todo := make(chan int)
	counts, errs := make([]int64, runtime.GOMAXPROCS(0)), make([]error, runtime.GOMAXPROCS(0))
	var workers sync.WaitGroup
	for w := range counts {
		workers.Go(func() {
			z, err := gzip.NewWriterLevel(io.Discard, gzipLevel)
			errs[w] = err
			buf := make([]byte, 1<<20)
			for i := range todo {
				if errs[w] != nil {
					continue // the rest is only taken
				}
				z.Reset(io.Discard)
				r, err := open(i)
				if err != nil {
					errs[w] = err
					continue
				}
				n, err := io.CopyBuffer(z, r, buf)
				counts[w] += n
				errs[w] = errors.Join(err, r.Close(), z.Close())
			}
		})
	}
	for i := range batches {
		todo <- i
	}
	close(todo)
	workers.Wait()
	var total int64
	for _, n := range counts {
		total += n
	}
	return total, errors.Join(errs...)
}

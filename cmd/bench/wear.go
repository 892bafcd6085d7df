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

	"kustospool/cmd/bench/internal/device"
	"kustospool/cmd/bench/internal/load"
	"kustospool/cmd/bench/internal/spools"
)

// worn are the loads whose bytes on the device are judged, with the most that
// they may write for each byte of payload on either space.
var worn = []struct {
	producers, record int
	atMost            [2]float64 // by spools.Space
}{
	{1, 1024, [...]float64{spools.Fresh: 7, spools.Recycled: 6}},
	{1, 65, [...]float64{spools.Fresh: 90, spools.Recycled: 90}},
	{64, 1024, [...]float64{spools.Fresh: 2.2, spools.Recycled: 1.3}},
	{1024, 1024, [...]float64{spools.Fresh: 1.4, spools.Recycled: 1.1}},
}

// opened is what runWear drives.
type opened interface {
	Put(ctx context.Context, data []byte) error
	Close() error
}

// runWear measures what reaches the device for each byte of payload.
func runWear(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var of, dir string
	var count int
	var duration time.Duration
	fs := flag.NewFlagSet("wear", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&of, "of", "engine", "what is measured: engine or store")
	fs.IntVar(&count, "count", 5, "how many times to measure each, in turns")
	fs.DurationVar(&duration, "duration", time.Second, "how long each result takes")
	fs.StringVar(&dir, "dir", "", "directory on the disk to measure, where nothing else writes; default the temporary directory")
	if err := parse(fs, args); err != nil {
		return err
	}
	open := map[string]func(context.Context, string, spools.Space) (opened, error){
		"engine": func(ctx context.Context, dir string, space spools.Space) (opened, error) {
			return spools.OpenEngine(ctx, dir, spools.EngineOptions{Space: space, Tables: 1})
		},
		"store": func(ctx context.Context, dir string, space spools.Space) (opened, error) {
			return spools.OpenStore(ctx, dir, spools.StoreOptions{Space: space, Lanes: 1})
		},
	}[of]
	if count < 1 || duration <= 0 || open == nil {
		return usageError{errors.New("-count and -duration must be positive, -of engine or store")}
	}
	heading(stdout)
	var bars []load.Bar
	seen := make(figures)
	for range count {
		for _, l := range worn {
			for _, space := range []spools.Space{spools.Fresh, spools.Recycled} {
				name := fmt.Sprintf("of=%s/space=%s/record=%d/producers=%d", of, space, l.record, l.producers)
				records := load.Records(1000, l.record, 1)
				open := func(ctx context.Context, dir string) (opened, error) { return open(ctx, dir, space) }
				r, wear, err := measureWear(ctx, dir, load.Load{Producers: l.producers, Records: records, Duration: duration}, open)
				if err != nil {
					return err
				}
				if wear.err != nil {
					_, err := fmt.Fprintf(stdout, "n/a: bytes on the device: %v\n", wear.err)
					return err
				}
				seen.add(name, wear.ratio)
				fmt.Fprintf(stdout, "BenchmarkWear/%s-%d\t%8d\t%10.0f ns/op\t%8.3f device-B/B\n", name, runtime.GOMAXPROCS(0), r.N, float64(r.Elapsed.Nanoseconds())/float64(max(r.N, 1)), wear.ratio)
			}
		}
	}
	for _, l := range worn {
		for _, space := range []spools.Space{spools.Recycled, spools.Fresh} {
			name := fmt.Sprintf("of=%s/space=%s/record=%d/producers=%d", of, space, l.record, l.producers)
			bars = append(bars, load.Bar{
				Name: "bytes on the device, " + name,
				Over: load.Figure{Text: "written", Value: seen.median(name)}, Under: load.Figure{Text: "payload", Value: 1}, AtMost: l.atMost[space],
			})
		}
	}
	return judge(stdout, bars, count)
}

// wear is what was written for each byte of payload, or why nobody knows.
type wear struct {
	ratio float64
	err   error
}

// measureWear drives a load into a spool of its own and reads the device's
// counter before and after it, each time when nothing is left to be written.
// What was written while the spool was opened does not count.
func measureWear(ctx context.Context, dir string, l load.Load, open func(context.Context, string) (opened, error)) (r load.Result, w wear, err error) {
	temp, err := os.MkdirTemp(dir, "kustospool-wear-")
	if err != nil {
		return r, w, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	s, err := open(ctx, temp)
	if err != nil {
		return r, w, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := device.Settle(temp); err != nil {
		return r, w, err
	}
	before, noCounter := device.Written(temp)
	r, err = load.Drive(ctx, l, func(ctx context.Context, _ int, data []byte) error { return s.Put(ctx, data) })
	if err == nil {
		err = device.Settle(temp)
	}
	after, stillNone := device.Written(temp)
	return r, wear{float64(after-before) / float64(max(r.Bytes, 1)), errors.Join(noCounter, stillNone)}, err
}

package engine_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kustospool/engine"
	"kustospool/operate"
	"kustospool/transport"
	"kustospool/transport/transporttest"
)

// Acknowledgements do not wait for an operator: with a client that asks for the
// status ten times a second (status --watch asks every two), looks at what waits and
// at the history, and with as many that are let in and never read, they should come as
// fast as with none. Each round takes b.N acknowledgements alone and then beside; the
// ratio is the median of the rounds, and least and most are its spread.
//
//	go test ./engine -run '^$' -bench BesideStatus -benchtime 20000x
func BenchmarkIngestBesideStatus(b *testing.B) {
	dir := shortDir(b)
	s := open(b, dir, transporttest.NewFake(), &engine.Options{MaxDiskBytes: 4 << 30})
	table, err := s.Table(telemetry)
	if err != nil {
		b.Fatal(err)
	}
	client := asked(b, dir)
	stall(b, dir, 8)
	b.ReportMetric(float64(besides(b, table, func(ctx context.Context) int { return watchBeside(ctx, b, client) })), "questions")
}

// The same beside checks of a spool that holds 256 MiB, one behind the other, as fast as Spool.Check
// reads a spool in use.
//
//	go test ./engine -run '^$' -bench BesideCheck -benchtime 20000x
func BenchmarkIngestBesideCheck(b *testing.B) {
	size := 256 << 20
	if b.N < 1000 {
		size = 1 << 20 // it is only tried out
	}
	dir, fake := shortDir(b), transporttest.NewFake()
	fake.Decide(func(d *transport.Delivery) (transporttest.Step, bool) {
		return transporttest.Step{Fail: &transport.Error{Op: "send", Class: transport.Held, Code: "NoTable"}}, d.Batch.Properties.Table == "Held"
	})
	s := open(b, dir, fake, &engine.Options{MaxDiskBytes: 4 << 30, RetryMin: time.Minute})
	held := telemetry
	held.Table = "Held"
	for range size >> 18 {
		put(b, s, held, `{"x":"`+strings.Repeat("x", 1<<18)+`"}`)
	}
	table, err := s.Table(telemetry)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(besides(b, table, func(ctx context.Context) int { return checkBeside(ctx, b, s) })>>20), "MiB-checked")
}

// besides measures acknowledgements alone and beside something, in turns.
func besides(b *testing.B, table *engine.Table, beside func(context.Context) int) (done int) {
	const rounds, producers = 21, 16
	var ratios, with, without []float64
	b.ResetTimer()
	for range rounds {
		none := acksPerSecond(b, table, producers, b.N)
		ctx, stop := context.WithCancel(b.Context())
		var running sync.WaitGroup
		running.Go(func() { done += beside(ctx) })
		some := acksPerSecond(b, table, producers, b.N)
		stop()
		running.Wait()
		without, with, ratios = append(without, none), append(with, some), append(ratios, some/none)
	}
	median := func(list []float64) float64 {
		slices.Sort(list)
		return list[len(list)/2]
	}
	b.ReportMetric(median(without), "acks/s-alone")
	b.ReportMetric(median(with), "acks/s-beside")
	b.ReportMetric(median(ratios), "ratio")
	b.ReportMetric(ratios[0], "ratio-least")
	b.ReportMetric(ratios[len(ratios)-1], "ratio-most")
	return done
}

// checkBeside has the spool checked until its context ends, and tells how many bytes were read.
func checkBeside(ctx context.Context, b *testing.B, s *engine.Spool) (bytes int) {
	for ctx.Err() == nil {
		read := 0
		if _, err := s.Check(ctx, &engine.CheckOptions{Progress: func(p engine.CheckProgress) { read = int(p.Bytes) }}); err != nil && ctx.Err() == nil {
			b.Error(err)
			return bytes
		}
		bytes += read
	}
	return bytes
}

// watchBeside asks until its context ends.
func watchBeside(ctx context.Context, b *testing.B, c *operate.Client) (asks int) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := c.Status(ctx, operate.StatusQuery{})
		if err == nil && asks%10 == 0 {
			if _, err = c.Peek(ctx, operate.PeekQuery{Table: telemetry.Table, Limit: 20}); err == nil {
				_, err = c.History(ctx, operate.HistoryQuery{Limit: 50})
			}
		}
		if err != nil && ctx.Err() == nil {
			b.Error(err)
			return asks
		}
		asks++
		select {
		case <-ctx.Done():
			return asks
		case <-tick.C:
		}
	}
}

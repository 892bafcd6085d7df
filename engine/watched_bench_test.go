package engine_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"kustospool/engine"
	"kustospool/operate"
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
	const rounds, producers = 21, 16
	dir := shortDir(b)
	s := open(b, dir, transporttest.NewFake(), &engine.Options{MaxDiskBytes: 4 << 30})
	table, err := s.Table(telemetry)
	if err != nil {
		b.Fatal(err)
	}
	client := asked(b, dir)
	stall(b, dir, 8)
	var ratios, with, without []float64
	asks := 0
	b.ResetTimer()
	for range rounds {
		none := acksPerSecond(b, table, producers, b.N)
		ctx, stop := context.WithCancel(b.Context())
		var watching sync.WaitGroup
		watching.Go(func() { asks += watchBeside(ctx, b, client) })
		some := acksPerSecond(b, table, producers, b.N)
		stop()
		watching.Wait()
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
	b.ReportMetric(float64(asks), "questions")
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

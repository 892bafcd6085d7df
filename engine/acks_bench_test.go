package engine_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/transport"
	"kustospool/transport/transporttest"
)

// Acknowledgements do not wait for delivery: with a batch of each of 10,000
// lanes queued and held back, each probed once a minute, they should come as fast
// as with none. Each round takes b.N acknowledgements from a spool without such
// lanes and then from one with them; the ratio is the median of the rounds.
//
//	go test ./engine -run '^$' -bench BesideHeldLanes -benchtime 10000x
func BenchmarkIngestBesideHeldLanes(b *testing.B) {
	const rounds, producers = 21, 16
	held := 9_999
	if b.N < 1000 {
		held = 99 // it is only tried out
	}
	alone, beside := heldSpool(b, 0), heldSpool(b, held)
	var ratios, with, without []float64
	b.ResetTimer()
	for range rounds {
		none, some := acksPerSecond(b, alone, producers, b.N), acksPerSecond(b, beside, producers, b.N)
		without, with, ratios = append(without, none), append(with, some), append(ratios, some/none)
	}
	median := func(list []float64) float64 {
		slices.Sort(list)
		return list[len(list)/2]
	}
	b.ReportMetric(median(without), "acks/s-alone")
	b.ReportMetric(median(with), "acks/s-beside")
	b.ReportMetric(median(ratios), "ratio")
}

// heldSpool has a batch of each of some lanes, held back.
func heldSpool(b *testing.B, held int) *engine.Table {
	fake := transporttest.NewFake()
	fake.Decide(func(d *transport.Delivery) (transporttest.Step, bool) {
		return transporttest.Step{Fail: &transport.Error{Op: "send", Class: transport.Held, Code: "NoTable"}}, strings.HasPrefix(d.Batch.Properties.Table, "Held")
	})
	s := open(b, b.TempDir(), fake, &engine.Options{Senders: 32, MaxDiskBytes: 4 << 30, RetryMin: time.Minute})
	var reqs []*ingest.Request
	for i := range held {
		p := telemetry
		p.Table = fmt.Sprint("Held", i)
		reqs = append(reqs, request(p, row(i)))
	}
	if _, err := s.IngestAll(b.Context(), reqs); err != nil && held > 0 {
		b.Fatal(err)
	}
	if err := s.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	for n := 0; n < held; { // until each was tried once
		n = 0
		for _, l := range s.Stats().Lanes {
			if l.Held {
				n++
			}
		}
	}
	table, err := s.Table(telemetry)
	if err != nil {
		b.Fatal(err)
	}
	return table
}

func acksPerSecond(b *testing.B, table *engine.Table, producers, n int) float64 {
	line, begin := []byte(row(1)), time.Now()
	var all sync.WaitGroup
	for range producers {
		all.Go(func() {
			for range max(1, n/producers) {
				if _, err := table.Ingest(context.Background(), line); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	return float64(n) / time.Since(begin).Seconds()
}

package engine_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/transport/transporttest"
)

// BenchmarkCheckedAcks is what the check of JSON lines costs an
// acknowledgement: 64 producers ingest lines of 1 KiB into two spools in turns,
// one of which does not look at them. The metric acks-ratio is checked acks by
// unchecked ones; package record's BenchmarkObject is the check alone.
func BenchmarkCheckedAcks(b *testing.B) {
	const producers, round = 64, 6400
	line := []byte(`{"ts":"2026-11-03T04:05:06.123456Z","vessel":{"name":"Kittiwake","flag":"DE"},"ok":true`)
	for i := 0; len(line) < 1000; i++ {
		line = fmt.Appendf(line, `,"sensor%d":{"value":%d.5,"unit":"kPa"}`, i, 17*i)
	}
	line = append(line, '}')
	line = append(line, strings.Repeat(" ", max(0, 1024-len(line)))...)
	var tables [2]*engine.Table
	for i := range tables {
		fake := transporttest.NewFake()
		o := &engine.Options{UncheckedJSON: i == 1}
		o.Batch.MaxAge = time.Hour
		s := open(b, b.TempDir(), fake, o)
		var err error
		if tables[i], err = s.Table(ingest.Properties{Database: "D", Table: "T", Format: ingest.JSON}); err != nil {
			b.Fatal(err)
		}
	}
	run := func(table *engine.Table, n int64) time.Duration {
		var wg sync.WaitGroup
		var left atomic.Int64
		left.Store(n)
		start := time.Now()
		for range producers {
			wg.Go(func() {
				for left.Add(-1) >= 0 {
					if _, err := table.Ingest(b.Context(), line); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		return time.Since(start)
	}
	var took [2]time.Duration
	b.SetBytes(int64(len(line)))
	b.ResetTimer()
	for left, turn := int64(b.N), 0; left > 0; left, turn = left-round, turn+1 {
		for i := range tables {
			which := (turn + i) % 2
			took[which] += run(tables[which], min(left, round))
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/took[0].Seconds(), "checked-acks/s")
	b.ReportMetric(float64(b.N)/took[1].Seconds(), "unchecked-acks/s")
	b.ReportMetric(took[1].Seconds()/took[0].Seconds(), "acks-ratio")
}

package e2e_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"kustospool/ingest"
	"kustospool/internal/testutil/simspool"
	"kustospool/transport"
	"kustospool/transport/direct"
	"kustospool/transport/queued"
)

// BenchmarkLatency measures from Ingest to the row in the table, one record at
// a time, with batches sealed after 10 ms. The simulator aggregates queued
// blobs for as long as it always does, 50 ms where the service takes minutes.
func BenchmarkLatency(b *testing.B) {
	clients := map[string]func(endpoint string) (transport.Transport, error){
		"streaming": func(e string) (transport.Transport, error) { return direct.NewStreamingClient(e, nil, nil) },
		"direct":    func(e string) (transport.Transport, error) { return direct.NewClient(e, nil, nil) },
		"queued": func(e string) (transport.Transport, error) {
			return queued.NewClient(e, nil, &queued.ClientOptions{TrackInterval: 10 * time.Millisecond})
		},
	}
	for _, name := range []string{"streaming", "direct", "queued"} {
		b.Run(name, func(b *testing.B) {
			sim := simspool.Start(b, nil)
			if err := sim.CreateTable(database, tableName); err != nil {
				b.Fatal(err)
			}
			if err := sim.SetStreaming(database, tableName, true); err != nil {
				b.Fatal(err)
			}
			client, err := clients[name](sim.Endpoint())
			if err != nil {
				b.Fatal(err)
			}
			o := quick()
			o.Batch.MaxAge = 10 * time.Millisecond
			o.Guarantee = ingest.AtLeastOnce
			s := simspool.Open(b, b.TempDir(), client, o)
			var took []time.Duration
			for n := 0; b.Loop(); n++ {
				begin := time.Now()
				if _, err := s.Ingest(context.Background(), &ingest.Request{Properties: telemetry, Data: []byte(record(0, n))}); err != nil {
					b.Fatal(err)
				}
				if err := sim.Wait(b.Context(), func() bool { return sim.Count(database, tableName) > n }); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(begin))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
		})
	}
}

package prometheus_test

import (
	"fmt"
	"io"
	"testing"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/telemetry"
	"kustospool/telemetry/prometheus"
	"kustospool/transport"
	"kustospool/transport/transporttest"
)

// BenchmarkScrape is a scrape of an open spool, snapshot included, whose lanes each
// are a table with a batch that waits; with the bound of tables, and with a series
// for each of them. 1,000 lanes are to take 10 ms at most.
//
//	go test ./telemetry/prometheus -run '^$' -bench Scrape
func BenchmarkScrape(b *testing.B) {
	for _, lanes := range []int{1, 1000} {
		for _, most := range []int{telemetry.DefaultMaxTables, 1000} {
			b.Run(fmt.Sprintf("lanes=%d/most=%d", lanes, most), func(b *testing.B) {
				fake := transporttest.NewFake()
				fake.Down(transporttest.Fail(transport.Transient))
				m := telemetry.New(&telemetry.Options{MaxTables: most})
				s, err := engine.Open(b.TempDir(), fake, &engine.Options{MaxDiskBytes: 1 << 30, Observer: m})
				if err != nil {
					b.Fatal(err)
				}
				defer s.Close()
				m.Watch(s)
				reqs := make([]*ingest.Request, lanes)
				for i := range reqs {
					reqs[i] = &ingest.Request{Properties: ingest.Properties{Database: "Demo", Table: fmt.Sprint("Telemetry", i), Format: ingest.JSON}, Data: []byte(`{"n":1}`)}
				}
				if _, err := s.IngestAll(b.Context(), reqs); err != nil {
					b.Fatal(err)
				}
				if err := s.Flush(b.Context()); err != nil {
					b.Fatal(err)
				}
				b.ReportAllocs()
				for b.Loop() {
					if err := prometheus.Write(io.Discard, m); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

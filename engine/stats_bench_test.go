package engine_test

import (
	"fmt"
	"testing"

	"kustospool/ingest"
	"kustospool/transport"
	"kustospool/transport/transporttest"
)

// BenchmarkStats is a snapshot of a spool whose lanes all have a batch that
// waits and records in none.
func BenchmarkStats(b *testing.B) {
	for _, lanes := range []int{1, 1000} {
		b.Run(fmt.Sprintf("lanes=%d", lanes), func(b *testing.B) {
			fake := transporttest.NewFake()
			fake.Down(transporttest.Fail(transport.Transient))
			o := soon()
			o.Batch.MaxAge, o.MaxDiskBytes = 0, 1<<30
			s := open(b, b.TempDir(), fake, o)
			fill := func() {
				reqs := make([]*ingest.Request, lanes)
				for i := range reqs {
					p := telemetry
					p.Table = fmt.Sprintf("T%d", i)
					reqs[i] = request(p, row(i))
				}
				if _, err := s.IngestAll(b.Context(), reqs); err != nil {
					b.Fatal(err)
				}
			}
			fill()
			if err := s.Flush(b.Context()); err != nil {
				b.Fatal(err)
			}
			fill()
			b.ReportAllocs()
			for b.Loop() {
				if st := s.Stats(); len(st.Lanes) != lanes || st.Waiting.Records != int64(2*lanes) {
					b.Fatalf("%d lanes, %+v", len(st.Lanes), st.Waiting)
				}
			}
		})
	}
}

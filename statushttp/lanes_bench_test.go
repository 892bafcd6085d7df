package statushttp_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/statushttp"
	"kustospool/transport"
	"kustospool/transport/transporttest"
)

// BenchmarkPage is what a page takes of an open spool, whose lanes each are a table with
// a batch that waits: the first look at it, and what is made of that for a browser.
//
//	go test ./statushttp -run '^$' -bench Page
func BenchmarkPage(b *testing.B) {
	for _, lanes := range []int{1, 1000} {
		b.Run(fmt.Sprintf("lanes=%d", lanes), func(b *testing.B) {
			fake := transporttest.NewFake()
			fake.Down(transporttest.Fail(transport.Transient))
			s, err := engine.Open(b.TempDir(), fake, &engine.Options{MaxDiskBytes: 1 << 30, NoSocket: true})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
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
				page, err := statushttp.New(s.Operator(), nil)
				if err != nil {
					b.Fatal(err)
				}
				ask := httptest.NewRequest(http.MethodGet, "/", nil)
				ask.Host, ask.RemoteAddr = "localhost", "127.0.0.1:1"
				answer := httptest.NewRecorder()
				page.ServeHTTP(answer, ask) // waits for the first look
				if answer.Code != http.StatusOK {
					b.Fatalf("%d: %s", answer.Code, answer.Body)
				}
				_ = page.Close() // always nil
			}
		})
	}
}

package prometheus_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/telemetry"
	"kustospool/telemetry/prometheus"
	"kustospool/transport/transporttest"
)

// A spool whose metrics can be scraped.
func Example() {
	dir, err := os.MkdirTemp("", "spool")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	m := telemetry.New(&telemetry.Options{Spool: "edge"})
	spool, err := engine.Open(dir, transporttest.NewFake(), &engine.Options{Observer: m})
	if err != nil {
		log.Fatal(err)
	}
	defer spool.Close()
	m.Watch(spool)
	http.Handle("/metrics", prometheus.Handler(m))

	p := ingest.Properties{Database: "Demo", Table: "Telemetry", Format: ingest.JSON}
	if _, err := spool.Ingest(context.Background(), &ingest.Request{Properties: p, Data: []byte(`{"n":1}`)}); err != nil {
		log.Fatal(err)
	}
	answer := httptest.NewRecorder()
	http.DefaultServeMux.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, line := range strings.Split(answer.Body.String(), "\n") {
		if strings.HasPrefix(line, "kustospool_records_") {
			fmt.Println(line)
		}
	}
	// Output:
	// kustospool_records_acknowledged_total{spool="edge"} 1
	// kustospool_records_waiting{spool="edge",place="batch"} 0
	// kustospool_records_waiting{spool="edge",place="open"} 1
	// kustospool_records_settled_total{spool="edge",result="dead_lettered"} 0
	// kustospool_records_settled_total{spool="edge",result="dropped"} 0
	// kustospool_records_settled_total{spool="edge",result="handed_over"} 0
	// kustospool_records_settled_total{spool="edge",result="ingested"} 0
	// kustospool_records_settled_total{spool="edge",result="skipped"} 0
}

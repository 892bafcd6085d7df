package telemetry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	metricsdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	tracesdk "go.opentelemetry.io/otel/sdk/trace"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/statushttp"
	"kustospool/telemetry"
	"kustospool/telemetry/otel"
	"kustospool/telemetry/prometheus"
	"kustospool/transport"
)

// swallow takes everything at once.
type swallow struct{}

func (swallow) Capabilities() transport.Capabilities {
	return transport.Capabilities{ExactlyOnce: true}
}

func (swallow) Send(ctx context.Context, d *transport.Delivery) (transport.Ack, error) {
	if err := d.Journal.Commit(ctx, nil); err != nil {
		return transport.Ack{}, err
	}
	return transport.Ack{State: ingest.Succeeded}, nil
}

// BenchmarkAcksObserved is what watching costs acknowledgements: each of ten rounds
// takes them, one after the other, from two spools that nobody watches, from one with a
// meter that is scraped each second, from one with OpenTelemetry's SDK, collected each
// second and tracing every batch, from one with the page, which a reader follows, and
// from one with all of these. The ratios are to the mean of the two that nobody watches
// in the same round: their medians, least and most. The spread to compare with is that of
// the two by each other, either way round, so that its median says nothing. A round is
// b.N acknowledgements of each spool, and many times as many where producers share
// commits, so that it takes a second or two.
//
//	go test ./telemetry -run '^$' -bench AcksObserved -benchtime 20000x
func BenchmarkAcksObserved(b *testing.B) {
	for _, size := range [][2]int{{1, 1}, {64, 32}, {1024, 128}} {
		producers, times := size[0], size[1]
		b.Run(fmt.Sprintf("producers=%d", producers), func(b *testing.B) {
			rounds := 10
			if b.N < 1000 {
				rounds = 1 // it is only tried out
			}
			acks := b.N * times
			hows := []string{"off", "off", "metrics", "otel", "page", "all"}
			var spools []*watched
			for _, how := range hows {
				spools = append(spools, watch(b, how))
			}
			ratios := make([][]float64, len(spools))
			var alone []float64
			b.ResetTimer()
			for round := range rounds {
				rates := make([]float64, len(spools))
				for i := range spools {
					at := (i + round) % len(spools) // each is first, and last, as often as the others
					rates[at] = spools[at].acksPerSecond(b, producers, acks)
				}
				off := (rates[0] + rates[1]) / 2
				alone = append(alone, off)
				ratios[1] = append(ratios[1], rates[0]/rates[1], rates[1]/rates[0])
				for i := 2; i < len(spools); i++ {
					ratios[i] = append(ratios[i], rates[i]/off)
				}
			}
			median := func(list []float64) float64 { return slices.Sorted(slices.Values(list))[len(list)/2] }
			b.ReportMetric(median(alone), "acks/s-off")
			for i, how := range hows[1:] {
				b.ReportMetric(median(ratios[i+1]), how+"/off")
				b.ReportMetric(slices.Min(ratios[i+1]), how+"/off-least")
				b.ReportMetric(slices.Max(ratios[i+1]), how+"/off-most")
			}
		})
	}
}

// watched is a spool that is looked at while records are put in.
type watched struct {
	table *engine.Table
	look  func() error                  // once a second
	page  func(testing.TB) (end func()) // shows a page to a reader; nil for none
}

func watch(b *testing.B, how string) *watched {
	w := &watched{look: func() error { return nil }}
	o := &engine.Options{MaxDiskBytes: 4 << 30}
	m := telemetry.New(nil)
	if how == "metrics" || how == "otel" || how == "all" {
		o.Observer = m
		w.look = func() error { return prometheus.Write(io.Discard, m) }
	}
	if how == "otel" || how == "all" {
		reader := metricsdk.NewManualReader()
		bridge, err := otel.New(m, otel.Config{MeterProvider: metricsdk.NewMeterProvider(metricsdk.WithReader(reader)), TracerProvider: tracesdk.NewTracerProvider()})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = bridge.Close() })
		o.Observer = telemetry.Observers{m, bridge}
		scrape := w.look
		w.look = func() error {
			_, err := collect(reader)
			if how == "all" {
				err = errors.Join(err, scrape())
			}
			return err
		}
	}
	s, err := engine.Open(b.TempDir(), swallow{}, o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	m.Watch(s)
	if how == "page" || how == "all" {
		w.page = func(tb testing.TB) func() { return follow(tb, s) }
	}
	if w.table, err = s.Table(ingest.Properties{Database: "Demo", Table: "Telemetry", Format: ingest.JSON}); err != nil {
		b.Fatal(err)
	}
	return w
}

// follow shows the spool on a page, which looks at once and every two seconds, to one
// that follows it over a connection.
func follow(tb testing.TB, s *engine.Spool) (end func()) {
	page, err := statushttp.New(s.Operator(), nil)
	if err != nil {
		tb.Fatal(err)
	}
	server := httptest.NewServer(page)
	answer, err := http.Get(server.URL + "/events")
	if err != nil {
		tb.Fatal(err)
	}
	var reading sync.WaitGroup
	reading.Go(func() {
		if n, err := io.Copy(io.Discard, answer.Body); err != nil || n < 1000 {
			tb.Errorf("%d bytes of events: %v", n, err)
		}
	})
	return func() {
		_ = page.Close() // always nil
		reading.Wait()
		_ = answer.Body.Close()
		server.Close()
	}
}

func (w *watched) acksPerSecond(b *testing.B, producers, n int) float64 {
	line := []byte(`{"device":"0123456789","at":"2026-01-02T03:04:05Z","value":21.5}`)
	stop := make(chan struct{})
	if w.page != nil {
		defer w.page(b)()
	}
	var looking, all sync.WaitGroup
	looking.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Second):
				if err := w.look(); err != nil {
					b.Error(err)
				}
			}
		}
	})
	begin := time.Now()
	for range producers {
		all.Go(func() {
			for range max(1, n/producers) {
				if _, err := w.table.Ingest(context.Background(), line); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	took := time.Since(begin)
	close(stop)
	looking.Wait()
	return float64(max(1, n/producers)*producers) / took.Seconds()
}

// collect is what an exporter does.
func collect(r metricsdk.Reader) (n int, err error) {
	var rm metricdata.ResourceMetrics
	err = r.Collect(context.Background(), &rm)
	return len(rm.ScopeMetrics), err
}

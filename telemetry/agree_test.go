package telemetry_test

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	metricsdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"kustospool/batching"
	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/telemetry"
	"kustospool/telemetry/otel"
	"kustospool/telemetry/prometheus"
	"kustospool/transport"
	"kustospool/transport/transporttest"
)

// samples are values by the name in a scrape and the labels in order, as
// `name{a="1" b="2"}`; those of a histogram as its buckets, sum and count.
type samples map[string]float64

func (s samples) sum(name string) (v float64) {
	for key, n := range s {
		if strings.HasPrefix(key, name+"{") {
			v += n
		}
	}
	return v
}

func sampleKey(name string, labels map[string]string) string {
	var all []string
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		all = append(all, fmt.Sprintf("%s=%q", k, labels[k]))
	}
	return name + "{" + strings.Join(all, " ") + "}"
}

var (
	sampleLine  = regexp.MustCompile(`^(\w+)\{(.*)\} (\S+)$`)
	sampleLabel = regexp.MustCompile(`(\w+)=("(?:[^"\\]|\\.)*")`)
)

// scraped is a scrape, read from its text.
func scraped(t *testing.T, meters ...*telemetry.Meter) samples {
	t.Helper()
	var text bytes.Buffer
	if err := prometheus.Write(&text, meters...); err != nil {
		t.Fatal(err)
	}
	out := samples{}
	for l := range strings.Lines(text.String()) {
		if strings.HasPrefix(l, "#") {
			continue
		}
		m := sampleLine.FindStringSubmatch(strings.TrimSuffix(l, "\n"))
		if m == nil {
			t.Fatalf("no sample: %s", l)
		}
		labels := map[string]string{}
		for _, kv := range sampleLabel.FindAllStringSubmatch(m[2], -1) {
			v, err := strconv.Unquote(kv[2])
			if err != nil {
				t.Fatalf("%s: %v", l, err)
			}
			labels[kv[1]] = v
		}
		v, err := strconv.ParseFloat(m[3], 64)
		key := sampleKey(m[1], labels)
		if _, twice := out[key]; err != nil || twice {
			t.Fatalf("%s: %v", l, err)
		}
		out[key] = v
	}
	return out
}

// exported is what OpenTelemetry's SDK collects, under the names of a scrape.
func exported(t *testing.T, r metricsdk.Reader) samples {
	t.Helper()
	names := map[string]string{}
	for _, in := range telemetry.Instruments() {
		names[in.Name] = in.Prometheus()
	}
	var rm metricdata.ResourceMetrics
	if err := r.Collect(t.Context(), &rm); err != nil {
		t.Fatal(err)
	}
	out := samples{}
	put := func(name string, attrs attribute.Set, v float64, more ...string) {
		labels := map[string]string{}
		for _, kv := range attrs.ToSlice() {
			labels[string(kv.Key)] = kv.Value.String()
		}
		if len(more) > 0 {
			labels["le"] = more[0]
		}
		out[sampleKey(name, labels)] = v
	}
	for _, scope := range rm.ScopeMetrics {
		for _, m := range scope.Metrics {
			name := names[m.Name]
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					put(name, p.Attributes, float64(p.Value))
				}
			case metricdata.Gauge[int64]:
				for _, p := range data.DataPoints {
					put(name, p.Attributes, float64(p.Value))
				}
			case metricdata.Gauge[float64]:
				for _, p := range data.DataPoints {
					put(name, p.Attributes, p.Value)
				}
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					n := uint64(0)
					for i, c := range p.BucketCounts {
						n += c
						le := "+Inf"
						if i < len(p.Bounds) {
							le = strconv.FormatFloat(p.Bounds[i], 'g', -1, 64)
						}
						put(name+"_bucket", p.Attributes, float64(n), le)
					}
					put(name+"_sum", p.Attributes, p.Sum)
					put(name+"_count", p.Attributes, float64(p.Count))
				}
			default:
				t.Errorf("%s is a %T", m.Name, data)
			}
		}
	}
	return out
}

// inexact are sums that OpenTelemetry's API cannot be given, as package otel says.
var inexact = regexp.MustCompile(`^kustospool_(call|commit|sync)_duration_seconds_sum`)

// differences lists where a scrape and an export do not agree. A histogram of nothing
// is in the scrape alone.
func differences(scrape, export samples) (out []string) {
	for key, v := range scrape {
		histogram, part, _ := strings.Cut(key, "_seconds_")
		if _, there := export[key]; !there && v == 0 && strings.HasPrefix(part, "bucket") || strings.HasPrefix(part, "sum") || strings.HasPrefix(part, "count") {
			empty := true
			for other, n := range export {
				empty = empty && (n == 0 || !strings.HasPrefix(other, histogram+"_seconds_"))
			}
			if empty {
				continue
			}
		}
		got, there := export[key]
		// A sum of seconds has its last digit by the order in which it was made.
		if same := got == v || strings.HasPrefix(part, "sum") && math.Abs(got-v) < 1e-9*v; !there || !same && !inexact.MatchString(key) {
			out = append(out, fmt.Sprintf("%s: scraped %v, exported %v (%v)", key, v, got, there))
		}
	}
	for key, v := range export {
		if _, there := scrape[key]; !there {
			out = append(out, fmt.Sprintf("%s: exported %v, not scraped", key, v))
		}
	}
	return out
}

// TestAScrapeAndAnExportAgree, in the middle of trouble: every value, by name and
// labels, of one spool at one moment. Controls change a value of each kind, and leave
// out a series.
func TestAScrapeAndAnExportAgree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := transporttest.NewFake()
		fake.Poison(func(rec []byte) bool { return strings.Contains(string(rec), "poison") })
		calls := 0
		fake.Decide(func(d *transport.Delivery) (transporttest.Step, bool) {
			calls++
			step := transporttest.Step{Delay: 70 * time.Millisecond}
			switch {
			case d.Batch.Properties.Table == "Missing":
				step.Fail = transporttest.Fail(transport.Held)
			case d.Batch.Properties.Table == "Late":
				step.Verdicts = make(chan struct{})
			case calls%3 == 0:
				step.LoseReply = true
			}
			return step, true
		})
		reader := metricsdk.NewManualReader()
		m := telemetry.New(&telemetry.Options{MaxTables: 3})
		bridge, err := otel.New(m, otel.Config{MeterProvider: metricsdk.NewMeterProvider(metricsdk.WithReader(reader)), TraceRatio: -1})
		if err != nil {
			t.Fatal(err)
		}
		defer bridge.Close()
		s, err := engine.Open(t.TempDir(), fake.Tracking(), &engine.Options{NoSocket: true, Observer: telemetry.Observers{m, bridge},
			Batch: batching.Policy{MaxRecords: 4, MaxAge: time.Minute}, RetryMin: time.Second, MaxDiskBytes: 64 << 20})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		m.Watch(s)
		for i := range 60 {
			p := ingest.Properties{Database: "D", Table: []string{"T", "Missing", "Late", "one with a - name", "beyond"}[i%5], Format: ingest.JSON}
			text := "good"
			if i == 7 || i == 15 {
				text = "poison"
			}
			if _, err := s.Ingest(t.Context(), &ingest.Request{Properties: p, Data: fmt.Appendf(nil, `{"text":"%s"}`, text)}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(300 * time.Millisecond)
		}
		fake.Down(transporttest.Fail(transport.Throttled))
		for i := range 6 {
			if _, err := s.Ingest(t.Context(), &ingest.Request{Properties: ingest.Properties{Database: "D", Table: "T", Format: ingest.JSON}, Data: fmt.Appendf(nil, `{"n":%d}`, i)}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(61 * time.Second)
		synctest.Wait()

		var scrape, export samples
		for again := samples(nil); scrape == nil || !maps.Equal(scrape, again); { // the volume is not ours alone
			scrape, export, again = scraped(t, m), exported(t, reader), scraped(t, m)
		}
		for _, d := range differences(scrape, export) {
			t.Error(d)
		}
		if len(scrape) < 200 || len(telemetry.Instruments()) < 40 {
			t.Errorf("%d values only", len(scrape))
		}
		for _, name := range []string{"records_waiting", "records_settled_total", "queue_age_seconds", "batches_waiting", "dead_letters_waiting", "tables_held",
			"destination_failing_seconds", "attempts_ended_total", "table_records_settled_total", "attempt_duration_seconds_bucket", "delivery_duration_seconds_sum", "commit_duration_seconds_count"} {
			if scrape.sum("kustospool_"+name) == 0 {
				t.Errorf("kustospool_%s is 0: there is less trouble than there should be", name)
			}
		}
		for _, name := range []string{"kustospool_records_acknowledged_total", "kustospool_queue_age_seconds", "kustospool_table_records_waiting", "kustospool_attempt_duration_seconds_bucket", "kustospool_delivery_duration_seconds_sum"} {
			for key := range export {
				if strings.HasPrefix(key, name+"{") && export[key] > 0 {
					other := maps.Clone(export)
					other[key]++
					if d := differences(scrape, other); len(d) != 1 {
						t.Errorf("another value of %s: %d differences", key, len(d))
					}
					delete(other, key)
					if d := differences(scrape, other); len(d) != 1 {
						t.Errorf("without %s: %d differences", key, len(d))
					}
				}
			}
		}
	})
}

package otel_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.uber.org/goleak"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/telemetry"
	"kustospool/telemetry/otel"
	"kustospool/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// source is a snapshot that stands still.
type source struct{ st engine.Stats }

func (s source) Stats() engine.Stats { return s.st }

// key names a series: the instrument and its attributes in order.
func key(name string, attrs map[string]string) string {
	var b strings.Builder
	b.WriteString(name)
	for _, k := range slices.Sorted(maps.Keys(attrs)) {
		fmt.Fprintf(&b, " %s=%s", k, attrs[k])
	}
	return b.String()
}

// collected is what the table has: values, and the counts of buckets.
func collected(m *telemetry.Meter) map[string]string {
	out := map[string]string{}
	for _, s := range m.Collect() {
		for _, p := range s.Points {
			attrs := map[string]string{"spool": p.Labels[0]}
			for i, k := range s.Labels {
				attrs[k] = p.Labels[i+1]
			}
			switch {
			case p.Buckets == nil:
				out[key(s.Name, attrs)] = fmt.Sprint(p.Value)
			case p.Buckets.Count() > 0:
				out[key(s.Name, attrs)] = fmt.Sprint(p.Buckets.Bounds, p.Buckets.Counts)
			}
		}
	}
	return out
}

// exported is what OpenTelemetry's own collection has, and the names, units and
// kinds it has them under.
func exported(t *testing.T, r sdk.Reader) (values, names map[string]string) {
	t.Helper()
	var rm metricdata.ResourceMetrics
	if err := r.Collect(t.Context(), &rm); err != nil {
		t.Fatal(err)
	}
	values, names = map[string]string{}, map[string]string{}
	attrsOf := func(set attribute.Set) map[string]string {
		out := map[string]string{}
		for _, kv := range set.ToSlice() {
			out[string(kv.Key)] = kv.Value.String()
		}
		return out
	}
	for _, scope := range rm.ScopeMetrics {
		if scope.Scope.Name != otel.Scope {
			t.Errorf("scope %q", scope.Scope.Name)
		}
		for _, m := range scope.Metrics {
			kind := "gauge"
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				if data.IsMonotonic {
					kind = "counter"
				}
				for _, p := range data.DataPoints {
					values[key(m.Name, attrsOf(p.Attributes))] = fmt.Sprint(float64(p.Value))
				}
			case metricdata.Gauge[int64]:
				for _, p := range data.DataPoints {
					values[key(m.Name, attrsOf(p.Attributes))] = fmt.Sprint(float64(p.Value))
				}
			case metricdata.Gauge[float64]:
				for _, p := range data.DataPoints {
					values[key(m.Name, attrsOf(p.Attributes))] = fmt.Sprint(p.Value)
				}
			case metricdata.Histogram[float64]:
				kind = "histogram"
				for _, p := range data.DataPoints {
					values[key(m.Name, attrsOf(p.Attributes))] = fmt.Sprint(p.Bounds, p.BucketCounts)
				}
			default:
				t.Errorf("%s is a %T", m.Name, data)
			}
			names[m.Name] = kind + " " + m.Unit + " " + m.Description
		}
	}
	return values, names
}

// busy is a snapshot with something of everything.
func busy() engine.Stats {
	return engine.Stats{At: time.Unix(1000, 0), Acked: 10, AckedBytes: 1 << 40,
		Waiting: engine.Backlog{Records: 4, Open: 1, Age: 1500 * time.Millisecond}, Settled: engine.Settled{Ingested: 5, Dropped: 1},
		Rate: engine.Rate{Records: 2}, Disk: engine.DiskStats{Free: 7, Quota: 1 << 33},
		Transport: []transport.Figure{{Name: "capacity_in_flight", Value: 3}},
		Lanes:     []engine.LaneStats{{Properties: ingest.Properties{Database: "D", Table: "T"}}, {Properties: ingest.Properties{Database: "D", Table: "U"}}},
	}
}

// TestExportAgreesWithTheTable: the same moment by way of OpenTelemetry and as a
// scrape has it: names, units, kinds, labels, values, and counts of buckets. The
// control changes one value.
func TestExportAgreesWithTheTable(t *testing.T) {
	reader := sdk.NewManualReader()
	m := telemetry.New(&telemetry.Options{Spool: "edge", MaxTables: 1})
	bridge, err := otel.New(m, otel.Config{MeterProvider: sdk.NewMeterProvider(sdk.WithReader(reader)), TraceRatio: -1})
	if err != nil {
		t.Fatal(err)
	}
	m.Watch(source{busy()})
	var took engine.Durations
	for _, d := range []time.Duration{0, time.Millisecond, 2 * time.Second, time.Hour} {
		took.Add(d)
	}
	to := telemetry.Observers{m, bridge}
	for _, ev := range []engine.Event{
		engine.RecordsAcked{Commits: 4, Commit: took, Sync: took}, engine.CallsReturned{Took: took}, engine.WaitedForRoom{Took: 3 * time.Second},
		engine.AttemptEnded{Outcome: "accepted", Took: time.Second}, engine.AttemptEnded{Outcome: "throttled", Took: time.Hour},
		engine.BatchSettled{Batch: ingest.Batch{First: 1, Last: 6, Properties: ingest.Properties{Database: "D", Table: "T"}}, State: ingest.Succeeded, Took: 5 * time.Minute},
		engine.EventsFolded{Events: 3, Commit: took, AttemptsEnded: map[string]int64{"accepted": 1}},
	} {
		to.Observe(ev)
	}
	want := collected(m)
	got, names := exported(t, reader)
	if !maps.Equal(want, got) {
		for k, v := range want {
			if got[k] != v {
				t.Errorf("%s: the table has %s, the export %q", k, v, got[k])
			}
		}
		for k, v := range got {
			if _, ok := want[k]; !ok {
				t.Errorf("%s: the export has %s, the table nothing", k, v)
			}
		}
	}
	for _, in := range telemetry.Instruments() {
		if want := in.Kind.String() + " " + in.Unit + " " + in.Help; names[in.Name] != want {
			t.Errorf("%s is %q, want %q", in.Name, names[in.Name], want)
		}
	}
	if len(names) != len(telemetry.Instruments()) {
		t.Errorf("%d instruments are exported of %d", len(names), len(telemetry.Instruments()))
	}
	st := busy()
	st.Acked++
	m.Watch(source{st})
	if other, _ := exported(t, reader); maps.Equal(want, other) {
		t.Error("another value was not seen")
	}
	if err := bridge.Close(); err != nil {
		t.Error(err)
	}
	if left, _ := exported(t, reader); len(left) >= len(want)/2 {
		t.Errorf("%d series are still collected", len(left))
	}
}

// Package otel gives a spool's metrics and traces to OpenTelemetry. It uses the
// API alone: providers, exporters and sampling are the program's.
//
//	m := telemetry.New(nil)
//	bridge, err := otel.New(m, otel.Config{})
//	spool, err := engine.Open(dir, tr, &engine.Options{Observer: telemetry.Observers{m, bridge}})
//	m.Watch(spool)
//	defer bridge.Close()
//
// # Metrics
//
// Counters and gauges are observable instruments: each collection takes one
// snapshot, in which acknowledged = waiting + settled. Histograms are recorded as
// events come. Of calls and commits the engine tells how many were in each bucket,
// so they are recorded with the upper bound of theirs (the last one with twice its
// lower bound): their counts are exact, their sums are not.
//
// # Traces
//
// Spans are made when what they show has ended, with its times, so none is open
// while a batch waits for days. A batch's trace has the batch's ID as its own ID:
// nothing is kept on disk for it, and all processes that have the batch add to one
// trace. The parent of these spans stands for the batch itself and is no span.
// The span of the seal is linked to the calls whose records are in the batch; where
// they are of an earlier process, the records' IDs in both tell.
// Where that ID is sampled is this package's to say ([Config].TraceRatio), because a
// sampler that heeds parents takes what the parent says.
//
// # Failure
//
// What goes wrong in an exporter is OpenTelemetry's to report. A slow one holds up
// neither acknowledgements nor delivery (see [engine.Observer]).
package otel

import (
	"context"
	"fmt"
	"sync"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/telemetry"
)

// Scope is the name of the instrumentation scope.
const Scope = "kustospool/telemetry/otel"

// Config of a [Bridge]. The zero value takes the program's global providers.
type Config struct {
	MeterProvider  metric.MeterProvider // default: otel.GetMeterProvider
	TracerProvider trace.TracerProvider // default: otel.GetTracerProvider
	// TraceRatio is the share of batches that are traced, from 0 to 1; negative:
	// none. Default 1. It is the same batches in each process.
	TraceRatio float64
}

// Bridge hands on what it observes. It is an [engine.Observer], to be put behind
// its meter ([telemetry.Observers]).
type Bridge struct {
	meter      *telemetry.Meter
	tracer     trace.Tracer
	ratio      float64
	histograms map[string]metric.Float64Histogram
	collecting metric.Registration

	mu     sync.Mutex // guards what is below
	id     ingest.SpoolID
	linked []linked // a ring
	next   int
}

// New makes the instruments. Its error is the provider's.
func New(m *telemetry.Meter, c Config) (*Bridge, error) {
	if c.MeterProvider == nil {
		c.MeterProvider = otel.GetMeterProvider()
	}
	if c.TracerProvider == nil {
		c.TracerProvider = otel.GetTracerProvider()
	}
	if c.TraceRatio == 0 {
		c.TraceRatio = 1
	}
	b := &Bridge{meter: m, ratio: c.TraceRatio, histograms: make(map[string]metric.Float64Histogram),
		tracer: c.TracerProvider.Tracer(Scope, trace.WithInstrumentationVersion(m.Version()))}
	meter := c.MeterProvider.Meter(Scope, metric.WithInstrumentationVersion(m.Version()))
	observed, err := b.instruments(meter)
	if err != nil {
		return nil, err
	}
	var all []metric.Observable
	for _, o := range observed {
		all = append(all, o)
	}
	if b.collecting, err = meter.RegisterCallback(func(_ context.Context, to metric.Observer) error {
		for _, s := range m.Collect() {
			for i := range s.Points {
				observe(to, observed[s.Name], &s, &s.Points[i])
			}
		}
		return nil
	}, all...); err != nil {
		return nil, fmt.Errorf("otel: %w", err)
	}
	return b, nil
}

// Close ends the collecting.
func (b *Bridge) Close() error { return b.collecting.Unregister() }

// instruments makes all of the table. What is counted and can be added up is an
// up-down counter, by OpenTelemetry's conventions; Prometheus calls it a gauge.
func (b *Bridge) instruments(meter metric.Meter) (map[string]metric.Observable, error) {
	observed := make(map[string]metric.Observable)
	for _, in := range telemetry.Instruments() {
		var o metric.Observable
		var err error
		help, unit := metric.WithDescription(in.Help), metric.WithUnit(in.Unit)
		switch {
		case in.Kind == telemetry.Histogram:
			b.histograms[in.Name], err = meter.Float64Histogram(in.Name, help, unit, metric.WithExplicitBucketBoundaries(in.Bounds...))
		case in.Kind == telemetry.Counter:
			o, err = meter.Int64ObservableCounter(in.Name, help, unit)
		case in.Unit == "s":
			o, err = meter.Float64ObservableGauge(in.Name, help, unit)
		case in.Unit == "{figure}": // whether they can be added up is the transport's to know
			o, err = meter.Int64ObservableGauge(in.Name, help, unit)
		default:
			o, err = meter.Int64ObservableUpDownCounter(in.Name, help, unit)
		}
		if err != nil {
			return nil, fmt.Errorf("otel: %s: %w", in.Name, err)
		}
		if o != nil {
			observed[in.Name] = o
		}
	}
	return observed, nil
}

func observe(to metric.Observer, o metric.Observable, s *telemetry.Series, p *telemetry.Point) {
	attrs := []attribute.KeyValue{attribute.String("spool", p.Labels[0])}
	for i, key := range s.Labels {
		attrs = append(attrs, attribute.String(key, p.Labels[i+1]))
	}
	with := metric.WithAttributeSet(attribute.NewSet(attrs...))
	switch o := o.(type) {
	case metric.Float64Observable:
		to.ObserveFloat64(o, p.Value, with)
	case metric.Int64Observable:
		to.ObserveInt64(o, int64(p.Value), with)
	}
}

// Observe implements [engine.Observer].
func (b *Bridge) Observe(ev engine.Event) {
	ctx := context.Background()
	switch ev := ev.(type) {
	case engine.Recovered:
		b.mu.Lock()
		b.id = ev.Stats.Spool
		b.mu.Unlock()
	case engine.RecordsAcked:
		b.recordAll(ctx, "kustospool.commit.duration", &ev.Commit)
		b.recordAll(ctx, "kustospool.sync.duration", &ev.Sync)
	case engine.CallsReturned:
		b.recordAll(ctx, "kustospool.call.duration", &ev.Took)
	case engine.EventsFolded:
		b.recordAll(ctx, "kustospool.commit.duration", &ev.Commit)
		b.recordAll(ctx, "kustospool.sync.duration", &ev.Sync)
	case engine.WaitedForRoom:
		b.record(ctx, "kustospool.room.wait", ev.Took.Seconds(), b.spool())
	case engine.BatchSealed:
		b.sealed(&ev)
	case engine.AttemptEnded:
		b.record(ctx, "kustospool.attempt.duration", ev.Took.Seconds(), b.spool(), attribute.String("outcome", b.meter.Outcome(ev.Outcome)))
		b.attempt(&ev)
	case engine.BatchDecided:
		b.verdict(&ev)
	case engine.BatchSplit:
		b.split(&ev)
	case engine.BatchSettled:
		if ev.Took > 0 {
			b.record(ctx, "kustospool.delivery.duration", ev.Took.Seconds(), b.spool(), attribute.String("result", telemetry.ResultOf(ev.State)))
		}
		b.settled(&ev)
	}
}

func (b *Bridge) spool() attribute.KeyValue { return attribute.String("spool", b.meter.Spool()) }

func (b *Bridge) record(ctx context.Context, name string, v float64, attrs ...attribute.KeyValue) {
	b.histograms[name].Record(ctx, v, metric.WithAttributeSet(attribute.NewSet(attrs...)))
}

// recordAll records each time of a histogram as the upper bound of its bucket.
func (b *Bridge) recordAll(ctx context.Context, name string, d *engine.Durations) {
	with := []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(b.spool()))} // one for all: there may be thousands
	for i, n := range d.Buckets {
		v := 2 * bounds[len(bounds)-1]
		if i < len(bounds) {
			v = bounds[i]
		}
		for range n {
			b.histograms[name].Record(ctx, v, with...)
		}
	}
}

var bounds = func() (out []float64) {
	for _, d := range engine.DurationBounds() {
		out = append(out, d.Seconds())
	}
	return out
}()

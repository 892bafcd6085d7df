package otel_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"kustospool/batching"
	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/telemetry"
	"kustospool/telemetry/otel"
	"kustospool/transport"
	"kustospool/transport/transporttest"
)

var demo = ingest.Properties{Database: "Demo", Table: "Telemetry", Format: ingest.JSON}

// process opens the spool with tracing to rec, does something, and closes it.
func process(t *testing.T, dir string, tr transport.Transport, rec *tracetest.SpanRecorder, ratio float64, do func(context.Context, *engine.Spool, *otel.Bridge)) {
	t.Helper()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(rec))
	m := telemetry.New(nil)
	bridge, err := otel.New(m, otel.Config{TracerProvider: provider, TraceRatio: ratio})
	if err != nil {
		t.Fatal(err)
	}
	defer bridge.Close()
	s, err := engine.Open(dir, tr, &engine.Options{NoSocket: true, Observer: telemetry.Observers{m, bridge}, Batch: batching.Policy{MaxRecords: 3, MaxAge: time.Second}, RetryMin: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	m.Watch(s)
	ctx, span := provider.Tracer("program").Start(t.Context(), "request")
	do(ctx, s, bridge)
	span.End()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func attr(s sdktrace.ReadOnlySpan, key string) string {
	for _, kv := range s.Attributes() {
		if string(kv.Key) == key {
			return kv.Value.String()
		}
	}
	return ""
}

func named(rec *tracetest.SpanRecorder, name string) (out []sdktrace.ReadOnlySpan) {
	for _, s := range rec.Ended() {
		if s.Name() == name {
			out = append(out, s)
		}
	}
	return out
}

// TestTraceFromIngestToSettlement follows three records over two processes: the
// first one's attempt loses its reply, the second one hears that it had arrived.
func TestTraceFromIngestToSettlement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		fake := transporttest.NewFake()
		fake.Script(transporttest.Step{LoseReply: true, Delay: 2 * time.Second})
		first, second := tracetest.NewSpanRecorder(), tracetest.NewSpanRecorder()
		var records []string
		var caller trace.SpanContext
		var spool string
		begun := time.Now()
		process(t, dir, fake, first, 0, func(ctx context.Context, s *engine.Spool, b *otel.Bridge) {
			caller, spool = trace.SpanContextFromContext(ctx), s.ID().String()
			for i := range 3 {
				r, err := b.Ingest(ctx, s, &ingest.Request{Properties: demo, Data: fmt.Appendf(nil, `{"n":%d}`, i)})
				if err != nil {
					t.Fatal(err)
				}
				records = append(records, r.ID.String())
			}
			if _, err := b.Ingest(ctx, s, &ingest.Request{Properties: demo, Data: []byte("no\nrecord")}); err == nil {
				t.Fatal("a bad record was taken")
			}
			time.Sleep(2500 * time.Millisecond)
			synctest.Wait()
		})
		process(t, dir, fake, second, 0, func(ctx context.Context, s *engine.Spool, b *otel.Bridge) {
			if err := s.Drain(ctx); err != nil {
				t.Fatal(err)
			}
		})

		calls := named(first, "kustospool ingest")
		if len(calls) != 4 || calls[3].Status().Description == "" || attr(calls[3], "record") != "" {
			t.Fatalf("%d calls", len(calls))
		}
		for i, c := range calls[:3] {
			if c.Parent().SpanID() != caller.SpanID() || attr(c, "record") != records[i] || attr(c, "spool") != spool || attr(c, "table") != "Telemetry" {
				t.Errorf("call %d: %v", i, c.Attributes())
			}
		}
		attempts := append(named(first, "kustospool attempt"), named(second, "kustospool attempt")...)
		batches := named(second, "kustospool batch")
		if len(attempts) != 2 || len(batches) != 1 {
			t.Fatalf("%d attempts, %d batches", len(attempts), len(batches))
		}
		batch := batches[0]
		for i, a := range attempts {
			if a.SpanContext().TraceID() != batch.SpanContext().TraceID() || a.Parent().SpanID() != batch.Parent().SpanID() || attr(a, "batch") != attr(batch, "batch") || attr(a, "attempt") != fmt.Sprint(i+1) {
				t.Errorf("attempt %d: %v, of the batch %v", i, a.SpanContext(), batch.SpanContext())
			}
		}
		if id := strings.ReplaceAll(attr(batch, "batch"), "-", ""); id != batch.SpanContext().TraceID().String() {
			t.Errorf("the trace of batch %s is %s", id, batch.SpanContext().TraceID())
		}
		if d := attempts[0].EndTime().Sub(attempts[0].StartTime()); d != 2*time.Second || attr(attempts[0], "outcome") != "unknown" || attr(attempts[1], "outcome") != "skipped" {
			t.Errorf("attempts of %v: %v, %v", d, attempts[0].Attributes(), attempts[1].Attributes())
		}
		if attr(batch, "result") != "skipped" || attr(batch, "records") != "3" || batch.StartTime().Sub(begun) > time.Second || !batch.EndTime().After(attempts[0].EndTime()) {
			t.Errorf("batch from %v to %v: %v", batch.StartTime(), batch.EndTime(), batch.Attributes())
		}
	})
}

// TestTraceOverRestarts: two processes take records and deliver nothing, a third one
// delivers. What was sealed leads from its end to the calls by the seal in its trace;
// what was not leads there by the records' IDs.
func TestTraceOverRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, rec := t.TempDir(), tracetest.NewSpanRecorder()
		calls := map[string]sdktrace.ReadOnlySpan{} // by the record
		for i := range 2 {
			fake := transporttest.NewFake()
			fake.Down(transporttest.Fail(transport.Transient))
			process(t, dir, fake, rec, 0, func(ctx context.Context, s *engine.Spool, b *otel.Bridge) {
				for j := range 3 - 2*i { // three are a batch, and one is none yet
					if _, err := b.Ingest(ctx, s, &ingest.Request{Properties: demo, Data: fmt.Appendf(nil, `{"n":%d}`, 10*i+j)}); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(500 * time.Millisecond)
				synctest.Wait()
			})
		}
		for _, c := range named(rec, "kustospool ingest") {
			calls[attr(c, "record")] = c
		}
		if n := len(named(rec, "kustospool batch")); n != 0 || len(calls) != 4 {
			t.Fatalf("%d batches are settled before the third process, %d calls", n, len(calls))
		}
		process(t, dir, transporttest.NewFake(), rec, 0, func(ctx context.Context, s *engine.Spool, b *otel.Bridge) {
			if err := s.Drain(ctx); err != nil {
				t.Fatal(err)
			}
		})
		seals := map[trace.TraceID]sdktrace.ReadOnlySpan{}
		for _, s := range named(rec, "kustospool seal") {
			seals[s.SpanContext().TraceID()] = s
		}
		batches := named(rec, "kustospool batch")
		if len(batches) != 2 || len(seals) != 2 {
			t.Fatalf("%d batches, %d seals", len(batches), len(seals))
		}
		for _, b := range batches {
			first, seal := calls[attr(b, "first_record")], seals[b.SpanContext().TraceID()]
			if first == nil || calls[attr(b, "last_record")] == nil || seal == nil || seal.Parent().SpanID() != b.Parent().SpanID() {
				t.Fatalf("the batch %v leads to no call", b.Attributes())
			}
			var linked []trace.SpanID
			for _, l := range seal.Links() {
				linked = append(linked, l.SpanContext.SpanID())
			}
			switch attr(b, "records") {
			case "3":
				if len(linked) != 3 || linked[0] != first.SpanContext().SpanID() || seal.EndTime().After(b.EndTime().Add(-500*time.Millisecond)) {
					t.Errorf("the seal is linked to %v, the first call is %v", linked, first.SpanContext().SpanID())
				}
			case "1":
				if len(linked) != 0 {
					t.Errorf("links %v of another process", linked)
				}
			}
		}
	})
}

// TestBatchIsLinkedToItsCalls: to 32 of them, and a split batch to its parts.
func TestBatchIsLinkedToItsCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fake := transporttest.NewFake()
		fake.Poison(func(rec []byte) bool { return strings.Contains(string(rec), "poison") })
		rec := tracetest.NewSpanRecorder()
		process(t, t.TempDir(), fake, rec, 0, func(ctx context.Context, s *engine.Spool, b *otel.Bridge) {
			for _, text := range []string{"good", "poison", "fine", "good too"} {
				if _, err := b.Ingest(ctx, s, &ingest.Request{Properties: demo, Data: fmt.Appendf(nil, `{"text":"%s"}`, text)}); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Drain(ctx); err != nil {
				t.Fatal(err)
			}
		})
		results := map[string]int{}
		traces := map[trace.TraceID]bool{}
		var links []trace.SpanID
		for _, b := range named(rec, "kustospool batch") {
			results[attr(b, "result")]++
			traces[b.SpanContext().TraceID()] = true
			for _, l := range b.Links() {
				links = append(links, l.SpanContext.SpanID())
			}
		}
		if results["split"] == 0 || results["dead_lettered"] != 1 || results["ingested"] < 2 {
			t.Errorf("batches: %v", results)
		}
		for _, c := range named(rec, "kustospool ingest") {
			if !slices.Contains(links, c.SpanContext().SpanID()) {
				t.Errorf("no batch is linked to the call of %s", attr(c, "record"))
			}
		}
		for _, b := range named(rec, "kustospool batch") {
			for _, l := range b.Links() {
				if attr(b, "result") == "split" && !traces[l.SpanContext.TraceID()] {
					t.Errorf("a part %s has no span", l.SpanContext.TraceID())
				}
			}
		}
	})
}

// TestTraceRatio: the share of batches is about what was asked for, and a batch
// that is not traced has no span at all.
func TestTraceRatio(t *testing.T) {
	for _, tt := range []struct{ ratio, least, most float64 }{{-1, 0, 0}, {0.25, 0.15, 0.35}, {0, 1, 1}} {
		rec := tracetest.NewSpanRecorder()
		bridge, err := otel.New(telemetry.New(nil), otel.Config{TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(rec)), TraceRatio: tt.ratio})
		if err != nil {
			t.Fatal(err)
		}
		const batches = 1000
		for i := range batches {
			id := ingest.NewBatchID(ingest.SpoolID{}, 1, uint64(i), uint64(i))
			bridge.Observe(engine.AttemptEnded{At: time.Unix(1, 0), Batch: ingest.Batch{ID: id}})
			bridge.Observe(engine.BatchSettled{At: time.Unix(1, 0), Batch: ingest.Batch{ID: id}, State: ingest.Succeeded})
		}
		share := float64(len(rec.Ended())) / 2 / batches
		if a, b := len(named(rec, "kustospool attempt")), len(named(rec, "kustospool batch")); share < tt.least || share > tt.most || a != b {
			t.Errorf("ratio %v: %v, %d attempts and %d batches", tt.ratio, share, a, b)
		}
		if err := bridge.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestNoControlCharacterNorSecretInASpan: names of tables and the words of a service are
// shown, not obeyed.
func TestNoControlCharacterNorSecretInASpan(t *testing.T) {
	rec := tracetest.NewSpanRecorder()
	bridge, err := otel.New(telemetry.New(nil), otel.Config{TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(rec))})
	if err != nil {
		t.Fatal(err)
	}
	defer bridge.Close()
	batch := ingest.Batch{Properties: ingest.Properties{Table: "a\x1b[2Jtable"}}
	bridge.Observe(engine.AttemptEnded{At: time.Unix(1, 0), Batch: batch, Outcome: "transient", Failure: &ingest.Failure{Class: "transient", Code: "\x07", Message: "words\r\nand \x1b[31mcolour of https://a.example/c?sig=SECRET%3D", RequestID: "id\n"}})
	spans := rec.Ended()
	if len(spans) != 1 || spans[0].Status().Description == "" {
		t.Fatalf("%d spans", len(spans))
	}
	text := spans[0].Status().Description
	for _, kv := range spans[0].Attributes() {
		text += kv.Value.String()
	}
	if strings.Contains(text, "SECRET") || !strings.Contains(text, "colour") {
		t.Errorf("%q", text)
	}
	if i := strings.IndexFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }); i >= 0 {
		t.Errorf("%q", text)
	}
}

package otel

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/internal/visible"
	"kustospool/telemetry"
	"kustospool/transport"
)

const (
	maxLinked = 10_000 // the latest records, whose spans are remembered for their batch's
	maxLinks  = 32     // of one batch's span
)

// linked is the span of a call that stored a record.
type linked struct {
	lane uint32
	seq  uint64
	span trace.SpanContext
}

// Ingester takes records: an [engine.Spool].
type Ingester interface {
	Ingest(context.Context, *ingest.Request) (ingest.Receipt, error)
}

// Ingest is the spool's Ingest, with a span in ctx's trace. The spans of the seal and
// of the end of the batch that the record becomes part of are linked to it, where the
// record is still known: the bridge remembers the last 10,000 that were sampled. In a
// later process the record's ID, an attribute of the span, finds the batch, which has
// those of its first and last record.
func (b *Bridge) Ingest(ctx context.Context, spool Ingester, req *ingest.Request) (ingest.Receipt, error) {
	ctx, span := b.tracer.Start(ctx, "kustospool ingest", trace.WithSpanKind(trace.SpanKindProducer))
	defer span.End()
	rcpt, err := spool.Ingest(ctx, req)
	if !span.IsRecording() {
		return rcpt, err
	}
	if req != nil {
		span.SetAttributes(b.spool(), attribute.String("database", visible.String(req.Properties.Database)), attribute.String("table", visible.String(req.Properties.Table)))
	}
	if err != nil {
		span.SetStatus(codes.Error, visible.String(err.Error()))
		return rcpt, err
	}
	span.SetAttributes(attribute.String("record", rcpt.ID.String()), attribute.Bool("duplicate", rcpt.Duplicate))
	if sc := span.SpanContext(); sc.IsSampled() && !rcpt.Duplicate {
		b.remember(linked{rcpt.ID.Lane(), rcpt.ID.Seq(), sc})
	}
	return rcpt, nil
}

func (b *Bridge) remember(l linked) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.linked) < maxLinked {
		b.linked = append(b.linked, l)
		return
	}
	b.linked[b.next] = l
	b.next = (b.next + 1) % maxLinked
}

// links are the spans of the first records of a batch.
func (b *Bridge) links(batch *ingest.Batch) (out []trace.Link) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.linked {
		l := &b.linked[i]
		if l.lane == batch.Lane && l.seq >= batch.First && l.seq <= batch.Last && len(out) < maxLinks {
			out = append(out, trace.Link{SpanContext: l.span})
		}
	}
	return out
}

// batchContext is what the spans of a batch have as their parent: an ID made of
// the batch's, the same in each process.
func (b *Bridge) batchContext(id ingest.BatchID) trace.SpanContext {
	sum := sha256.Sum256(id[:])
	c := trace.SpanContextConfig{TraceID: trace.TraceID(id), SpanID: trace.SpanID(sum[:8]), Remote: true}
	if float64(binary.BigEndian.Uint64(sum[8:])>>1) < b.ratio*(1<<63) {
		c.TraceFlags = trace.FlagsSampled
	}
	return trace.NewSpanContext(c)
}

// span makes a span of a batch's trace. do may add to it.
func (b *Bridge) span(name string, batch *ingest.Batch, from, to time.Time, do func(trace.Span), opts ...trace.SpanStartOption) {
	sc := b.batchContext(batch.ID)
	if !sc.IsSampled() {
		return
	}
	if from.IsZero() || from.After(to) {
		from = to
	}
	ctx := trace.ContextWithRemoteSpanContext(context.Background(), sc)
	_, span := b.tracer.Start(ctx, name, append(opts, trace.WithTimestamp(from))...)
	if span.IsRecording() {
		span.SetAttributes(b.spool(),
			attribute.String("database", visible.String(batch.Properties.Database)),
			attribute.String("table", visible.String(batch.Properties.Table)),
			attribute.String("batch", batch.ID.String()),
			attribute.Int64("records", batch.Records()),
			attribute.String("first_record", b.recordID(batch, batch.First)),
			attribute.String("last_record", b.recordID(batch, batch.Last)),
			attribute.Int64("bytes", batch.RawBytes))
		do(span)
	}
	span.End(trace.WithTimestamp(to))
}

// recordID is the ID in the receipt of a record of the batch.
func (b *Bridge) recordID(batch *ingest.Batch, seq uint64) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return ingest.NewID(b.id, batch.Lane, seq).String()
}

// failed says what went wrong, in words that hold no secret (see [ingest.Failure]).
func failed(span trace.Span, f *ingest.Failure) {
	if f == nil {
		return
	}
	span.SetStatus(codes.Error, visible.String(transport.WithoutSecrets(f.Message)))
	span.SetAttributes(attribute.String("class", visible.String(f.Class)))
	if f.Code != "" {
		span.SetAttributes(attribute.String("code", visible.String(f.Code)))
	}
	if f.RequestID != "" {
		span.SetAttributes(attribute.String("request_id", visible.String(f.RequestID)))
	}
}

// sealed is the span that ties the batch's trace to those of the calls, in the process
// that knows them: the batch may become final in a later one.
func (b *Bridge) sealed(ev *engine.BatchSealed) {
	b.span("kustospool seal", &ev.Batch, ev.At, ev.At, func(trace.Span) {}, trace.WithLinks(b.links(&ev.Batch)...))
}

func (b *Bridge) attempt(ev *engine.AttemptEnded) {
	b.span("kustospool attempt", &ev.Batch, ev.At.Add(-ev.Took), ev.At, func(span trace.Span) {
		span.SetAttributes(attribute.Int("attempt", ev.Attempt), attribute.String("outcome", b.meter.Outcome(ev.Outcome)), attribute.Int64("wire_bytes", ev.WireBytes))
		failed(span, ev.Failure)
	}, trace.WithSpanKind(trace.SpanKindClient))
}

func (b *Bridge) verdict(ev *engine.BatchDecided) {
	b.span("kustospool verdict", &ev.Batch, ev.At, ev.At, func(span trace.Span) {
		span.SetAttributes(attribute.String("state", ev.State.String()))
		failed(span, ev.Failure)
	}, trace.WithSpanKind(trace.SpanKindClient))
}

func (b *Bridge) settled(ev *engine.BatchSettled) {
	b.span("kustospool batch", &ev.Batch, ev.Batch.SealedAt, ev.At, func(span trace.Span) {
		span.SetAttributes(attribute.String("result", telemetry.ResultOf(ev.State)), attribute.Int("attempts", ev.Attempts))
		if ev.State == ingest.DeadLettered || ev.State == ingest.Dropped {
			failed(span, ev.Failure)
		}
	}, trace.WithLinks(b.links(&ev.Batch)...))
}

func (b *Bridge) split(ev *engine.BatchSplit) {
	var parts []trace.Link
	for i := range ev.Parts {
		parts = append(parts, trace.Link{SpanContext: b.batchContext(ev.Parts[i].ID)})
	}
	b.span("kustospool batch", &ev.Batch, ev.Batch.SealedAt, ev.At, func(span trace.Span) {
		span.SetAttributes(attribute.String("result", "split"))
		failed(span, ev.Failure)
	}, trace.WithLinks(parts...))
}

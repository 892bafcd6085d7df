package slogspool

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"runtime"
	"strings"
	"time"
	"unicode/utf8"

	"kustospool/ingest"
)

// Columns are the columns of a table of logs, as transport/admin's ParseColumns and
// `kustospool send --create-table` read them. attrs is null for a record without
// attributes, and source without [Options].AddSource.
const Columns = "time:datetime,level:string,msg:string,attrs:dynamic,source:dynamic"

// MaxTextBytes bounds the message and each text among the attributes, and
// MaxRowBytes a row.
const (
	MaxTextBytes = 8 << 10
	MaxRowBytes  = 64 << 10
)

// The bounds of [Options].
const (
	DefaultQueueBytes = 4 << 20
	MinQueueBytes     = 4 * MaxRowBytes
	MaxQueueBytes     = 32 << 20
	DefaultDelay      = 100 * time.Millisecond
	MaxDelay          = time.Minute
)

// Options of [New]. Nil and the zero values are the defaults.
type Options struct {
	// Level is the least level that is logged. Default [slog.LevelInfo].
	Level slog.Leveler
	// AddSource fills the column source: function, file and line.
	AddSource bool
	// QueueBytes bounds the rows that are not stored yet. Default 4 MiB; 256 KiB
	// to 32 MiB.
	QueueBytes int
	// Delay is how long the first row in the queue waits for others, to be stored
	// with them: fewer writes, and so much more that a crash may lose. It ends early
	// when the queue is half full. Default 100 ms, at most a minute.
	Delay time.Duration
}

// Table is where the rows go: a *engine.Table.
type Table interface {
	Properties() ingest.Properties
	IngestAll(ctx context.Context, records [][]byte, at ...ingest.Position) ([]ingest.Receipt, error)
}

// Handler is made by [New]. It is safe for concurrent use.
type Handler struct {
	to   slog.Handler // with the attributes and groups of this handler
	bare slog.Handler // without them, for rows that are too long
	q    *queue
}

// New makes a handler and starts its goroutine, which ends with [Handler.Close].
// The table's format must be json or multijson. Its error is an
// [ingest.FieldError].
func New(table Table, opts *Options) (*Handler, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	if o.QueueBytes == 0 {
		o.QueueBytes = DefaultQueueBytes
	}
	if o.Delay == 0 {
		o.Delay = DefaultDelay
	}
	if o.Level == nil {
		o.Level = slog.LevelInfo
	}
	switch p := table.Properties(); {
	case p.Format != ingest.JSON && p.Format != ingest.MultiJSON:
		return nil, &ingest.FieldError{Field: "format", Value: string(p.Format), Rule: "must be json or multijson"}
	case o.QueueBytes < MinQueueBytes || o.QueueBytes > MaxQueueBytes:
		return nil, &ingest.FieldError{Field: "Options.QueueBytes", Value: fmt.Sprint(o.QueueBytes), Rule: fmt.Sprintf("must be from %d to %d", MinQueueBytes, MaxQueueBytes)}
	case o.Delay < 0 || o.Delay > MaxDelay:
		return nil, &ingest.FieldError{Field: "Options.Delay", Value: o.Delay.String(), Rule: "must be positive and at most " + MaxDelay.String()}
	}
	q := newQueue(table, o.QueueBytes, o.Delay)
	bare := slog.NewJSONHandler(q, &slog.HandlerOptions{Level: o.Level, AddSource: o.AddSource, ReplaceAttr: replace}).WithGroup("attrs")
	return &Handler{to: bare, bare: bare, q: q}, nil
}

// Enabled implements [slog.Handler].
func (h *Handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.to.Enabled(ctx, level)
}

// Handle puts the record into the queue. Its error is [ErrDropped] or [ErrClosed],
// which a [slog.Logger] does not look at.
func (h *Handler) Handle(ctx context.Context, r slog.Record) error {
	if ofTheSpool(r.PC) {
		h.q.countOwn()
		return nil
	}
	err := h.to.Handle(ctx, r)
	if long, ok := err.(rowTooLong); ok {
		short := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
		short.AddAttrs(slog.Int("row_bytes_left_out", int(long)))
		err = h.bare.Handle(ctx, short)
	}
	return err
}

// WithAttrs implements [slog.Handler].
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &Handler{to: h.to.WithAttrs(attrs), bare: h.bare, q: h.q}
}

// WithGroup implements [slog.Handler].
func (h *Handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return &Handler{to: h.to.WithGroup(name), bare: h.bare, q: h.q}
}

// Flush returns nil when all that was logged before is stored, or counted as
// dropped. Its error is ctx's.
func (h *Handler) Flush(ctx context.Context) error { return h.q.flush(ctx) }

// Close stores what is in the queue, as long as ctx lasts, and ends the goroutine.
// All handlers derived from this one are closed with it. Its error says how many
// records were dropped that no row tells of.
func (h *Handler) Close(ctx context.Context) error { return h.q.close(ctx) }

// Stats says what became of the log records so far.
func (h *Handler) Stats() Stats { return h.q.snapshot() }

// replace bounds texts and makes times UTC.
func replace(_ []string, a slog.Attr) slog.Attr {
	switch a.Value.Kind() {
	case slog.KindTime:
		t := a.Value.Time().UTC()
		a.Value = slog.TimeValue(t)
		if y := t.Year(); y < 0 || y > 9999 { // of which slog makes what is no JSON
			a.Value = slog.StringValue(t.Format(time.RFC3339Nano))
		}
	case slog.KindString:
		if s := a.Value.String(); len(s) > MaxTextBytes {
			a.Value = slog.StringValue(cut(s))
		}
	case slog.KindAny:
		if s, ok := errorText(a.Value.Any()); ok {
			a.Value = slog.StringValue(cut(s))
		}
	}
	return a
}

// errorText is the text of an error. The text of one that panics is left to slog,
// which recovers.
func errorText(v any) (s string, ok bool) {
	err, is := v.(error)
	if !is {
		return "", false
	}
	defer func() {
		if recover() != nil {
			s, ok = "", false
		}
	}()
	return err.Error(), true
}

// cut bounds a text, and says how long it was.
func cut(s string) string {
	if len(s) <= MaxTextBytes {
		return s
	}
	n := MaxTextBytes - 32 // room for what is said of it
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return fmt.Sprintf("%s... (%d bytes)", s[:n], len(s))
}

// module is the path of this module with a slash: "kustospool/", whatever name it
// will have.
var module = strings.TrimSuffix(reflect.TypeFor[ingest.ID]().PkgPath(), "ingest")

// rooms are the packages whose logging is the spool's own.
var rooms = []string{"batching", "engine", "ingest", "internal", "operate", "slogspool", "store", "telemetry", "transport"}

// ofTheSpool reports whether a call of the logger stands in the spool's own code.
func ofTheSpool(pc uintptr) bool {
	if pc == 0 {
		return false
	}
	frame, _ := runtime.CallersFrames([]uintptr{pc}).Next()
	name, ours := strings.CutPrefix(frame.Function, module)
	if !ours {
		return false
	}
	for _, room := range rooms {
		if rest, ok := strings.CutPrefix(name, room); ok && (strings.HasPrefix(rest, ".") || strings.HasPrefix(rest, "/")) {
			return true
		}
	}
	return false
}

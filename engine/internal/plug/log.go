package plug

import (
	"context"
	"fmt"
	"log/slog"

	"kustospool/internal/visible"
	"kustospool/transport"
)

// guardedHandler is the caller's slog.Handler. What it panics with is lost, and
// so is the line: there is nobody else to tell.
type guardedHandler struct{ to slog.Handler }

// Logger is the caller's logger, made safe: its handler may panic, at the price of the
// line, and what a line holds is visible and without what looks like a secret. Nil
// discards.
func Logger(l *slog.Logger) *slog.Logger {
	if l == nil {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(guardedHandler{l.Handler()})
}

// Enabled implements [slog.Handler].
func (h guardedHandler) Enabled(ctx context.Context, level slog.Level) (enabled bool) {
	_ = transport.Guard("slog.Handler.Enabled", func() error {
		enabled = h.to.Enabled(ctx, level)
		return nil
	})
	return enabled
}

// Handle implements [slog.Handler].
func (h guardedHandler) Handle(ctx context.Context, r slog.Record) error {
	return transport.Guard("slog.Handler.Handle", func() error { return h.to.Handle(ctx, shownRecord(r)) })
}

// shownRecord is a record with all that its texts hold visible, and without what
// looks like a secret: names of files, words of a service and lines of a lock file
// are in them, and not every handler quotes.
func shownRecord(r slog.Record) slog.Record {
	out := slog.NewRecord(r.Time, r.Level, visible.String(transport.WithoutSecrets(r.Message)), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		out.AddAttrs(shownAttr(a))
		return true
	})
	return out
}

func shownAttr(a slog.Attr) slog.Attr {
	text := ""
	switch v := a.Value.Resolve(); v.Kind() {
	case slog.KindString:
		text = v.String()
	case slog.KindAny:
		switch any := v.Any().(type) {
		case error:
			text = any.Error()
		case fmt.Stringer:
			text = any.String()
		}
	}
	show := visible.String
	if a.Key == "stack" { // the runtime's, in lines
		show = visible.Lines
	}
	if seen := show(transport.WithoutSecrets(text)); seen != text {
		return slog.String(a.Key, seen)
	}
	return a
}

// WithAttrs implements [slog.Handler].
func (h guardedHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	_ = transport.Guard("slog.Handler.WithAttrs", func() error {
		h.to = h.to.WithAttrs(attrs)
		return nil
	})
	return h
}

// WithGroup implements [slog.Handler].
func (h guardedHandler) WithGroup(name string) slog.Handler {
	_ = transport.Guard("slog.Handler.WithGroup", func() error {
		h.to = h.to.WithGroup(name)
		return nil
	})
	return h
}

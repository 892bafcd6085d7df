package engine

import (
	"context"
	"log/slog"

	"kustospool/transport"
)

// guardedHandler is the caller's slog.Handler. What it panics with is lost, and
// so is the line: there is nobody else to tell.
type guardedHandler struct{ to slog.Handler }

func guardLogger(l *slog.Logger) *slog.Logger {
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
	return transport.Guard("slog.Handler.Handle", func() error { return h.to.Handle(ctx, r) })
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

package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
)

// openingLog hears what the store says of its own files while a spool is
// opened: the damage that was found then. It passes everything on.
type openingLog struct {
	next  slog.Handler // nil: nobody else listens
	found *findings
}

// findings are shared by the handlers that slog derives of one.
type findings struct {
	mu    sync.Mutex // guards what follows
	ended bool
	lines []string
}

// end ends the hearing and returns what was said.
func (f *findings) end() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	return f.lines
}

func (h openingLog) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn || h.next != nil && h.next.Enabled(ctx, level)
}

func (h openingLog) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn {
		h.hear(r)
	}
	if h.next == nil || !h.next.Enabled(ctx, r.Level) {
		return nil
	}
	return h.next.Handle(ctx, r)
}

// hear keeps a line of the store. Its lines name a place on the disk, which
// those about the destination, for whom delivery has begun, do not.
func (h openingLog) hear(r slog.Record) {
	var text strings.Builder
	text.WriteString(r.Message)
	ours := false
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "dir":
			ours = true // and known to whoever reads it
		case "path":
			ours = true
			fallthrough
		default:
			fmt.Fprintf(&text, ", %s %s", a.Key, a.Value)
		}
		return true
	})
	h.found.mu.Lock()
	defer h.found.mu.Unlock()
	if ours && !h.found.ended {
		h.found.lines = append(h.found.lines, text.String())
	}
}

func (h openingLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	if h.next != nil {
		h.next = h.next.WithAttrs(attrs)
	}
	return h
}

func (h openingLog) WithGroup(name string) slog.Handler {
	if h.next != nil {
		h.next = h.next.WithGroup(name)
	}
	return h
}

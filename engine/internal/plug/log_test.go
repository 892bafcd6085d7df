package plug

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// raw is a handler that prints what it gets as it is.
type raw struct{ out *strings.Builder }

func (h raw) Enabled(context.Context, slog.Level) bool { return true }
func (h raw) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h raw) WithGroup(string) slog.Handler            { return h }
func (h raw) Handle(_ context.Context, r slog.Record) error {
	h.out.WriteString(r.Message)
	r.Attrs(func(a slog.Attr) bool {
		h.out.WriteString(" " + a.String())
		return true
	})
	h.out.WriteString("\n")
	return nil
}

// Names of files and words of others are in the log, and move nothing where it
// is shown, whatever the handler makes of them.
func TestLogIsVisible(t *testing.T) {
	const hostile = "a\x1b[2J\u202e\nlevel=INFO b"
	var out strings.Builder
	Logger(slog.New(raw{&out})).Warn(hostile, "path", hostile, "err", errors.New(hostile), "n", 7, "every", time.Second, "plain", "Größe")
	if got := out.String(); strings.ContainsAny(got, "\x1b\u202e") || strings.Count(got, "\n") != 1 || !strings.HasSuffix(got, " n=7 every=1s plain=Größe\n") {
		t.Errorf("%q", got)
	}
	// Control: without the guard it is seen.
	out.Reset()
	slog.New(raw{&out}).Warn(hostile, "path", hostile)
	if !strings.Contains(out.String(), "\x1b") {
		t.Errorf("the control says %q", out.String())
	}
}

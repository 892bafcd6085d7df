package slogspool_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/internal/testutil/simspool"
	"kustospool/slogspool"
	"kustospool/transport/direct"
)

// late is a handler that is there before the one that it hands on to.
type late struct {
	to atomic.Pointer[slogspool.Handler]
}

func (l *late) Enabled(context.Context, slog.Level) bool { return true }
func (l *late) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *late) WithGroup(string) slog.Handler            { return l }
func (l *late) Handle(ctx context.Context, r slog.Record) error {
	if h := l.to.Load(); h != nil {
		return h.Handle(ctx, r)
	}
	return nil
}

// A spool that logs into itself: what it says of its own is counted and not
// ingested, and the program's rows arrive in a table made from Columns.
func TestIntoTheSpoolThatLogs(t *testing.T) {
	sim := simspool.Start(t, &kustosim.Options{Databases: []string{"D"}})
	if err := sim.CreateTable("D", "Logs", kustosim.Column{Name: "time", Type: "datetime"}, kustosim.Column{Name: "level", Type: "string"},
		kustosim.Column{Name: "msg", Type: "string"}, kustosim.Column{Name: "attrs", Type: "dynamic"}, kustosim.Column{Name: "source", Type: "dynamic"}); err != nil {
		t.Fatal(err)
	}
	client, err := direct.NewClient(sim.Endpoint(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	var own late
	spool := simspool.Open(t, t.TempDir(), client, &engine.Options{Logger: slog.New(&own)})
	logTable, err := spool.Table(ingest.Properties{Database: "D", Table: "Logs", Format: ingest.JSON})
	if err != nil {
		t.Fatal(err)
	}
	h, err := slogspool.New(logTable, &slogspool.Options{Level: slog.LevelDebug, Delay: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	own.to.Store(h)
	for i := range 3 {
		slog.New(h).Info("moored", "boat", fmt.Sprint(i))
	}
	if err := h.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	// The first delivery, which the spool tells of.
	if err := spool.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := h.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := spool.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	st := h.Stats()
	if st.Own == 0 || st.Stored != 3 || st.Dropped != 0 {
		t.Errorf("%+v", st)
	}
	rows := sim.Rows("D", "Logs")
	if len(rows) != 3 {
		t.Fatalf("%d rows: %s", len(rows), rows)
	}
	t.Logf("%s", rows[0])
}

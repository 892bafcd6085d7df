package slogspool_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/slogtest"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"go.uber.org/goleak"

	"kustospool/ingest"
	"kustospool/slogspool"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// table keeps rows; block, where it is not nil, holds every call up, err refuses, and
// a row with bad in it is refused with all that come with it.
type table struct {
	format ingest.Format
	block  chan struct{}
	bad    string

	mu    sync.Mutex
	err   error
	calls int
	rows  []map[string]any
	bytes []int
}

func (t *table) Properties() ingest.Properties {
	return ingest.Properties{Database: "D", Table: "Logs", Format: t.format}
}

func (t *table) IngestAll(ctx context.Context, records [][]byte, _ ...ingest.Position) ([]ingest.Receipt, error) {
	if t.block != nil {
		select {
		case <-t.block:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.calls++
	if t.err != nil {
		return nil, t.err
	}
	for i, r := range records {
		if !utf8.Valid(r) {
			return nil, fmt.Errorf("record %d is no UTF-8: %.200q", i, r)
		}
		if t.bad != "" && bytes.Contains(r, []byte(t.bad)) {
			return nil, fmt.Errorf("record %d: %w", i, &ingest.FieldError{Field: "data", Value: "?", Rule: "is not taken"})
		}
	}
	for _, r := range records {
		var row map[string]any
		if err := json.Unmarshal(r, &row); err != nil {
			return nil, fmt.Errorf("%.200s: %w", r, err)
		}
		t.rows = append(t.rows, row)
		t.bytes = append(t.bytes, len(r))
	}
	return make([]ingest.Receipt, len(records)), nil
}

func (t *table) refuse(err error) {
	t.mu.Lock()
	t.err = err
	t.mu.Unlock()
}

func start(t *testing.T, to *table, o *slogspool.Options) *slogspool.Handler {
	t.Helper()
	to.format = ingest.JSON
	h, err := slogspool.New(to, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close(context.Background()) })
	return h
}

func closed(t *testing.T, h *slogspool.Handler) {
	t.Helper()
	if err := h.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestSlog(t *testing.T) {
	var to *table
	var h *slogspool.Handler
	slogtest.Run(t, func(t *testing.T) slog.Handler {
		to = &table{}
		h = start(t, to, nil)
		return h
	}, func(t *testing.T) map[string]any {
		closed(t, h)
		row := to.rows[0] // attributes are one level down
		if attrs, ok := row["attrs"].(map[string]any); ok {
			delete(row, "attrs")
			for k, v := range attrs {
				row[k] = v
			}
		}
		return row
	})
}

type secretive struct{}

func (secretive) LogValue() slog.Value { return slog.StringValue("resolved") }

type garbled struct{}

func (garbled) MarshalJSON() ([]byte, error) { return []byte("\"a\xffb\""), nil }

type failing struct{}

func (failing) Error() string { panic("no text") }

func TestRow(t *testing.T) {
	to := &table{}
	h := start(t, to, &slogspool.Options{AddSource: true, Level: slog.LevelDebug})
	east := time.FixedZone("east", 3600)
	r := slog.NewRecord(time.Date(2026, 11, 27, 1, 30, 0, 5, east), slog.LevelError, "engine\nstopped", 0)
	r.AddAttrs(slog.String("msg", "an attribute"), slog.Time("at", time.Date(2026, 1, 1, 0, 30, 0, 0, east)), slog.Any("who", secretive{}),
		slog.Duration("took", time.Second), slog.Any("err", errors.New("broken")), slog.Any("bad", failing{}), slog.Group("g", slog.Int("n", 1)), slog.Any("ch", make(chan int)),
		slog.Time("far", time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC)), slog.Float64("nan", math.NaN()), slog.Any("garbled", garbled{}))
	if err := h.Handle(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	slog.New(h).Debug("here")
	if err := h.Handle(t.Context(), slog.NewRecord(time.Date(-5, 1, 1, 0, 0, 0, 0, time.UTC), slog.LevelError, "long ago", 0)); err != nil {
		t.Fatal(err)
	}
	closed(t, h)
	if len(to.rows) != 3 || to.rows[2]["msg"] != "long ago" {
		t.Errorf("%d rows, %v", len(to.rows), to.rows)
	}
	row := to.rows[0]
	attrs := row["attrs"].(map[string]any)
	for name, c := range map[string][2]any{
		"time":   {row["time"], "2026-11-27T00:30:00.000000005Z"},
		"level":  {row["level"], "ERROR"},
		"msg":    {row["msg"], "engine\nstopped"},
		"shadow": {attrs["msg"], "an attribute"},
		"at":     {attrs["at"], "2025-12-31T23:30:00Z"},
		"who":    {attrs["who"], "resolved"},
		"took":   {attrs["took"], 1e9},
		"err":    {attrs["err"], "broken"},
		"utf8":   {attrs["garbled"], "a\ufffdb"},
		"far":    {attrs["far"], "20000-01-01T00:00:00Z"},
		"n":      {attrs["g"].(map[string]any)["n"], 1.0},
	} {
		if c[0] != c[1] {
			t.Errorf("%s: %v, want %v", name, c[0], c[1])
		}
	}
	if s, _ := attrs["bad"].(string); !strings.Contains(s, "PANIC") {
		t.Errorf("an error that panics: %v", attrs["bad"])
	}
	if s, _ := attrs["nan"].(string); !strings.Contains(s, "NaN") {
		t.Errorf("not a number: %v", attrs["nan"])
	}
	if s, _ := attrs["ch"].(string); !strings.Contains(s, "ERROR") {
		t.Errorf("a channel: %v", attrs["ch"])
	}
	if src, _ := to.rows[1]["source"].(map[string]any); src == nil || !strings.HasSuffix(src["file"].(string), "handler_test.go") {
		t.Errorf("source %v", to.rows[1])
	}
}

func TestTextIsBounded(t *testing.T) {
	to := &table{}
	h := start(t, to, nil)
	long := strings.Repeat("\u00e9", slogspool.MaxTextBytes)
	logger := slog.New(h)
	logger.Info(long, "text", long, "err", errors.New(long))
	logger.With("big", strings.Split(strings.Repeat("x", 70_000), "")).WithGroup("g").Info(strings.Repeat("\x00", slogspool.MaxTextBytes), "a", 1)
	closed(t, h)
	for _, s := range []any{to.rows[0]["msg"], to.rows[0]["attrs"].(map[string]any)["text"], to.rows[0]["attrs"].(map[string]any)["err"]} {
		if s := s.(string); len(s) > slogspool.MaxTextBytes || !strings.HasSuffix(s, "\u00e9... (16384 bytes)") {
			t.Errorf("%d bytes, %.60q", len(s), s[len(s)-30:])
		}
	}
	if n, _ := to.rows[1]["attrs"].(map[string]any)["row_bytes_left_out"].(float64); n < 70_000 || len(to.rows[1]["msg"].(string)) != slogspool.MaxTextBytes {
		t.Errorf("a long row: %.300v", to.rows[1])
	}
	for i, n := range to.bytes {
		if n > slogspool.MaxRowBytes {
			t.Errorf("row %d has %d bytes", i, n)
		}
	}
	if st := h.Stats(); st != (slogspool.Stats{Stored: 2}) {
		t.Errorf("%+v", st)
	}
}

// A full queue drops, and rows say how many: logged = stored + dropped, and the
// table has what is stored and the number of what is not.
func TestDropsAreTold(t *testing.T) {
	to := &table{block: make(chan struct{})}
	h := start(t, to, &slogspool.Options{QueueBytes: slogspool.MinQueueBytes})
	const producers, each = 8, 200
	var wg sync.WaitGroup
	for range producers {
		wg.Go(func() {
			for i := range each {
				slog.New(h).Info(strings.Repeat("m", 1000), "i", i)
			}
		})
	}
	wg.Wait()
	if st := h.Stats(); st.Dropped == 0 || st.Queued == 0 || st.Queued+st.Dropped != producers*each {
		t.Fatalf("%+v", st)
	}
	close(to.block)
	closed(t, h)
	st := h.Stats()
	told := 0
	for _, row := range to.rows {
		if row["msg"] == "log records were dropped" {
			told += int(row["attrs"].(map[string]any)["dropped"].(float64))
		}
	}
	if st.Queued != 0 || st.Stored+st.Dropped != producers*each || int64(told) != st.Dropped {
		t.Errorf("%+v, %d told", st, told)
	}
	if err := h.Handle(t.Context(), slog.Record{}); !errors.Is(err, slogspool.ErrClosed) || h.Stats().Dropped != st.Dropped+1 {
		t.Errorf("after Close: %v", err)
	}
}

func TestRefusedBySpool(t *testing.T) {
	refusal := errors.New("the spool is full")
	to := &table{err: refusal}
	h := start(t, to, nil)
	logger := slog.New(h)
	flush := func() {
		t.Helper()
		if err := h.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	logger.Info("one")
	flush()
	if st := h.Stats(); st.Dropped != 1 || !errors.Is(st.Err, refusal) {
		t.Fatalf("%+v", st)
	}
	to.refuse(nil)
	logger.Info("two")
	flush()
	note := to.rows[len(to.rows)-1]["attrs"].(map[string]any)
	if len(to.rows) != 2 || note["dropped"] != 1.0 || note["last_error"] != refusal.Error() {
		t.Errorf("%v", to.rows)
	}
	to.refuse(refusal)
	logger.Info("three")
	if err := h.Close(t.Context()); !errors.Is(err, refusal) || !strings.Contains(err.Error(), "1 log records") {
		t.Errorf("close: %v", err)
	}
	if len(to.rows) != 2 {
		t.Errorf("%v", to.rows)
	}
}

// A row that the spool can never take costs no other row.
func TestABadRowIsDroppedAlone(t *testing.T) {
	to := &table{bad: "poison"}
	h := start(t, to, &slogspool.Options{Delay: time.Minute})
	logger := slog.New(h)
	for i := range 100 {
		logger.Info("good", "i", i)
		if i == 10 || i == 99 {
			logger.Info("poison")
		}
	}
	if err := h.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if st := h.Stats(); st.Stored != 100 || st.Dropped != 2 || st.Queued != 0 || !errors.Is(st.Err, ingest.ErrInvalid) {
		t.Errorf("%+v", st)
	}
	logger.Info("last") // with the row that tells of the two
	closed(t, h)
	if len(to.rows) != 102 {
		t.Fatalf("%d rows", len(to.rows))
	}
	for i, row := range to.rows[:100] {
		if n, _ := row["attrs"].(map[string]any)["i"].(float64); int(n) != i {
			t.Fatalf("row %d is %v", i, row)
		}
	}
	if note, _ := to.rows[101]["attrs"].(map[string]any); note["dropped"] != 2.0 {
		t.Errorf("%v", to.rows[101])
	}
}

// Close gives up with its context, and counts what it leaves.
func TestCloseGivesUp(t *testing.T) {
	to := &table{block: make(chan struct{})}
	h := start(t, to, nil)
	slog.New(h).Info("one")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if st := h.Stats(); st.Dropped != 1 || st.Stored != 0 || st.Queued != 0 {
		t.Errorf("%+v", st)
	}
}

// Rows wait for each other for Delay, and half a queue waits no longer.
func TestDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to := &table{}
		h := start(t, to, &slogspool.Options{Delay: time.Second, QueueBytes: slogspool.MinQueueBytes})
		logger := slog.New(h)
		calls := func() int {
			synctest.Wait()
			to.mu.Lock()
			defer to.mu.Unlock()
			return to.calls
		}
		for range 10 {
			logger.Info("one")
			time.Sleep(50 * time.Millisecond)
		}
		if calls() != 0 {
			t.Fatal("stored before its time")
		}
		time.Sleep(time.Second / 2)
		if calls() != 1 || h.Stats().Stored != 10 {
			t.Fatalf("%d calls, %+v", calls(), h.Stats())
		}
		for range slogspool.MinQueueBytes/2/slogspool.MaxTextBytes + 1 {
			logger.Info(strings.Repeat("x", slogspool.MaxTextBytes))
		}
		if calls() < 2 { // a row that comes while they are stored may be a call of its own
			t.Fatal("half a queue waits")
		}
		closed(t, h)
	})
}

func TestBadOptions(t *testing.T) {
	for field, c := range map[string]struct {
		format ingest.Format
		o      slogspool.Options
	}{
		"format":             {ingest.CSV, slogspool.Options{}},
		"Options.QueueBytes": {ingest.JSON, slogspool.Options{QueueBytes: 1}},
		"Options.Delay":      {ingest.MultiJSON, slogspool.Options{Delay: -1}},
	} {
		var bad *ingest.FieldError
		if _, err := slogspool.New(&table{format: c.format}, &c.o); !errors.As(err, &bad) || bad.Field != field || bad.Value == "" {
			t.Errorf("%s: %v", field, err)
		}
	}
}

package engine

import (
	"log/slog"
	"sync/atomic"
	"time"

	"kustospool/ingest"
	"kustospool/store"
	"kustospool/transport"
)

// The attributes of a line: each thing has one key in all of them.

// about names a batch, and what it last failed with.
func about(row *store.Entry, more ...any) []any {
	p := &row.Batch.Properties
	args := []any{"database", p.Database, "table", p.Table, "batch", row.Batch.ID}
	if row.Attempts > 0 {
		args = append(args, "attempt", row.Attempts)
	}
	return append(args, more...)
}

// because gives a failure's own.
func because(f *ingest.Failure) []any {
	if f == nil {
		return nil
	}
	args := []any{"class", f.Class}
	if f.Code != "" {
		args = append(args, "code", f.Code)
	}
	if f.RequestID != "" {
		args = append(args, "request_id", f.RequestID)
	}
	return append(args, "err", f.Message)
}

// becauseOf is because of an error that is not in the books yet.
func becauseOf(err error) []any { return because(transport.Classify(err, false).Failure(time.Now())) }

// trouble is told of once when it begins and once when it is over, however often
// it is met between.
type trouble struct {
	log         *slog.Logger
	begun, over string
	since       atomic.Int64 // nanoseconds since 1970; 0 while there is none
}

func (t *trouble) begin(args ...any) {
	if t.since.CompareAndSwap(0, time.Now().UnixNano()) {
		t.log.Error(t.begun, args...)
	}
}

func (t *trouble) end() {
	if since := t.since.Swap(0); since != 0 {
		t.log.Info(t.over, "after", time.Since(time.Unix(0, since)).Round(time.Millisecond))
	}
}

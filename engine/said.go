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

func (t *trouble) end() { t.endedAt(time.Now()) }

func (t *trouble) endedAt(at time.Time) {
	if since := t.since.Swap(0); since != 0 {
		t.log.Info(t.over, "after", max(0, at.Sub(time.Unix(0, since)).Round(time.Millisecond)))
	}
}

// noRoom is the trouble of a full spool. While that is being emptied it is full again
// and again, so it is over when no call has found it so for roomAgain.
type noRoom struct {
	trouble
	last atomic.Int64 // when a call found it full, nanoseconds since 1970
}

const roomAgain = time.Minute

// met is told of each call that finds the spool full, as often as it does.
func (n *noRoom) met(args ...any) {
	n.last.Store(time.Now().UnixNano())
	n.begin(args...)
}

// stored is told of each call that found room.
func (n *noRoom) stored() {
	if n.since.Load() == 0 { // as almost always, and every acknowledgement asks
		return
	}
	if last := time.Unix(0, n.last.Load()); time.Since(last) >= roomAgain {
		n.endedAt(last)
	}
}

package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"kustospool/engine/internal/lifecycle"
	"kustospool/engine/internal/live"
	"kustospool/ingest"
	"kustospool/store"
	"kustospool/transport"
)

// tellsAll is a destination that tells an outcome of each batch, and whoever asks it.
type tellsAll struct{}

func (tellsAll) Track(_ context.Context, pending []transport.Pending) (vs []transport.Verdict, _ error) {
	for _, p := range pending {
		vs = append(vs, transport.Verdict{Batch: p.Batch.ID, State: ingest.Succeeded})
	}
	return vs, nil
}
func (tellsAll) Tracks() bool { return true }

func (tellsAll) Due(time.Time) (map[string][]ingest.BatchID, []ingest.BatchID, time.Duration) {
	return nil, nil, 0
}
func (tellsAll) Inquired(string, error)                                             {}
func (tellsAll) Answered(string, []ingest.BatchID, func(ingest.BatchID) live.Heard) {}
func (tellsAll) Reported(store.Entry, live.Result)                                  {}
func (tellsAll) Postpone(ingest.BatchID)                                            {}

// brokenBooks cannot be written while err is set.
type brokenBooks struct{ err error }

func (b *brokenBooks) row(id ingest.BatchID) (store.Entry, bool) {
	return store.Entry{Batch: ingest.Batch{ID: id}}, true
}
func (b *brokenBooks) happened(context.Context, ingest.BatchID, lifecycle.Event) (c change, _ error) {
	c.do = lifecycle.Forget
	return c, b.err
}
func (b *brokenBooks) lost(ingest.BatchID) {}

// TestOutcomesThatCannotBeRecordedAreToldOnce, however many they are and however often
// they are told; and that the ledger can be written again, once.
func TestOutcomesThatCannotBeRecordedAreToldOnce(t *testing.T) {
	var out strings.Builder
	ids := []ingest.BatchID{{1}, {2}, {3}}
	books := &brokenBooks{}
	tr := &tracker{questions: tellsAll{}, books: books, asker: tellsAll{},
		ledgerTrouble: &trouble{log: slog.New(slog.NewTextHandler(&out, nil)), begun: "begun", over: "over"}}
	for _, tt := range []struct {
		err         error
		begun, over int
	}{{nil, 0, 0}, {ErrFull, 1, 0}, {nil, 1, 1}, {errors.New("no page"), 2, 1}, {nil, 2, 2}, {fmt.Errorf("%w: a flush", ErrFailed), 2, 2}, {ErrClosed, 2, 2}} {
		books.err = tt.err
		for range 5 {
			tr.ask(t.Context(), "", ids)
			tr.ask(t.Context(), "", nil) // an answer that tells nothing is no end
			tr.wrote(tr.sendAgain(t.Context(), ids[0]))
		}
		if a, b := strings.Count(out.String(), "msg=begun"), strings.Count(out.String(), "msg=over"); a != tt.begun || b != tt.over {
			t.Fatalf("with %v: begun %d times, over %d, want %d and %d: %s", tt.err, a, b, tt.begun, tt.over, out.String())
		}
	}
	if strings.Count(out.String(), "\n") != 4 || strings.Count(out.String(), "recording the outcome of batch ") != 2 {
		t.Error(out.String())
	}
}

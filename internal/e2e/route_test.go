package e2e_test

import (
	"fmt"
	"testing"
	"time"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/internal/testutil/ledger"
	"kustospool/internal/testutil/simspool"
	"kustospool/transport"
	"kustospool/transport/direct"
	"kustospool/transport/queued"
	"kustospool/transport/route"
)

// openRouted opens a spool whose tables go by the named transport.
func openRouted(t *testing.T, dir, endpoint, by string, o *engine.Options) *engine.Spool {
	t.Helper()
	commands, err := direct.NewClient(endpoint, nil, &direct.ClientOptions{TrackInterval: 20 * time.Millisecond, CommandTimeout: time.Second, SlotWait: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	queue, err := queued.NewClient(endpoint, nil, &queued.ClientOptions{TrackInterval: 20 * time.Millisecond, RequestTimeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	r, err := route.New(route.Options{Transports: map[string]transport.Transport{"direct": commands, "queued": queue}, Default: by})
	if err != nil {
		t.Fatal(err)
	}
	return simspool.Open(t, dir, r, o)
}

// A table changes between commands and queue at every restart, while replies
// to commands and enqueues are lost, and attempts are cut off by the stop.
func TestTableMovesBetweenCommandsAndQueue(t *testing.T) {
	for _, guarantee := range []ingest.Guarantee{ingest.ExactlyOnce, ingest.AtLeastOnce} {
		t.Run(guarantee.String(), func(t *testing.T) {
			sim := startSim(t, nil)
			sim.Fault(kustosim.Engine, kustosim.Fault{Kind: kustosim.DropReply, PathContains: ".ingest into", Every: 3})
			sim.Fault(kustosim.Engine, kustosim.Fault{Kind: kustosim.RespondLate, Status: 504, PathContains: ".ingest into", Every: 5})
			o := quick()
			o.Guarantee = guarantee
			o.Batch.MaxBytes = 4 << 10
			dir, books := t.TempDir(), &ledger.Ledger{}
			const rounds, each = 8, 150
			for round := range rounds {
				s := openRouted(t, dir, sim.Endpoint(), []string{"direct", "queued"}[round%2], o)
				for i := range each {
					text := record(round, i)
					r, err := s.Ingest(t.Context(), &ingest.Request{Properties: telemetry, Data: []byte(text)})
					if err != nil {
						t.Fatal(err)
					}
					books.Acked(r.ID.String(), text)
				}
				if round == rounds-1 {
					drain(t, s, time.Minute)
					conserved(t, s)
					report := balanced(t, sim, books, map[ingest.Guarantee]ledger.Guarantee{
						ingest.ExactlyOnce: ledger.ExactlyOnce, ingest.AtLeastOnce: ledger.AtLeastOnce}[guarantee])
					st := s.Stats()
					t.Logf("%d acked, %d rows more than once, %d counted as possible; %d skipped", st.Acked, report.Extra, st.Duplicates.Possible, sim.Stats().SkippedByTag)
					if int64(report.Extra) > st.Duplicates.Possible {
						t.Error(fmt.Sprint(report.Extra, " rows doubled, only ", st.Duplicates.Possible, " counted"))
					}
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

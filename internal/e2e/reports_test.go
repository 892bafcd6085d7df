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
	"kustospool/transport/queued"
)

// Outcomes come from the report queues, over lost messages, failures of every
// kind and a restart; no status table is there to help.
func TestOutcomesFromTheReportQueues(t *testing.T) {
	for _, outcomes := range []queued.Outcomes{queued.PeekReports, queued.TakeReports} {
		t.Run(fmt.Sprint(outcomes), func(t *testing.T) {
			sim := startSim(t, nil)
			sim.Fault(kustosim.Table, kustosim.Fault{Kind: kustosim.Down})
			sim.Fault(kustosim.Queue, kustosim.Fault{Kind: kustosim.DropReply, Method: "POST", Every: 5, Times: 4})
			sim.IngestFault(database, tableName, kustosim.IngestFault{Kind: kustosim.FailExhausted, Times: 2})
			sim.IngestFault(database, tableName, kustosim.IngestFault{Kind: kustosim.FailTransient, Times: 2})
			dir := t.TempDir()
			begin := func() *engine.Spool {
				client, err := queued.NewClient(sim.Endpoint(), nil, &queued.ClientOptions{Protocol: queued.Queue, Outcomes: outcomes, TrackInterval: 20 * time.Millisecond})
				if err != nil {
					t.Fatal(err)
				}
				opts := quick()
				opts.Batch.MaxBytes = 1500 // all reports together stay within the 32 that a peek sees
				return simspool.Open(t, dir, client, opts)
			}
			var books ledger.Ledger
			s := begin()
			ingestConcurrently(t, s, &books, 4, 60)
			if outcomes == queued.TakeReports {
				// What a process took and did not tell comes back only after a minute.
				drain(t, s, time.Minute)
			}
			attempts := s.Stats().Attempts // of one process
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = begin()
			defer s.Close()
			drain(t, s, time.Minute)
			report, st := balanced(t, sim, &books, of(ingest.ExactlyOnce)), s.Stats()
			if report.Extra != 0 || st.Settled.Ingested+st.Settled.Skipped != 240 || st.Settled.DeadLettered != 0 {
				t.Errorf("%d rows doubled; %+v", report.Extra, st)
			}
			t.Logf("%d batches, %d attempts, %d reports", st.SettledBatches.Ingested+st.SettledBatches.Skipped, attempts+st.Attempts, sim.Stats().ReportsWritten)
			if sim.Stats().EntitiesInserted != 0 || attempts+st.Attempts <= st.SettledBatches.Ingested+st.SettledBatches.Skipped {
				t.Errorf("nothing was tested: %d rows in the status table, %d attempts", sim.Stats().EntitiesInserted, st.Attempts)
			}
			conserved(t, s)
		})
	}
}

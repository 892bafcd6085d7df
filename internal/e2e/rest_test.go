package e2e_test

import (
	"testing"
	"time"

	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/internal/testutil/ledger"
	"kustospool/internal/testutil/simspool"
	"kustospool/transport/queued"
)

// Over REST a lost reply leaves nothing to ask by: every third reply is lost,
// and some requests before their effect. Exactly-once rests on the tags;
// at-least-once doubles rows, which is the negative control, and counts them.
func TestLostRepliesOverREST(t *testing.T) {
	for _, g := range []ingest.Guarantee{ingest.ExactlyOnce, ingest.AtLeastOnce} {
		t.Run(g.String(), func(t *testing.T) {
			sim := startSim(t, nil)
			const submit = "/ingestion/queued/"
			sim.Fault(kustosim.DM, kustosim.Fault{Kind: kustosim.DropReply, Method: "POST", PathContains: submit, Every: 3})
			sim.Fault(kustosim.DM, kustosim.Fault{Kind: kustosim.DropRequest, Method: "POST", PathContains: submit, Every: 7})
			opts := quick()
			opts.Guarantee = g
			opts.Batch.MaxBytes = 4 << 10
			opts.UnknownGrace = 50 * time.Millisecond
			client, err := queued.NewClient(sim.Endpoint(), nil, &queued.ClientOptions{Protocol: queued.REST, TrackInterval: 10 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			s := simspool.Open(t, t.TempDir(), client, opts)
			var books ledger.Ledger
			ingestConcurrently(t, s, &books, 4, 100)
			drain(t, s, time.Minute)
			report, st := balanced(t, sim, &books, of(g)), s.Stats()
			t.Logf("%d batches, %d attempts, %d rows doubled, %d possible duplicates",
				st.SettledBatches.Ingested+st.SettledBatches.Skipped, st.Attempts, report.Extra, st.Duplicates.Possible)
			if sim.Stats().MessagesPosted != 0 || sim.Stats().RequestsQueued == 0 {
				t.Errorf("not over REST: %+v", sim.Stats())
			}
			if int64(report.Extra) > st.Duplicates.Possible {
				t.Errorf("%d rows doubled, %d counted as possible", report.Extra, st.Duplicates.Possible)
			}
			if g == ingest.AtLeastOnce && report.Extra == 0 {
				t.Error("nothing was doubled, so nothing was tested")
			}
			conserved(t, s)
		})
	}
}

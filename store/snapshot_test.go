package store

import (
	"sync"
	"testing"
	"time"

	"kustospool/ingest"
)

// TestSnapshotOfOneMoment takes snapshots while records are appended, sealed and
// settled, and checks that they add up. With the planted bug they must not.
func TestSnapshotOfOneMoment(t *testing.T) {
	for name, planted := range map[string]bool{"sound": false, "torn": true} {
		t.Run(name, func(t *testing.T) {
			s, err := Open(t.TempDir(), &Options{NoSync: true, bugs: bugs{tornStats: planted}})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			lane, err := s.Lane(t.Context(), &ingest.Properties{Database: "D", Table: "T", Format: ingest.JSON}, FrameLimit{})
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			var working sync.WaitGroup
			working.Go(func() {
				defer close(done)
				for range 300 {
					a, err := s.AppendOne(t.Context(), lane, []byte("{}"), "")
					if err != nil {
						t.Error(err)
						return
					}
					entries, err := s.Seal(t.Context(), []Seal{{Lane: lane, First: a.Seq, Last: a.Seq, Bytes: 3, Oldest: time.Now(),
						Guarantee: ingest.ExactlyOnce, Confirm: ingest.ConfirmIngested}})
					if err != nil {
						t.Error(err)
						return
					}
					id := entries[0].Batch.ID
					for _, to := range [][2]ingest.State{{ingest.Sealed, ingest.Sending}, {ingest.Sending, ingest.Succeeded}} {
						if _, err := s.Transition(t.Context(), id, to[0], func(e *Entry) { e.State = to[1] }); err != nil {
							t.Error(err)
							return
						}
					}
				}
			})
			bad, looks := 0, 0
			for more := true; more; looks++ {
				select {
				case <-done:
					more = false
				default:
				}
				st, lanes := s.Snapshot()
				if st.Acked != st.Open+st.Sealed+st.Ingested || len(lanes) != 1 || lanes[0].Open != st.Open || lanes[0].Sealed != st.Sealed {
					bad++
				}
			}
			working.Wait()
			if (bad > 0) != planted {
				t.Errorf("%d of %d snapshots do not add up", bad, looks)
			}
			t.Logf("%d of %d snapshots do not add up", bad, looks)
		})
	}
}

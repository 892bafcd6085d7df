package queued

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/transport"
)

// numbered is the n-th batch of a series.
func numbered(n int) *ingest.Batch {
	b := jsonBatch()
	b.ID = ingest.NewBatchID(ingest.SpoolID{1}, 1, uint64(2*n)+1, uint64(2*n)+2)
	return b
}

// Data management is down for three hours of the client's clock, storage is
// not: what the service last said of its resources and its token serves on, by
// queue also where the service prefers REST.
func TestThreeHoursWithoutDataManagement(t *testing.T) {
	for _, prefers := range []string{"Queue", "Rest"} {
		t.Run(prefers, func(t *testing.T) {
			sim := startSim(t, &kustosim.Options{PreferredIngestion: prefers})
			if err := sim.CreateTable("db1", "tbl1"); err != nil {
				t.Fatal(err)
			}
			var passed atomic.Int64 // nanoseconds ahead of the real clock
			client, err := newClient(sim.Endpoint(), nil, nil, func() time.Time { return time.Now().Add(time.Duration(passed.Load())) })
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			sent, refused := 0, 0
			send := func() {
				t.Helper()
				b := numbered(sent)
				for attempt := 1; ; attempt++ {
					d, _ := delivery(b, jsonLines)
					d.Attempt = attempt
					_, err := client.Send(t.Context(), d)
					if err == nil {
						sent++
						return
					}
					if refused++; attempt == 3 {
						t.Fatalf("after %v: %v", time.Duration(passed.Load()), err)
					}
				}
			}
			send()
			remove := sim.Fault(kustosim.DM, kustosim.Fault{Kind: kustosim.Down})
			for passed.Load() < int64(3*time.Hour) {
				passed.Add(int64(3 * time.Minute))
				send()
			}
			settleSim(t, sim)
			if n := sim.Count("db1", "tbl1"); n != 2*sent || sent != 61 {
				t.Errorf("%d rows of %d batches", n, sent)
			}
			if prefers == "Queue" && refused != 0 {
				t.Errorf("%d attempts were refused", refused)
			}
			t.Logf("%d batches, %d attempts refused, %d by queue, %d over REST", sent, refused, sim.Stats().MessagesPosted, sim.Stats().RequestsQueued)
			remove()
			passed.Add(int64(time.Hour))
			tokens := sim.Stats().TokensIssued
			send()
			if sim.Stats().TokensIssued == tokens {
				t.Error("the token was not refreshed when data management came back")
			}
			settleSim(t, sim)
		})
	}
}

// One storage account is dead, in each way an account can be; within three
// attempts every batch has gone through the other one.
func TestDeadAccountIsLeftWithinThreeAttempts(t *testing.T) {
	dead := map[string]struct {
		hosts []kustosim.Host
		fault kustosim.Fault
	}{
		"both refuse":   {[]kustosim.Host{kustosim.Blob, kustosim.Queue}, kustosim.Fault{Kind: kustosim.Refuse}},
		"blob refuses":  {[]kustosim.Host{kustosim.Blob}, kustosim.Fault{Kind: kustosim.Refuse}},
		"queue refuses": {[]kustosim.Host{kustosim.Queue}, kustosim.Fault{Kind: kustosim.Refuse}},
		"both 403":      {[]kustosim.Host{kustosim.Blob, kustosim.Queue}, kustosim.Fault{Kind: kustosim.Respond, Status: 403}},
		"queue 429":     {[]kustosim.Host{kustosim.Queue}, kustosim.Fault{Kind: kustosim.Respond, Status: 429}},
	}
	for name, tc := range dead {
		t.Run(name, func(t *testing.T) {
			sim := startSim(t, &kustosim.Options{Accounts: 2})
			client := simClient(t, sim, &ClientOptions{Protocol: Queue})
			for _, h := range tc.hosts {
				sim.Fault(h.Account(0), tc.fault)
			}
			const batches = 8
			worst := 0
			for n := range batches {
				b := numbered(n)
				attempt := 1
				for progress := []byte(nil); ; attempt++ {
					d, j := delivery(b, jsonLines)
					d.Attempt, d.Progress = attempt, progress
					_, err := client.Send(t.Context(), d)
					if err == nil {
						break
					}
					if attempt == 3 || classOf(err) == transport.Permanent {
						t.Fatalf("batch %d, attempt %d: %v", n, attempt, err)
					}
					progress = j.Last()
				}
				worst = max(worst, attempt)
			}
			settleSim(t, sim)
			if n := sim.Count("db1", "tbl1"); n != 2*batches {
				t.Errorf("%d rows of %d batches", n, batches)
			}
			t.Log(fmt.Sprint("attempts at worst: ", worst))
		})
	}
}

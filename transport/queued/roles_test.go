package queued

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/transport"
	"kustospool/transport/internal/kusto"
	"kustospool/transport/transporttest"
)

// roleSim is a simulator that prefers REST, with the table db1.tbl1, and a client
// whose principal has a role.
func roleSim(t *testing.T, role kustosim.Role, opts *ClientOptions, now func() time.Time) (*kustosim.Sim, *Client) {
	t.Helper()
	sim := startSim(t, &kustosim.Options{PreferredIngestion: "Rest", Principals: map[string]kustosim.Role{"box": role}})
	if err := sim.CreateTable("db1", "tbl1"); err != nil {
		t.Fatal(err)
	}
	client, err := newClient(sim.Endpoint(), static("box"), opts, now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return sim, client
}

const operationsPath = "/ingestion/queued/"

// guaranteed is a batch of its own.
func guaranteed(n uint64, g ingest.Guarantee) *ingest.Batch {
	b := jsonBatch()
	b.ID, b.Guarantee = ingest.NewBatchID(ingest.SpoolID{1}, 1, n, n), g
	return b
}

// Auto goes over REST where the outcome can be asked for, and by queue where it
// cannot, whatever the service prefers; it finds out with one question.
func TestAutoAsksForTheRightFirst(t *testing.T) {
	for _, tc := range []struct {
		role kustosim.Role
		rest bool
	}{
		{kustosim.Ingestor, false},
		{kustosim.Ingestor | kustosim.Viewer, false},
		{kustosim.Ingestor | kustosim.User, true},
		{kustosim.Admin, true},
	} {
		sim, client := roleSim(t, tc.role, nil, time.Now)
		for n := range 5 {
			d, j := delivery(guaranteed(uint64(n+1), ingest.ExactlyOnce), jsonLines)
			if _, err := client.Send(t.Context(), d); err != nil {
				t.Fatal(tc, err)
			}
			settleSim(t, sim)
			v, err := client.Track(t.Context(), []transport.Pending{{Batch: d.Batch, Progress: j.Last()}})
			if err != nil || len(v) != 1 || v[0].State != ingest.Succeeded {
				t.Errorf("%v: %+v, %v", tc.role, v, err)
			}
		}
		s := sim.Stats()
		if (s.RequestsQueued == 5) != tc.rest || s.RequestsQueued+s.MessagesPosted != 5 || sim.Count("db1", "tbl1") != 10 || figure(client, "lookups_forbidden") != 0 {
			t.Errorf("%v: %+v", tc.role, s)
		}
	}
}

// What was found out is asked again: a role that was granted is used after five
// minutes, and one that is not there any more is missed by then.
func TestAutoAsksForTheRightAgain(t *testing.T) {
	now := time.Now()
	sim, client := roleSim(t, kustosim.Ingestor|kustosim.User, nil, func() time.Time { return now })
	lacks := kustosim.Fault{Kind: kustosim.Respond, Status: 403, PathContains: operationsPath}
	send := func(n uint64) (rest bool) {
		t.Helper()
		before := sim.Stats().RequestsQueued
		d, _ := delivery(guaranteed(n, ingest.ExactlyOnce), jsonLines)
		if _, err := client.Send(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		return sim.Stats().RequestsQueued > before
	}
	grant := sim.Fault(kustosim.DM, lacks)
	if send(1) {
		t.Error("over REST without the right")
	}
	grant()
	if send(2) {
		t.Error("asked again at once")
	}
	now = now.Add(restPause + time.Second)
	if !send(3) {
		t.Error("a right that was granted is not used")
	}
	defer sim.Fault(kustosim.DM, lacks)()
	now = now.Add(rightAgain)
	if send(4) {
		t.Error("over REST without the right, after it was there")
	}
	settleSim(t, sim)
}

// A question that fails is no answer: queues work while data management is down.
func TestAutoGoesByQueueWhereTheRightIsNotKnown(t *testing.T) {
	for _, fault := range []kustosim.Fault{{Kind: kustosim.Respond, Status: 503}, {Kind: kustosim.DropReply}} {
		sim, client := roleSim(t, kustosim.Admin, nil, time.Now)
		fault.PathContains, fault.Method = operationsPath, http.MethodGet
		sim.Fault(kustosim.DM, fault)
		d, _ := delivery(jsonBatch(), jsonLines)
		if _, err := client.Send(t.Context(), d); err != nil || sim.Stats().MessagesPosted != 1 {
			t.Errorf("%v, %+v", err, sim.Stats())
		}
		settleSim(t, sim)
	}
}

// A request that is refused for want of a role makes Auto go by queue.
func TestAutoHeedsARefusedRequest(t *testing.T) {
	sim, client := roleSim(t, kustosim.Admin, nil, time.Now)
	sim.Fault(kustosim.DM, kustosim.Fault{Kind: kustosim.Respond, Status: 403, PathContains: operationsPath, Method: http.MethodPost})
	d, j := delivery(jsonBatch(), jsonLines)
	if _, err := client.Send(t.Context(), d); classOf(err) != transport.Held {
		t.Fatal(err)
	}
	d.Attempt, d.Progress, d.Journal = 2, j.Last(), &transporttest.Journal{}
	if ack, err := client.Send(t.Context(), d); err != nil || ack.State != ingest.Accepted || sim.Stats().MessagesPosted != 1 {
		t.Errorf("%+v, %v, %+v", ack, err, sim.Stats())
	}
	settleSim(t, sim)
}

// A client that insists on REST sends nothing whose outcome it may not ask for,
// says which role is missing, and sends once the role is there. What is settled at
// hand-over needs no outcome: the control.
func TestRESTDoesNotSendWhatItMayNotAskAbout(t *testing.T) {
	sim, client := roleSim(t, kustosim.Admin, &ClientOptions{Protocol: REST}, time.Now)
	grant := sim.Fault(kustosim.DM, kustosim.Fault{Kind: kustosim.Respond, Status: 403, PathContains: operationsPath, Method: http.MethodGet})
	d, j := delivery(jsonBatch(), jsonLines)
	_, err := client.Send(t.Context(), d)
	if classOf(err) != transport.Held || j.Commits() != 0 || sim.Stats().RequestsQueued != 0 || !strings.Contains(err.Error(), "User of the database") {
		t.Errorf("%v, %d commits", err, j.Commits())
	}
	other, _ := delivery(guaranteed(9, ingest.ExactlyOnce), jsonLines)
	other.Batch.Confirm = ingest.ConfirmAccepted
	if ack, err := client.Send(t.Context(), other); err != nil || ack.State != ingest.HandedOver {
		t.Errorf("%+v, %v", ack, err)
	}
	grant()
	d.Attempt, d.Progress, d.Journal = 2, j.Last(), &transporttest.Journal{}
	if ack, err := client.Send(t.Context(), d); err != nil || ack.State != ingest.Accepted {
		t.Errorf("%+v, %v", ack, err)
	}
	if err := sim.Wait(t.Context(), func() bool { return sim.Count("db1", "tbl1") == 4 }); err != nil {
		t.Error(err)
	}
}

// The role was taken away after the request was taken. The verdict is that nobody
// may ask; another attempt goes, by queue or over REST as before, and its tag keeps
// the rows single. Without a tag they double, which the engine has counted.
func TestForbiddenOperation(t *testing.T) {
	for _, tc := range []struct {
		name      string
		guarantee ingest.Guarantee
		again     Protocol
		state     ingest.State
		rows      int
	}{
		{"by queue", ingest.ExactlyOnce, Queue, ingest.Skipped, 2},
		{"auto", ingest.ExactlyOnce, Auto, ingest.Skipped, 2},
		{"without a tag", ingest.AtLeastOnce, Auto, ingest.Succeeded, 4},
	} {
		t.Run(tc.name, func(t *testing.T) {
			sim, client := roleSim(t, kustosim.Ingestor|kustosim.User, nil, time.Now)
			d, j := delivery(guaranteed(1, tc.guarantee), jsonLines)
			if ack, err := client.Send(t.Context(), d); err != nil || ack.State != ingest.Accepted || sim.Stats().RequestsQueued != 1 {
				t.Fatalf("%+v, %v", ack, err)
			}
			settleSim(t, sim)
			pending := []transport.Pending{{Batch: d.Batch, Progress: j.Last()}}
			if v, err := client.Track(t.Context(), pending); err != nil || len(v) != 1 || v[0].State != ingest.Succeeded {
				t.Fatalf("control: %+v, %v", v, err)
			}
			sim.Fault(kustosim.DM, kustosim.Fault{Kind: kustosim.Respond, Status: 403, PathContains: operationsPath})
			v, err := client.Track(t.Context(), pending)
			var e *transport.Error
			if len(v) != 1 || v[0].State != ingest.Unknown || !errors.As(err, &e) || !kusto.Forbidden(err) || !strings.Contains(err.Error(), "User of the database") {
				t.Errorf("%+v, %v", v, err)
			}
			if tc.again == Queue {
				if client, err = NewClient(sim.Endpoint(), static("box"), &ClientOptions{Protocol: Queue}); err != nil {
					t.Fatal(err)
				}
				defer client.Close()
			}
			d.Attempt, d.Progress, d.Journal = 2, j.Last(), &transporttest.Journal{}
			if ack, err := client.Send(t.Context(), d); err != nil || ack.State != ingest.Accepted || sim.Stats().MessagesPosted != 1 {
				t.Fatalf("%+v, %v, %+v", ack, err, sim.Stats())
			}
			settleSim(t, sim)
			pending[0].Progress = d.Journal.(*transporttest.Journal).Last()
			if v, err := client.Track(t.Context(), pending); err != nil || len(v) != 1 || v[0].State != tc.state {
				t.Errorf("%+v, %v; want %v", v, err, tc.state)
			}
			if n := sim.Count("db1", "tbl1"); n != tc.rows {
				t.Errorf("%d rows, want %d", n, tc.rows)
			}
			if figure(client, "lookups_forbidden") == 0 {
				t.Error("the refused questions are not counted")
			}
		})
	}
}

package queued

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/transport"
	"kustospool/transport/internal/kusto"
	"kustospool/transport/transporttest"
)

// simClient is a client of a simulator with the table db1.tbl1.
func simClient(t *testing.T, sim *kustosim.Sim, opts *ClientOptions) *Client {
	t.Helper()
	if err := sim.CreateTable("db1", "tbl1"); err != nil {
		t.Fatal(err)
	}
	client, err := NewClient(sim.Endpoint(), nil, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

// What the service prefers is what it gets, unless the caller decides.
func TestProtocolByPreference(t *testing.T) {
	for _, tc := range []struct {
		prefers  string
		protocol Protocol
		rest     bool
	}{
		{"Queue", Auto, false}, {"Rest", Auto, true}, {"V2", Auto, true}, {"Novel", Auto, false}, {"-", Auto, false},
		{"Rest", Queue, false}, {"Queue", REST, true},
	} {
		sim := startSim(t, &kustosim.Options{PreferredIngestion: tc.prefers})
		client := simClient(t, sim, &ClientOptions{Protocol: tc.protocol})
		d, j := delivery(jsonBatch(), jsonLines)
		if _, err := client.Send(t.Context(), d); err != nil {
			t.Fatal(tc, err)
		}
		settleSim(t, sim)
		s := sim.Stats()
		if rest := s.RequestsQueued == 1; rest != tc.rest || s.RequestsQueued+s.MessagesPosted != 1 || sim.Count("db1", "tbl1") != 2 || s.RawSizeMismatch != 0 {
			t.Errorf("%+v: %+v", tc, s)
		}
		v, err := client.Track(t.Context(), []transport.Pending{{Batch: d.Batch, Progress: j.Last()}})
		if err != nil || len(v) != 1 || v[0].State != ingest.Succeeded {
			t.Errorf("%+v: %+v, %v", tc, v, err)
		}
	}
}

// A batch that is settled at hand-over is not tracked over REST either.
func TestRESTHandsOver(t *testing.T) {
	sim := startSim(t, nil)
	client := simClient(t, sim, &ClientOptions{Protocol: REST})
	d, _ := delivery(jsonBatch(), jsonLines)
	d.Batch.Confirm = ingest.ConfirmAccepted
	ack, err := client.Send(t.Context(), d)
	if err != nil || ack.State != ingest.HandedOver {
		t.Errorf("%+v, %v", ack, err)
	}
	if err := sim.Wait(t.Context(), func() bool { return sim.Count("db1", "tbl1") == 2 }); err != nil {
		t.Error(err)
	}
}

// A service that does not have the API keeps a client that insists waiting.
func TestRESTWhereThereIsNone(t *testing.T) {
	sim := startSim(t, &kustosim.Options{PreferredIngestion: "-"})
	client := simClient(t, sim, &ClientOptions{Protocol: REST})
	d, j := delivery(jsonBatch(), jsonLines)
	_, err := client.Send(t.Context(), d)
	if classOf(err) != transport.Transient || j.Commits() != 0 || !strings.Contains(err.Error(), "REST API") {
		t.Errorf("%v, %d commits", err, j.Commits())
	}
}

// A reply that is lost leaves an attempt without an operation; the tag keeps
// its repeat from doubling the rows.
func TestLostOperationIsHealedByTheTag(t *testing.T) {
	sim := startSim(t, nil)
	client := simClient(t, sim, &ClientOptions{Protocol: REST})
	sim.Fault(kustosim.DM, kustosim.Fault{Kind: kustosim.DropReply, PathContains: "/ingestion/queued/", Method: "POST", Times: 1})
	d, j := delivery(jsonBatch(), jsonLines)
	if _, err := client.Send(t.Context(), d); classOf(err) != transport.Unknown || j.Commits() != 1 {
		t.Fatal(err)
	}
	settleSim(t, sim)
	pending := transport.Pending{Batch: d.Batch, Progress: j.Last()}
	if v, err := client.Track(t.Context(), []transport.Pending{pending}); err != nil || len(v) != 0 {
		t.Errorf("of an attempt without an operation: %+v, %v", v, err)
	}
	d.Attempt, d.Progress, d.Journal = 2, j.Last(), &transporttest.Journal{}
	if _, err := client.Send(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	settleSim(t, sim)
	pending.Progress = d.Journal.(*transporttest.Journal).Last()
	v, err := client.Track(t.Context(), []transport.Pending{pending})
	if err != nil || len(v) != 1 || v[0].State != ingest.Skipped || sim.Count("db1", "tbl1") != 2 {
		t.Errorf("%+v, %v, %d rows", v, err, sim.Count("db1", "tbl1"))
	}
	// A third attempt asks first, and submits nothing.
	d.Attempt, d.Progress, d.Journal = 3, pending.Progress, &transporttest.Journal{}
	if ack, err := client.Send(t.Context(), d); err != nil || ack.State != ingest.Skipped || sim.Stats().RequestsQueued != 2 {
		t.Errorf("%+v, %v, %d requests", ack, err, sim.Stats().RequestsQueued)
	}
}

// Auto goes on by queue while the REST API fails, and an attempt by queue
// knows what became of one over REST.
func TestAutoFallsBackToTheQueue(t *testing.T) {
	sim := startSim(t, &kustosim.Options{PreferredIngestion: "Rest"})
	client := simClient(t, sim, nil)
	// The first request fails before its effect; the client cannot know that.
	remove := sim.Fault(kustosim.DM, kustosim.Fault{Kind: kustosim.Respond, Status: 503, PathContains: "/ingestion/queued/", Method: "POST"})
	d, j := delivery(jsonBatch(), jsonLines)
	if _, err := client.Send(t.Context(), d); classOf(err) != transport.Unknown {
		t.Fatal(err)
	}
	d.Attempt, d.Progress, d.Journal = 2, j.Last(), &transporttest.Journal{}
	if _, err := client.Send(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	settleSim(t, sim)
	pending := transport.Pending{Batch: d.Batch, Progress: d.Journal.(*transporttest.Journal).Last()}
	v, err := client.Track(t.Context(), []transport.Pending{pending})
	if s := sim.Stats(); err != nil || len(v) != 1 || v[0].State != ingest.Succeeded || s.MessagesPosted != 1 || s.RequestsQueued != 0 {
		t.Errorf("%+v, %v, %+v", v, err, s)
	}
	remove()
	client.restAgain.Store(0) // the pause is over
	b := jsonBatch()
	b.ID = ingest.NewBatchID(ingest.SpoolID{1}, 1, 100, 101)
	d, _ = delivery(b, jsonLines)
	if _, err := client.Send(t.Context(), d); err != nil || sim.Stats().RequestsQueued != 1 {
		t.Errorf("%v, %d requests", err, sim.Stats().RequestsQueued)
	}
	settleSim(t, sim)
}

// The words of a refusal tell which role is missing.
func TestRefusalNamesTheRole(t *testing.T) {
	sim := startSim(t, &kustosim.Options{Principals: map[string]kustosim.Role{"viewer": kustosim.Viewer, "ingestor": kustosim.Ingestor}})
	if err := sim.CreateTable("db1", "tbl1"); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		token    string
		protocol Protocol
		class    transport.Class
		says     string
	}{
		{"viewer", Queue, transport.Unauthorized, "Ingestor of the table"},
		{"viewer", REST, transport.Unauthorized, "Ingestor of the table"},
		{"stranger", Queue, transport.Unauthorized, "check tenant"},
		{"ingestor", REST, transport.Held, "User of the database"}, // it would not learn the outcome
	} {
		client, err := NewClient(sim.Endpoint(), static(tc.token), &ClientOptions{Protocol: tc.protocol})
		if err != nil {
			t.Fatal(err)
		}
		d, _ := delivery(jsonBatch(), jsonLines)
		_, err = client.Send(t.Context(), d)
		if classOf(err) != tc.class || !strings.Contains(err.Error(), tc.says) || asError(err).RequestID == "" {
			t.Errorf("%s: %v", tc.token, err)
		}
		client.Close()
	}
}

// Every property reaches a request over REST in the form that the API has.
func TestSubmitProperties(t *testing.T) {
	ts := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	b := testBatch(ingest.Properties{Format: ingest.CSV, MappingReference: "M", Tags: []string{"drop-by:d"}, IngestIfNotExists: []string{"once"},
		CreationTime: ts, FlushImmediately: true, DeleteBlobOnSuccess: true, IgnoreSizeLimit: true, IgnoreFirstRecord: true,
		Validation: &ingest.ValidationPolicy{Options: 1, BestEffort: true}})
	b.Guarantee = ingest.ExactlyOnce
	b.Confirm = ingest.ConfirmIngested
	got, err := json.Marshal(submitProperties(b))
	if err != nil {
		t.Fatal(err)
	}
	by := b.IngestBy()
	want := `{"creationTime":"2026-01-02T03:04:05Z","deleteAfterDownload":true,"enableTracking":true,"format":"csv","ignoreFirstRecord":true,` +
		`"ignoreSizeLimit":true,"ingestIfNotExists":["once","` + by + `"],"ingestionMappingReference":"M","skipBatching":true,` +
		`"tags":["drop-by:d","ingest-by:` + by + `"],"validationPolicy":"{\"ValidationOptions\":1,\"ValidationImplications\":1}"}`
	if string(got) != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	b.Confirm = ingest.ConfirmAccepted
	if submitProperties(b)["enableTracking"] != false {
		t.Error("a batch that is settled at hand-over is tracked")
	}
}

// A database whose operations the service refuses to show, however many they
// are, keeps no outcome of another from being learned; the verdict about its own
// batches is that nobody may ask.
func TestRefusedOperationsAreOneDatabases(t *testing.T) {
	sim := startSim(t, &kustosim.Options{AutoCreate: true})
	client := simClient(t, sim, &ClientOptions{Protocol: REST})
	var pending []transport.Pending
	for i := range 2*trackConcurrent + trackFailures {
		b := jsonBatch()
		b.ID = ingest.NewBatchID(ingest.SpoolID{1}, 1, uint64(i)+1, uint64(i)+1)
		b.Properties.Database = "closed"
		pending = append(pending, transport.Pending{Batch: b})
	}
	pending = append(pending, transport.Pending{Batch: jsonBatch()})
	last := len(pending) - 1
	for i := range pending {
		d, j := delivery(pending[i].Batch, jsonLines)
		if _, err := client.Send(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		pending[i].Progress = j.Last()
	}
	settleSim(t, sim)
	sim.Fault(kustosim.DM, kustosim.Fault{Kind: kustosim.Respond, Status: 403, Method: "GET", PathContains: "/closed/"})
	v, err := client.Track(t.Context(), pending)
	if !kusto.Forbidden(err) || len(v) != len(pending) {
		t.Errorf("%d verdicts about %d batches, %v", len(v), len(pending), err)
	}
	for _, v := range v {
		want := ingest.Unknown
		if v.Batch == pending[last].Batch.ID {
			want = ingest.Succeeded
		}
		if v.State != want || v.Failure != nil {
			t.Errorf("%v, want %v", v.State, want)
		}
	}
}

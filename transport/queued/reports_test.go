package queued

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue/v2"

	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/transport"
	"kustospool/transport/internal/kusto"
)

// reportQueues are a simulator's two report queues, opened as another reader
// of them would.
func reportQueues(t *testing.T, sim *kustosim.Sim) (successes, failures *azqueue.QueueClient) {
	t.Helper()
	s, err := kusto.NewService(sim.Endpoint(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Wire().CloseIdle)
	r, err := kusto.NewIngestion(s).Resources(t.Context())
	if err != nil || len(r.Successes) != 1 || len(r.Failures) != 1 {
		t.Fatal(r, err)
	}
	open := func(q kusto.Resource) *azqueue.QueueClient {
		o := &azqueue.ClientOptions{}
		o.Transport = s.Wire()
		c, err := azqueue.NewQueueClientWithNoCredential(q.URL(), o)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	return open(r.Successes[0]), open(r.Failures[0])
}

// inQueue counts the messages of a queue, the hidden ones included.
func inQueue(t *testing.T, q *azqueue.QueueClient) int {
	t.Helper()
	p, err := q.GetProperties(t.Context(), nil)
	if err != nil || p.ApproximateMessagesCount == nil {
		t.Fatal(err)
	}
	return int(*p.ApproximateMessagesCount)
}

// An official client's ingestions report to the same queues: peeking leaves
// them there, taking takes them, and neither takes them for its own.
func TestReportsOfOthers(t *testing.T) {
	for _, outcomes := range []Outcomes{PeekReports, TakeReports} {
		t.Run(fmt.Sprint(outcomes), func(t *testing.T) {
			sim := startSim(t, nil)
			client := simClient(t, sim, &ClientOptions{Protocol: Queue, Outcomes: outcomes})
			successes, failures := reportQueues(t, sim)
			// Two of somebody else's, and one of another kustospool.
			other := simClient(t, sim, &ClientOptions{Protocol: Queue, Outcomes: PeekReports})
			theirs, _ := delivery(numbered(50), jsonLines)
			if _, err := other.Send(t.Context(), theirs); err != nil {
				t.Fatal(err)
			}
			for n := range 2 {
				d, _ := delivery(numbered(60+n), jsonLines)
				copy(d.Batch.ID[:], "0123456789abcdef")
				d.Batch.ID[6], d.Batch.ID[0] = 0x4f, byte(n)
				if n == 1 {
					sim.IngestFault("db1", "tbl1", kustosim.IngestFault{Kind: kustosim.FailPermanent, Times: 1})
				}
				if _, err := other.Send(t.Context(), d); err != nil {
					t.Fatal(err)
				}
				settleSim(t, sim)
			}
			d, j := delivery(numbered(1), jsonLines)
			if ack, err := client.Send(t.Context(), d); err != nil || ack.State != ingest.Accepted {
				t.Fatal(ack, err)
			}
			settleSim(t, sim)
			if s, f := inQueue(t, successes), inQueue(t, failures); s != 3 || f != 1 {
				t.Fatalf("%d and %d reports before", s, f)
			}
			pending := []transport.Pending{{Batch: d.Batch, Progress: j.Last()}}
			v, err := client.Track(t.Context(), pending)
			if err != nil || len(v) != 1 || v[0].State != ingest.Succeeded {
				t.Fatalf("%+v, %v", v, err)
			}
			// Until the engine has moved on, the report stands.
			if v, err = client.Track(t.Context(), pending); err != nil || len(v) != 1 || v[0].State != ingest.Succeeded {
				t.Fatalf("asked again: %+v, %v", v, err)
			}
			next, jn := delivery(numbered(2), jsonLines)
			if _, err := client.Send(t.Context(), next); err != nil {
				t.Fatal(err)
			}
			settleSim(t, sim)
			if v, err = client.Track(t.Context(), []transport.Pending{{Batch: next.Batch, Progress: jn.Last()}}); err != nil || len(v) != 1 {
				t.Fatalf("%+v, %v", v, err)
			}
			wantS, wantF := 4, 1
			if outcomes == TakeReports {
				wantS, wantF = 2, 0 // the other kustospool's, and the one just handed out
			}
			if s, f := inQueue(t, successes), inQueue(t, failures); s != wantS || f != wantF {
				t.Errorf("%d and %d reports are left, want %d and %d", s, f, wantS, wantF)
			}
			if sim.Stats().EntitiesInserted != 0 {
				t.Error("the status table was written")
			}
		})
	}
}

// A failure that was reported of an earlier attempt is not one of the next,
// although it still stands in the queue; nor is it in a new process.
func TestReportOfAnEarlierAttempt(t *testing.T) {
	for _, outcomes := range []Outcomes{PeekReports, TakeReports} {
		sim := startSim(t, nil)
		opts := &ClientOptions{Protocol: Queue, Outcomes: outcomes}
		client := simClient(t, sim, opts)
		sim.IngestFault("db1", "tbl1", kustosim.IngestFault{Kind: kustosim.FailExhausted, Times: 1})
		d, j := delivery(numbered(1), jsonLines)
		if _, err := client.Send(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		settleSim(t, sim)
		track := func(c *Client) transport.Verdict {
			t.Helper()
			v, err := c.Track(t.Context(), []transport.Pending{{Batch: d.Batch, Progress: j.Last()}})
			if err != nil || len(v) > 1 {
				t.Fatalf("%+v, %v", v, err)
			}
			if len(v) == 0 {
				return transport.Verdict{}
			}
			return v[0]
		}
		if v := track(client); v.State != ingest.DeadLettered || v.Failure.Class != transport.Transient {
			t.Fatalf("%+v", v)
		}
		sim.IngestFault("db1", "tbl1", kustosim.IngestFault{Kind: kustosim.Hold, Times: 1})
		d.Attempt, d.Progress = 2, j.Last()
		if _, err := client.Send(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		if v := track(client); v.State != 0 {
			t.Errorf("%v: while the second attempt is under way: %+v", outcomes, v)
		}
		// Another process knows only what the progress says. Storage counts in
		// seconds, so the posting is put after the report by hand.
		p := decodeProgress(j.Last())
		if p.Posted == 0 || !p.Reports {
			t.Fatalf("progress %s", j.Last())
		}
		p.Posted++
		if err := j.Note(t.Context(), p.encode()); err != nil {
			t.Fatal(err)
		}
		if v := track(simClient(t, sim, opts)); v.State != 0 {
			t.Errorf("%v: in another process: %+v", outcomes, v)
		}
	}
}

// A cluster without report queues says so, instead of losing outcomes.
func TestNoReportQueues(t *testing.T) {
	c := newCloud(t)
	d, j := delivery(jsonBatch(), jsonLines)
	_, err := c.client(&ClientOptions{Outcomes: TakeReports}).Send(t.Context(), d)
	if e := asError(err); e == nil || e.Class != transport.Transient || e.Code != "NoReportQueue" || j.Commits() != 0 {
		t.Errorf("%v", err)
	}
}

func encoded(t testing.TB, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(raw)
}

func TestDecodeReport(t *testing.T) {
	id := ingest.NewBatchID(ingest.SpoolID{1}, 1, 1, 2).String()
	for name, tc := range map[string]struct {
		text string
		ok   bool
		want row
	}{
		"success":    {encoded(t, map[string]any{"IngestionSourceId": id, "SucceededOn": "2026-01-01T00:00:00Z", "OperationId": "op"}), true, row{Status: "Succeeded", Operation: "op"}},
		"upper case": {encoded(t, map[string]any{"ingestionSourceId": strings.ToUpper(id), "succeededOn": "x"}), true, row{Status: "Succeeded"}},
		"failure": {encoded(t, map[string]any{"IngestionSourceId": id, "FailedOn": "x", "ErrorCode": "C", "FailureStatus": "Permanent", "Details": "d"}), true,
			row{Status: "Failed", Code: "C", FailureStatus: "Permanent", Details: "d"}},
		"failure by number": {encoded(t, map[string]any{"IngestionSourceId": id, "FailedOn": "x", "FailureStatus": 3}), true, row{Status: "Failed", FailureStatus: "3"}},
		"not encoded":       {`{"IngestionSourceId":"` + id + `","SucceededOn":"x"}`, true, row{Status: "Succeeded"}},
		"no outcome":        {encoded(t, map[string]any{"IngestionSourceId": id}), false, row{}},
		"no id":             {encoded(t, map[string]any{"SucceededOn": "x"}), false, row{}},
		"nothing":           {"", false, row{}},
		"too long":          {strings.Repeat("a", maxReportText+1), false, row{}},
	} {
		got, ok := decodeReport(tc.text)
		if ok != tc.ok || ok && (got.row != tc.want || got.batch.String() != id) {
			t.Errorf("%s: %+v, %t", name, got, ok)
		}
	}
}

func FuzzDecodeReport(f *testing.F) {
	f.Add(base64.StdEncoding.EncodeToString([]byte(`{"IngestionSourceId":"01234567-89ab-8def-8123-456789abcdef","FailedOn":"x","FailureStatus":3}`)))
	f.Add(`{"IngestionSourceId":"01234567-89ab-8def-8123-456789abcdef","SucceededOn":"x"}`)
	f.Fuzz(func(t *testing.T, text string) {
		p, ok := decodeReport(text)
		if ok && p.row.Status != "Succeeded" && p.row.Status != "Failed" {
			t.Fatalf("%q became %+v", text, p)
		}
	})
}

// What is held is bounded, and what is in the queue again is forgotten.
func TestHeldReportsEnd(t *testing.T) {
	now := time.Now()
	r := newReports(true, nil, func() time.Time { return now })
	for n := range 5 {
		r.hold(&report{id: fmt.Sprint(n), hidden: now.Add(reportHidden)})
	}
	now = now.Add(reportHidden + time.Second)
	r.forget()
	r.hold(&report{id: "new", hidden: now.Add(reportHidden)})
	if len(r.held) != 1 || r.held["new"] == nil {
		t.Errorf("held %v", r.held)
	}
}

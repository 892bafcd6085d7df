package queued

import (
	"fmt"
	"strings"
	"testing"

	"kustospool/ingest"
	"kustospool/transport"
	"kustospool/transport/internal/kusto"
	"kustospool/transport/transporttest"
)

func TestJudge(t *testing.T) {
	at := func(attempt int, status string, codes ...string) row {
		r := row{Key: rowKey(attempt), Status: status}
		if len(codes) > 0 {
			r.Code, r.FailureStatus = codes[0], codes[1]
		}
		return r
	}
	failed := func(c transport.Class) kusto.Outcome { return kusto.Outcome{State: ingest.DeadLettered, Class: c} }
	accepted := kusto.Outcome{State: ingest.Accepted}
	for name, tc := range map[string]struct {
		latest int
		rows   []row
		want   kusto.Outcome
	}{
		"no rows":                         {1, nil, kusto.Outcome{}},
		"pending":                         {1, []row{at(1, "Pending")}, kusto.Outcome{}},
		"pending with an operation":       {1, []row{{Key: rowKey(1), Status: "Pending", Operation: "7b0a"}}, accepted},
		"pending with a zero operation":   {1, []row{{Key: rowKey(1), Status: "Pending", Operation: rowKey(0)}}, kusto.Outcome{}},
		"succeeded":                       {1, []row{at(1, "Succeeded")}, kusto.Outcome{State: ingest.Succeeded}},
		"first succeeded late":            {2, []row{at(1, "Succeeded"), at(2, "Pending")}, kusto.Outcome{State: ingest.Succeeded}},
		"first succeeded, repeat skipped": {2, []row{at(1, "Succeeded"), at(2, "Skipped")}, kusto.Outcome{State: ingest.Succeeded}},
		"first pending, repeat skipped":   {2, []row{at(1, "Pending"), at(2, "Failed", "Skipped_IngestByTagAlreadyExists", "Permanent")}, kusto.Outcome{State: ingest.Skipped}},
		"first in, blob gone":             {2, []row{at(1, "Succeeded"), at(2, "Failed", "Download_SourceNotFound", "Permanent")}, kusto.Outcome{State: ingest.Succeeded}},
		"first failed, repeat pending":    {2, []row{at(1, "Failed", "BadRequest_TableNotExist", "Permanent"), at(2, "Pending")}, kusto.Outcome{}},
		"repeat failed":                   {2, []row{at(1, "Pending"), at(2, "Failed", "BadRequest_TableNotExist", "Permanent")}, failed(transport.Held)},
		"service repeats":                 {1, []row{at(1, "Failed", "Timeout", "Transient")}, accepted},
		"service gave up":                 {1, []row{at(1, "Failed", "Timeout", "Exhausted")}, failed(transport.Transient)},
		"bad data":                        {1, []row{at(1, "Failed", "Stream_ClosingQuoteMissing", "Permanent")}, failed(transport.Malformed)},
		"no progress":                     {0, []row{at(1, "Pending"), at(12, "Failed", "Novel", "Permanent")}, failed(transport.Permanent)},
		"row of another attempt":          {3, []row{at(4, "Failed", "Novel", "Permanent")}, kusto.Outcome{}},
		"queued":                          {1, []row{at(1, "Queued")}, accepted},
		"partially":                       {1, []row{at(1, "PartiallySucceeded")}, failed(transport.Permanent)},
	} {
		if got, _ := judge(tc.rows, tc.latest); got != tc.want {
			t.Errorf("%s: %+v, want %+v", name, got, tc.want)
		}
	}
}

// batches sends n batches, and returns them as a tracker sees them.
func batches(t *testing.T, client *Client, n int) []transport.Pending {
	t.Helper()
	var out []transport.Pending
	for i := range n {
		b := jsonBatch()
		b.ID = ingest.NewBatchID(ingest.SpoolID{1}, 1, uint64(i)+1, uint64(i)+1)
		d, j := delivery(b, jsonLines)
		if _, err := client.Send(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		out = append(out, transport.Pending{Batch: b, Progress: j.Last()})
	}
	return out
}

func TestTrackTellsEachBatchItsOwn(t *testing.T) {
	c := newCloud(t)
	client := c.client(nil)
	pending := batches(t, client, 20)
	if v, err := client.Track(t.Context(), pending); err != nil || len(v) != 0 {
		t.Fatalf("before anything happened: %v, %v", v, err)
	}
	c.verdict = func(m sent) map[string]any {
		if m.Id == pending[3].Batch.ID.String() {
			return map[string]any{"Status": "Failed", "ErrorCode": "BadRequest_InvalidKustoIdentityToken", "FailureStatus": 1,
				"Details": "cannot read https://a.blob/c/b?sig=" + secretSig + " with token " + secretToken}
		}
		return nil
	}
	c.settle()
	verdicts, err := client.Track(t.Context(), pending)
	if err != nil || len(verdicts) != len(pending) {
		t.Fatal(len(verdicts), err)
	}
	states := map[ingest.BatchID]transport.Verdict{}
	for _, v := range verdicts {
		states[v.Batch] = v
	}
	for i, p := range pending {
		v := states[p.Batch.ID]
		if i != 3 {
			if v.State != ingest.Succeeded || v.Failure != nil {
				t.Errorf("batch %d: %+v", i, v)
			}
			continue
		}
		if v.State != ingest.DeadLettered || v.Failure.Class != transport.Transient || v.Failure.Code != kusto.InvalidToken || v.Failure.Message == "" {
			t.Errorf("batch %d: %+v", i, v)
		}
		if s := fmt.Sprintf("%v %+v", v.Failure, *v.Failure); strings.Contains(s, secretSig) || strings.Contains(s, secretToken) {
			t.Errorf("the failure holds a secret: %s", s)
		}
	}
}

// One answer that cannot be had takes no other away.
func TestTrackKeepsVerdictsBesideAnError(t *testing.T) {
	c := newCloud(t)
	client := c.client(nil)
	pending := batches(t, client, 5)
	c.settle()
	c.setFault("GET table", 1, fault{status: 400, code: "InvalidInput"})
	verdicts, err := client.Track(t.Context(), pending)
	if classOf(err) != transport.Transient || len(verdicts) != 4 {
		t.Errorf("%d verdicts, %v", len(verdicts), err)
	}
}

func TestTrackGivesUpOnADeadTable(t *testing.T) {
	c := newCloud(t)
	client := c.client(nil)
	pending := batches(t, client, 40)
	c.setFault("GET table", 0, fault{status: 400, code: "InvalidInput"})
	verdicts, err := client.Track(t.Context(), pending)
	if n := c.count("GET table"); err == nil || len(verdicts) != 0 || n < trackFailures || n >= trackFailures+trackConcurrent {
		t.Errorf("%d verdicts, %v, after %d requests", len(verdicts), err, n)
	}
}

func TestTrackWithoutStatusTable(t *testing.T) {
	c := newCloud(t)
	c.tables = 0
	client := c.client(nil)
	pending := batches(t, client, 1)
	c.settle()
	if v, err := client.Track(t.Context(), pending); err != nil || len(v) != 0 || c.count("GET table") != 0 {
		t.Errorf("%v, %v", v, err)
	}
	if c.messages[0].m["ReportMethod"] != 0.0 {
		t.Errorf("message %s", c.messages[0].text)
	}
}

// The next attempt after an unknown one asks before it posts.
func TestUnknownAttemptThatWasTakenIsNotRepeated(t *testing.T) {
	c := newCloud(t)
	client := c.client(nil)
	c.setFault("POST queue", 1, fault{drop: true, after: true})
	d, j := delivery(jsonBatch(), jsonLines)
	d.Batch.Guarantee = ingest.AtLeastOnce
	if _, err := client.Send(t.Context(), d); classOf(err) != transport.Unknown {
		t.Fatal(err)
	}
	c.settle()
	d.Attempt, d.Progress, d.Journal = 2, j.Last(), &transporttest.Journal{}
	ack, err := client.Send(t.Context(), d)
	if err != nil || ack.State != ingest.Skipped || c.count("POST queue") != 1 {
		t.Errorf("%+v, %v, %d posts", ack, err, c.count("POST queue"))
	}
	// An attempt under a number whose row is there, as after a crash whose
	// Commit was lost, finds the row and does not overwrite it.
	d.Attempt, d.Progress, d.Journal = 1, nil, &transporttest.Journal{}
	ack, err = client.Send(t.Context(), d)
	if err != nil || ack.State != ingest.Skipped || c.count("POST queue") != 1 {
		t.Errorf("%+v, %v, %d posts", ack, err, c.count("POST queue"))
	}
}

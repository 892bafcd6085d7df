package kusto

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"kustospool/ingest"
	"kustospool/transport"
)

// The documentation and the SDKs spell the names of section 7 in different
// cases; both are read.
func TestConfigurationInAnyCase(t *testing.T) {
	for method, rest := range map[string]bool{"REST": true, "Rest": true, "V2": true, "Queue": false, "V1": false, "Legacy": false, "": false} {
		for _, reply := range []string{
			`{"containerSettings":{"containers":[{"path":"https://a.blob.core.windows.net/c?sig=x&se=2026-01-02T03:04:05Z"},{"path":"https://b.blob.core.windows.net/c?sig=x&se=2026-01-01T00:00:00Z"},` +
				`{"path":"https://plain.blob.core.windows.net/c"},{"path":"http://b.blob.core.windows.net/c?sig=x"}],"lakeFolders":[{"path":"https://lake/x"}]},"ingestionSettings":{"maxBlobsPerBatch":20,"preferredIngestionMethod":"` + method + `"}}`,
			`{"ContainerSettings":{"Containers":[{"Path":"https://a.blob.core.windows.net/c?sig=x&se=2026-01-02T03:04:05Z"},{"Path":"https://b.blob.core.windows.net/c?sig=x&se=2026-01-01T00:00:00Z"}]},"IngestionSettings":{"PreferredIngestionMethod":"` + method + `"}}`,
		} {
			c, ends, err := parseConfiguration([]byte(reply), false, nil)
			if err != nil || c.PreferREST != rest || c.Absent || len(c.Containers) != 2 || !ends.Equal(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)) {
				t.Errorf("%q: %+v, ends %v, %v", method, c, ends, err)
			}
		}
	}
	if _, _, err := parseConfiguration([]byte("<html>"), false, nil); err == nil {
		t.Error("a page passes for a configuration")
	}
}

func TestOperationReports(t *testing.T) {
	const id = "0a0b0c0d-0000-0000-0000-000000000001"
	for name, tc := range map[string]struct {
		reply string
		want  BlobReport
	}{
		"documented":   {`{"status":{"Succeeded":1},"details":[{"sourceId":"` + id + `","status":"Succeeded"}]}`, BlobReport{Status: "Succeeded"}},
		"other case":   {`{"Status":{"failed":1},"Details":[{"SourceId":"` + strings.ToUpper(id) + `","Status":"Failed","ErrorCode":"X","FailureStatus":"Transient","Details":"why"}]}`, BlobReport{"Failed", "X", "Transient", "why"}},
		"number":       {`{"details":[{"sourceId":"` + id + `","status":"Failed","errorCode":"X","failureStatus":3}]}`, BlobReport{"Failed", "X", "3", ""}},
		"cancelled":    {`{"details":[{"sourceId":"` + id + `","status":"Canceled"}]}`, BlobReport{Status: "Failed", FailureStatus: "Exhausted"}},
		"tag hit":      {`{"details":[{"sourceId":"` + id + `","status":"Succeeded","errorCode":"Skipped_IngestByTagAlreadyExists"}]}`, BlobReport{Status: "Skipped", Code: "Skipped_IngestByTagAlreadyExists"}},
		"no source id": {`{"details":[{"status":"InProgress"}]}`, BlobReport{Status: "InProgress"}},
		"counts only":  {`{"status":{"Succeeded":1,"Failed":0,"InProgress":0}}`, BlobReport{Status: "Succeeded"}},
		"other blob":   {`{"status":{"Failed":2},"details":[{"sourceId":"x","status":"Failed"},{"sourceId":"y","status":"Failed"}]}`, BlobReport{}},
		"nothing":      {`{}`, BlobReport{}},
	} {
		if got, err := parseOperation([]byte(tc.reply), id); err != nil || got != tc.want {
			t.Errorf("%s: %+v, %v, want %+v", name, got, err, tc.want)
		}
	}
	if o := StatusOutcome("Failed", "", "Exhausted"); o.State != ingest.DeadLettered || o.Class != transport.Transient {
		t.Errorf("a cancelled blob is %+v; it is to be sent again", o)
	}
}

// Each reply to a submission has its class: whatever may have been taken is
// unknown.
func TestSubmitClasses(t *testing.T) {
	for _, tc := range []struct {
		status int
		body   string
		want   transport.Class // 0: taken
	}{
		{200, `{"ingestionOperationId":"op"}`, 0},
		{200, `{"IngestionOperationId":"op"}`, 0},
		{200, `not JSON`, transport.Unknown},
		{400, `{"error":{"code":"BadRequest","message":"m","@permanent":true}}`, transport.Permanent},
		{400, `{"error":{"code":"BadRequest","message":"m","@permanent":false}}`, transport.Transient},
		{400, `{"error":{"code":"BadRequest_TableNotExist","message":"m","@permanent":true}}`, transport.Held},
		{401, ``, transport.Unauthorized},
		{403, ``, transport.Held},
		{404, ``, transport.Held},
		{429, ``, transport.Throttled},
		{500, ``, transport.Unknown},
		{502, ``, transport.Unknown},
		{504, ``, transport.Unknown},
		{520, ``, transport.Unknown},
	} {
		posts := 0
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			posts++
			if r.URL.EscapedPath() != "/v1/rest/ingestion/queued/data%20base/t%20x" || r.Header.Get("x-ms-client-request-id") != "KSP.execute;1" {
				t.Errorf("%s with id %q", r.URL.EscapedPath(), r.Header.Get("x-ms-client-request-id"))
			}
			w.WriteHeader(tc.status)
			w.Write([]byte(tc.body))
		}))
		in := NewIngestion(service(t, server.URL, nil, nil))
		op, err := in.Submit(t.Context(), &Submission{Database: "data base", Table: "t x", Blobs: []SubmittedBlob{{URL: "https://a/b?sig=s", SourceID: "1"}}}, "KSP.execute;1")
		server.Close()
		var class transport.Class
		if err != nil {
			e := transport.Classify(err, false)
			class = e.Class
			if e.RequestID != "KSP.execute;1" {
				t.Errorf("%d: the error names the request %q", tc.status, e.RequestID)
			}
		}
		if class != tc.want || (err == nil) != (op == "op") || posts != 1 {
			t.Errorf("%d %s: %q, %v after %d posts", tc.status, tc.body, op, err, posts)
		}
	}
}

func FuzzParseOperation(f *testing.F) {
	f.Add([]byte(`{"status":{"Succeeded":1},"details":[{"sourceId":"x","status":"Succeeded","failureStatus":1}]}`))
	f.Fuzz(func(t *testing.T, reply []byte) {
		if r, err := parseOperation(reply, "x"); err != nil && r != (BlobReport{}) {
			t.Errorf("%+v beside %v", r, err)
		}
	})
}

func FuzzParseConfiguration(f *testing.F) {
	f.Add([]byte(`{"containerSettings":{"containers":[{"path":"https://a.blob.core.windows.net/c?sig=x"}]}}`))
	f.Fuzz(func(t *testing.T, reply []byte) {
		c, _, err := parseConfiguration(reply, false, nil)
		if (c == nil) == (err == nil) {
			t.Errorf("%+v, %v", c, err)
		}
	})
}

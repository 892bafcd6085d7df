package kustosim

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// rest makes one request to the Kusto endpoint and decodes the reply.
func rest(t *testing.T, s *Sim, method, path, token, body string) (int, map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.Endpoint()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatalf("%s %s: %d %s", method, path, resp.StatusCode, data)
	}
	return resp.StatusCode, out
}

// firstContainer is a container of the configuration, cut before its SAS.
func firstContainer(t *testing.T, s *Sim) (root, sas string) {
	t.Helper()
	status, conf := rest(t, s, "GET", "/v1/rest/ingestion/configuration", "", "")
	if status != http.StatusOK {
		t.Fatal(status, conf)
	}
	list := conf["containerSettings"].(map[string]any)["containers"].([]any)
	root, sas, _ = strings.Cut(list[0].(map[string]any)["path"].(string), "?")
	return root, sas
}

func putBlob(t *testing.T, uri, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "PUT", uri, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("x-ms-blob-type", "BlockBlob")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		t.Fatal(resp.Status)
	}
}

// waitOperation waits until nothing of an operation is in progress.
func waitOperation(t *testing.T, s *Sim, path string) map[string]any {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var got map[string]any
	if err := s.Wait(ctx, func() bool {
		_, got = rest(t, s, "GET", path+"?details=true", "", "")
		return got["status"].(map[string]any)["InProgress"] == 0.0
	}); err != nil {
		t.Fatal(err, got)
	}
	return got
}

func TestOperationTellsOfEachBlob(t *testing.T) {
	s, err := Start(&Options{Databases: []string{"db"}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.CreateTable("db", "tbl"); err != nil {
		t.Fatal(err)
	}
	root, sas := firstContainer(t, s)
	putBlob(t, root+"/one.json?"+sas, `{"a":1}`)
	putBlob(t, root+"/two.json?"+sas, `{"a":2}`+"\n"+`{"a":3}`)
	submit := func(extra string, names ...string) map[string]any {
		var blobs []string
		for i, n := range names {
			blobs = append(blobs, fmt.Sprintf(`{"url":%q,"sourceId":"00000000-0000-0000-0000-00000000000%d","rawSize":7}`, root+"/"+n+"?"+sas, i+1))
		}
		status, reply := rest(t, s, "POST", "/v1/rest/ingestion/queued/db/tbl", "",
			`{"timestamp":"2026-01-01T00:00:00Z","blobs":[`+strings.Join(blobs, ",")+`],"properties":{"format":"json"`+extra+`}}`)
		if status != http.StatusOK {
			t.Fatal(status, reply)
		}
		return reply
	}
	id := submit(`,"enableTracking":true`, "one.json", "two.json", "gone.json")["ingestionOperationId"].(string)
	got := waitOperation(t, s, "/v1/rest/ingestion/queued/db/tbl/"+id)
	counts := got["status"].(map[string]any)
	if counts["Succeeded"] != 2.0 || counts["Failed"] != 1.0 || s.Count("db", "tbl") != 3 {
		t.Errorf("%v, %d rows", got, s.Count("db", "tbl"))
	}
	last := got["details"].([]any)[2].(map[string]any)
	if last["errorCode"] != "Download_SourceNotFound" || last["failureStatus"] != Permanent || strings.Contains(last["url"].(string), "sig=") {
		t.Errorf("the missing blob is told as %v", last)
	}
	// The tag is honoured, and what is not tracked has no operation.
	tagged := `,"tags":["ingest-by:x"],"ingestIfNotExists":["x"],"enableTracking":`
	waitOperation(t, s, "/v1/rest/ingestion/queued/db/tbl/"+submit(tagged+"true", "one.json")["ingestionOperationId"].(string))
	if reply := submit(tagged+"false", "one.json"); reply["ingestionOperationId"] != "" {
		t.Errorf("untracked: %v", reply)
	}
	waitOperation(t, s, "/v1/rest/ingestion/queued/db/tbl/"+submit(tagged+"true", "one.json")["ingestionOperationId"].(string))
	if n, st := s.Count("db", "tbl"), s.Stats(); n != 4 || st.SkippedByTag != 2 || st.RequestsQueued != 4 || st.BlobsQueued != 6 {
		t.Errorf("%d rows, %+v", n, st)
	}
	if status, _ := rest(t, s, "GET", "/v1/rest/ingestion/queued/db/other/"+id, "", ""); status != http.StatusNotFound {
		t.Errorf("the operation under another table: %d", status)
	}
}

func TestSubmitRefuses(t *testing.T) {
	s, err := Start(&Options{Databases: []string{"db"}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	many := strings.Repeat(`{"url":"http://localhost/a/b/c"},`, 20) + `{"url":"http://localhost/a/b/c"}`
	for name, body := range map[string]string{
		"not JSON":  `{`,
		"no blob":   `{"blobs":[],"properties":{"format":"csv"}}`,
		"21 blobs":  `{"blobs":[` + many + `],"properties":{"format":"csv"}}`,
		"no format": `{"blobs":[{"url":"http://localhost/a/b/c"}],"properties":{}}`,
		"no url":    `{"blobs":[{}],"properties":{"format":"csv"}}`,
		"source id": `{"blobs":[{"url":"http://localhost/a/b/c","sourceId":"x"}],"properties":{"format":"csv"}}`,
		"flag":      `{"blobs":[{"url":"http://localhost/a/b/c"}],"properties":{"format":"csv","skipBatching":7}}`,
	} {
		if status, reply := rest(t, s, "POST", "/v1/rest/ingestion/queued/db/tbl", "", body); status != http.StatusBadRequest {
			t.Errorf("%s: %d %v", name, status, reply)
		}
	}
	if st := s.Stats(); st.RequestsQueued != 0 || st.MessagesTaken != 0 {
		t.Errorf("a refused request was taken: %+v", st)
	}
}

func TestServiceWithoutTheRESTAPI(t *testing.T) {
	s, err := Start(&Options{PreferredIngestion: "-"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if status, _ := rest(t, s, "GET", "/v1/rest/ingestion/configuration", "", ""); status != http.StatusNotFound {
		t.Error(status)
	}
}

package kustosim

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"kustospool/internal/kustosim/internal/parse"
)

func TestCommands(t *testing.T) {
	c := start(t, &Options{Databases: []string{"db1"}, UnknownResource: true})
	c.command("db1", ".create table T (a:string, ['b c']: long, d:double)")
	c.command("db1", ".create-merge table T (a:string, e:dynamic)")
	if status, text := c.post("/v1/rest/mgmt", "db1", ".create-merge table T (f:int, a:long)"); status != 400 || !strings.Contains(string(text), "type string") {
		t.Errorf("another type for a column: %d %s", status, text)
	}
	columns, ok := c.sim.Columns("db1", "T")
	if want := []Column{{Name: "a", Type: "string"}, {Name: "b c", Type: "long"}, {Name: "d", Type: "real"}, {Name: "e", Type: "dynamic"}}; !ok || !reflect.DeepEqual(columns, want) {
		t.Errorf("columns are %v, want %v", columns, want)
	}
	c.command("db1", `.create table ['T'] ingestion json mapping "M" '[{"column":"a","Properties":{"Path":"$[\'x\']"}}]'`)
	c.command("db1", ".create table T ingestion csv mapping 'M' ```[{\"Column\":\"a\",\"Properties\":{\"Ordinal\":0}}]```")
	rows := c.command("db1", ".show tables")
	if len(rows) != 1 || rows[0]["TableName"] != "T" || rows[0]["DatabaseName"] != "db1" {
		t.Errorf(".show tables gives %v", rows)
	}
	if rows := c.command("", ".show version"); len(rows) != 1 || rows[0]["ServiceType"] == nil {
		t.Errorf(".show version gives %v", rows)
	}
	kinds := make(map[string]int)
	for _, row := range c.command("NetDefaultDB", " .show  Ingestion resources") {
		kinds[row["ResourceTypeName"].(string)]++
		mustParse(t, row["StorageRoot"].(string))
	}
	want := map[string]int{"SecuredReadyForAggregationQueue": 2, "TempStorage": 2, "IngestionsStatusTable": 1, "SuccessfulIngestionsQueue": 1, "FailedIngestionsQueue": 1, "SimulatedFutureResource": 1}
	if !reflect.DeepEqual(kinds, want) {
		t.Errorf("resources are %v, want %v", kinds, want)
	}
	c.command("db1", ".drop table T")
	if rows := c.command("db1", ".show tables"); len(rows) != 0 {
		t.Errorf("after .drop: %v", rows)
	}
}

func TestCommandErrors(t *testing.T) {
	c := start(t, nil)
	c.create()
	for _, tt := range []struct{ db, csl, code string }{
		{"db1", ".show nothing", "General_BadRequest"},
		{"db1", "", "General_BadRequest"},
		{"db1", ".create table 'T' (a:string)", "General_BadRequest"},
		{"db1", ".create table T (a string)", "General_BadRequest"},
		{"db1", ".create table T (a:float8)", "General_BadRequest"},
		{"db1", ".create table t1 (a:string)", "BadRequest_EntityNameAlreadyExists"},
		{"no", ".create table T (a:string)", "BadRequest_EntityNotFound"},
		{"no", ".show tables", "BadRequest_EntityNotFound"},
		{"db1", ".create table T ingestion json mapping 'm' '[]'", "BadRequest_InvalidMapping"},
		{"db1", ".create table T ingestion json mapping 'm' '[{\"column\":\"a\",\"path\":\"$.a\"}]'", "BadRequest_EntityNotFound"},
		{"db1", ".drop table T", "BadRequest_EntityNotFound"},
		{"db1", ".show table T extents", "BadRequest_EntityNotFound"},
		{"db1", ".show table t1 extents where rows has 'x'", "General_BadRequest"},
		{"db1", ".show table t1 extents 'open", "General_BadRequest"},
	} {
		status, text := c.post("/v1/rest/mgmt", tt.db, tt.csl)
		var reply struct {
			Error struct {
				Code      string `json:"code"`
				Permanent bool   `json:"@permanent"`
				Message   string `json:"@message"`
				Type      string `json:"@type"`
				Context   struct {
					ActivityID string `json:"activityId"`
				} `json:"@context"`
			} `json:"error"`
		}
		if err := json.Unmarshal(text, &reply); err != nil {
			t.Errorf("%q: %v: %s", tt.csl, err, text)
		}
		e := reply.Error
		if status != 400 || e.Code != tt.code || !e.Permanent || e.Message == "" || e.Type == "" || e.Context.ActivityID == "" {
			t.Errorf("%q gives %d %s, want code %s", tt.csl, status, text, tt.code)
		}
	}
}

func TestShowExtents(t *testing.T) {
	c := start(t, nil)
	c.create()
	c.expect(c.send("a.json", "{}\n{}\n", tagged("one")), "Succeeded", "")
	c.expect(c.send("b.json", "{}\n", property("tags", `["drop-by:d","free"]`)), "Succeeded", "")
	for _, tt := range []struct {
		where string
		want  int
	}{
		{"", 2}, {"where tags has 'ingest-by:one'", 1}, {"where tags has 'ingest-by'", 0}, {"where tags contains 'ingest-by'", 1},
		{"where tags !has 'free'", 1}, {"where tags has 'free' and tags contains 'drop'", 1}, {"where tags has 'free' where tags has 'x'", 0},
	} {
		rows := c.command("db1", ".show table t1 extents "+tt.where)
		if len(rows) != tt.want {
			t.Errorf("%q gives %d extents, want %d", tt.where, len(rows), tt.want)
		}
		for _, row := range rows {
			if !parse.IsGUID(row["ExtentId"].(string)) || row["RowCount"] == nil || row["Tags"] == "" {
				t.Errorf("an extent is %v", row)
			}
		}
	}
}

func TestRequestForms(t *testing.T) {
	c := start(t, nil)
	for name, body := range map[string]string{
		"properties as a string": `{"db":"x","csl":".show version","properties":"{\"Options\":{}}"}`,
		"properties as null":     `{"db":"x","csl":".show version","properties":null,"more":[1]}`,
		"byte order mark":        "\xef\xbb\xbf" + `{"csl":".show version"}`,
	} {
		for _, compressed := range []bool{false, true} {
			send := body
			if compressed {
				send = gzipped(t, body)
			}
			// A bare reader has no length: the request is chunked.
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.sim.Endpoint()+"/v1/rest/mgmt", struct{ io.Reader }{strings.NewReader(send)})
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("x-ms-client-request-id", "KGC.execute;1")
			if compressed {
				req.Header.Set("Content-Encoding", "gzip")
			}
			reply, err := c.http.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			reply.Body.Close()
			if reply.StatusCode != 200 || reply.Header.Get("x-ms-client-request-id") != "KGC.execute;1" || reply.Header.Get("x-ms-activity-id") == "" {
				t.Errorf("%s, gzip %v: %d %v", name, compressed, reply.StatusCode, reply.Header)
			}
		}
	}
	for _, body := range []string{"", "[]", "{", "\x1f\x8b"} {
		reply, err := c.http.Post(c.sim.Endpoint()+"/v1/rest/mgmt", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		reply.Body.Close()
		if reply.StatusCode != 400 {
			t.Errorf("%q gives %d", body, reply.StatusCode)
		}
	}
}

func TestBearerToken(t *testing.T) {
	const metadata = `{"AzureAD":{"KustoServiceResourceId":"https://kusto.kusto.windows.net"}}`
	sim, err := Start(&Options{Token: "secret", Metadata: metadata})
	if err != nil {
		t.Fatal(err)
	}
	h := &http.Client{Transport: &http.Transport{}}
	defer func() {
		h.CloseIdleConnections()
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	}()
	for header, want := range map[string]int{"": 401, "Bearer other": 401, "Bearer secret": 200} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, sim.Endpoint()+"/v1/rest/mgmt", strings.NewReader(`{"csl":".show version"}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", header)
		reply, err := h.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		reply.Body.Close()
		if reply.StatusCode != want {
			t.Errorf("%q gives %d, want %d", header, reply.StatusCode, want)
		}
	}
	reply, err := h.Get(sim.Endpoint() + "/v1/rest/auth/metadata")
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	if text, err := io.ReadAll(reply.Body); err != nil || reply.StatusCode != 200 || string(text) != metadata {
		t.Errorf("metadata is %d %s, %v", reply.StatusCode, text, err)
	}
}

func TestQueries(t *testing.T) {
	c := start(t, nil)
	c.create(Column{Name: "n", Type: "long"}, Column{Name: "s", Type: "string"})
	if err := c.sim.CreateTable("db1", "free"); err != nil {
		t.Fatal(err)
	}
	c.expect(c.send("a.json", "{\"n\":1,\"s\":\"x\"}\n{\"n\":12345678901234567}\n"), "Succeeded", "")
	c.expect(c.send("b.json", "{\"x\":[1]}\n", field("TableName", "free")), "Succeeded", "")
	for _, tt := range []struct{ csl, want string }{
		{"t1", `[[1,"x"],[12345678901234567,""]]`}, {"t1 | count", `[[2]]`}, {"t1 | take 1;", `[[1,"x"]]`},
		{"database('db1').t1 | count", `[[2]]`}, {"free", `[[{"x":[1]}]]`},
	} {
		for path, part := range map[string]string{"/v1/rest/query": `"Rows":` + tt.want, "/v2/rest/query": `"Rows":` + tt.want} {
			if status, text := c.post(path, "db1", tt.csl); status != 200 || !bytes.Contains(text, []byte(part)) {
				t.Errorf("%s %q gives %d %s, want %s", path, tt.csl, status, text, part)
			}
		}
	}
	for _, csl := range []string{"", "t2", "t1 | where n > 1", "t1 | take x"} {
		if status, _ := c.post("/v1/rest/query", "db1", csl); status != 400 {
			t.Errorf("%q gives %d", csl, status)
		}
	}
	for path, want := range map[string]string{
		"/sim/rows?db=db1&table=t1": "{\"n\":1,\"s\":\"x\"}\n{\"n\":12345678901234567,\"s\":\"\"}\n", "/sim/rows?db=db1&table=no": "no such table\n", "/sim/stats": `"Rows":3`, "/v1/rest/auth/metadata": "",
	} {
		reply, err := c.http.Get(c.sim.Endpoint() + path)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(reply.Body)
		reply.Body.Close()
		if err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s gives %s, %v", path, text, err)
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for _, o := range []Options{{Listen: "0.0.0.0:0"}, {Listen: "nonsense"}, {Accounts: 17}, {Accounts: -1}, {BatchItems: -1}, {MaxBlobBytes: -1},
		{Storage: &ExternalStorage{BlobURL: "nonsense"}}, {Storage: &ExternalStorage{BlobURL: "http://127.0.0.1:1", QueueURL: "http://127.0.0.1:1", TableURL: "http://127.0.0.1:1", Account: "a", Key: "%"}}} {
		if sim, err := Start(&o); err == nil {
			t.Errorf("%+v is accepted", o)
			sim.Close()
		}
	}
}

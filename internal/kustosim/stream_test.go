package kustosim

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// With sourceKind=uri the body names a blob, and the blob is what is ingested.
func TestStreamFromBlob(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/moved.csv" {
			http.Redirect(w, r, "/a.csv", http.StatusFound)
			return
		}
		w.Write([]byte("web\n"))
	}))
	defer web.Close()
	c := start(t, &Options{BlobHosts: []string{strings.TrimPrefix(web.URL, "http://")}})
	c.create(Column{Name: "a", Type: "string"})
	c.command("db1", ".alter table t1 policy streamingingestion enable")
	plain, packed := c.upload("a.csv", "one\n"), c.upload("b.csv.gz", "two\n")
	own, err := c.sim.PutBlob(t.Context(), "own.csv", []byte("three\n"))
	if err != nil {
		t.Fatal(err)
	}
	body := func(uri string) string {
		text, err := json.Marshal(map[string]string{"sourceUri": uri})
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for name, s := range map[string]struct {
		body   string
		status int
		code   string
	}{
		"by its SAS":       {body(plain), 200, ""},
		"compressed":       {body(packed), 200, ""},
		"by impersonation": {body(own + ";impersonate"), 200, ""},
		"of a web server":  {body(web.URL + "/a.csv"), 200, ""},
		"as Go spells it":  {strings.Replace(body(plain), "sourceUri", "SourceUri", 1), 200, ""},
		"without a SAS":    {body(own), 400, "Download_Forbidden"},
		"elsewhere":        {body("https://example.org/a.csv"), 400, "Download_AccountNotFound"},
		"elsewhere here":   {body("http://127.0.0.1:1/a.csv"), 400, "Download_AccountNotFound"},
		"moved":            {body(web.URL + "/moved.csv"), 400, "Download_BadRequest"},
		"gone":             {body(strings.Replace(plain, "a.csv", "z.csv", 1)), 400, "Download_SourceNotFound"},
		"no URI":           {body("a.csv"), 400, "BadRequest_InvalidBlobUri"},
		"nothing named":    {`{}`, 400, "General_BadRequest"},
		"data, not JSON":   {"1\n", 400, "General_BadRequest"},
		"empty":            {body(c.upload("e.csv", " \n")), 400, "Stream_NoDataToIngest"},
		"too large":        {body(c.upload("l.csv", strings.Repeat("x", 4<<20)+"\n")), 413, "Request_PayloadTooLarge"},
		"too large inside": {body(c.upload("l.csv.gz", strings.Repeat("x", 4<<20)+"\n")), 413, "Request_PayloadTooLarge"},
	} {
		status, text := c.stream("streamFormat=Csv&sourceKind=uri", "", []byte(s.body))
		if status != s.status || !strings.Contains(text, s.code) || strings.Contains(text, "sig=") {
			t.Errorf("%s: %d %s, want %d %s", name, status, text, s.status, s.code)
		}
	}
	rows := rowsText(c.sim.Rows("db1", "t1"))
	for value, n := range map[string]int{"one": 2, "two": 1, "three": 1, "web": 1} {
		if got := strings.Count(rows, `"`+value+`"`); got != n {
			t.Errorf("%q is there %d times, want %d: %s", value, got, n, rows)
		}
	}
	c.count(5)
	for _, e := range c.sim.Extents("db1", "t1") {
		if strings.Contains(e.Source, "127.0.0.1") {
			t.Errorf("the address of a blob is kept: %s", e.Source)
		}
	}

	// The control: without sourceKind the body is the data.
	if status, text := c.stream("streamFormat=Csv", "", []byte("uri\n")); status != 200 {
		t.Errorf("%d %s", status, text)
	}
	c.count(6)
}

// A stream meets a redirect or a 5xx before its body, in the middle of it and
// after it, and after the effect; only the last leaves rows.
func TestStreamFaults(t *testing.T) {
	for _, status := range []int{301, 307, 308, 500, 502, 503, 520} {
		for name, tt := range map[string]struct {
			kind FaultKind
			at   int64
			rows int
		}{
			"before the body":        {RespondEarly, 0, 0},
			"in the middle of it":    {RespondEarly, 3, 0},
			"after it":               {Respond, 0, 0},
			"after the effect of it": {RespondLate, 0, 1},
		} {
			c := start(t, nil)
			c.create(Column{Name: "a", Type: "string"})
			c.command("db1", ".alter table t1 policy streamingingestion enable")
			f := Fault{Kind: tt.kind, At: tt.at, Status: status, PathContains: "/rest/ingest/", Times: 1}
			if status < 400 {
				f.Location = c.sim.Endpoint() + "/elsewhere"
			}
			c.sim.Fault(Engine, f)
			r, err := http.NewRequestWithContext(t.Context(), "POST", c.sim.Endpoint()+"/v1/rest/ingest/db1/t1?streamFormat=csv", strings.NewReader("some data\n"))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := c.http.Transport.RoundTrip(r) // follows no redirect
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != status || resp.Header.Get("Location") != f.Location {
				t.Errorf("%s: %d to %q, want %d to %q", name, resp.StatusCode, resp.Header.Get("Location"), status, f.Location)
			}
			if n := c.sim.Count("db1", "t1"); n != tt.rows {
				t.Errorf("%d %s: %d rows, want %d", status, name, n, tt.rows)
			}
		}
	}
}

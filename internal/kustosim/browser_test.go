package kustosim

import (
	"net/http"
	"strings"
	"testing"
)

// ask sends a request with a Host and headers, and returns the status and the
// start of the body.
func (c *client) ask(method, uri, host, body string, headers ...string) (int, string) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, uri, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	if host != "" {
		req.Host = host
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := c.http.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	text := make([]byte, 200)
	n, _ := resp.Body.Read(text)
	return resp.StatusCode, string(text[:n])
}

// A web page of another site gets at no port of the simulator, and what it sends
// has no effect. The control is the same request without what gives a page away.
func TestPagesOfOtherSitesAreRefused(t *testing.T) {
	c := start(t, &Options{Hosts: []string{"proxied.example"}})
	c.create()
	container, queue, table := mustParse(t, c.containers[0]), c.queues[0], mustParse(t, c.table)
	messages := strings.Replace(queue, "?", "/messages?", 1)
	blob := *container
	blob.Path += "/page.json"
	_, text := c.message(c.upload("a.json", "{}\n"), 3)
	requests := []struct {
		name, method, uri, body string
		header                  []string
		good                    int
	}{
		{"engine", http.MethodPost, c.sim.Endpoint() + "/v1/rest/mgmt", `{"db":"db1","csl":".drop table other"}`, nil, 400},
		{"data management", http.MethodPost, c.sim.Endpoint() + "/v1/rest/mgmt", `{"db":"db1","csl":".get ingestion resources"}`, nil, 200},
		{"streaming", http.MethodPost, c.sim.Endpoint() + "/v1/rest/ingest/db1/none?streamFormat=json", "{}", nil, 404},
		{"REST", http.MethodPost, c.sim.Endpoint() + "/v1/rest/ingestion/queued/db1/t1", "{}", nil, 400},
		{"rows", http.MethodGet, c.sim.Endpoint() + "/sim/rows?db=db1&table=t1", "", nil, 200},
		{"faults", http.MethodPost, c.sim.Endpoint() + "/sim/faults?host=table&kind=respond&status=503&path=nowhere", "", nil, 204},
		{"blob", http.MethodPut, blob.String(), "{}", []string{"x-ms-blob-type", "BlockBlob"}, 201},
		{"queue", http.MethodPost, messages, "<QueueMessage><MessageText>" + text + "</MessageText></QueueMessage>", nil, 201},
		{"table", http.MethodGet, table.String(), "", nil, 200},
	}
	foreign := []struct {
		name, host string
		header     []string
	}{
		{"Host", "attacker.example", nil},
		{"Host with the port", "attacker.example:" + mustParse(t, c.sim.Endpoint()).Port(), nil},
		{"Origin", "", []string{"Origin", "https://attacker.example"}},
		{"no Origin", "", []string{"Origin", "null"}},
		{"Sec-Fetch-Site", "", []string{"Sec-Fetch-Site", "cross-site"}},
	}
	before := c.sim.Stats()
	for _, r := range requests {
		for _, f := range foreign {
			status, said := c.ask(r.method, r.uri, f.host, r.body, append(f.header, r.header...)...)
			if status != http.StatusForbidden || !strings.Contains(said, "foreign") {
				t.Errorf("%s, foreign %s: %d %q", r.name, f.name, status, said)
			}
		}
	}
	after := c.sim.Stats()
	if after.MessagesPosted != before.MessagesPosted || after.BlobsPut != before.BlobsPut || after.Requests[Engine] != before.Requests[Engine] || c.sim.Count("db1", "t1") != 0 {
		t.Errorf("refused requests had an effect: %+v, before %+v", after, before)
	}

	for _, r := range requests {
		if status, said := c.ask(r.method, r.uri, "", r.body, r.header...); status != r.good {
			t.Errorf("control, %s: %d %q, want %d", r.name, status, said, r.good)
		}
		own := "http://" + mustParse(t, r.uri).Host
		for _, h := range [][]string{{"Origin", own}, {"Origin", "http://localhost:1"}, {"Sec-Fetch-Site", "same-origin"}, {"Sec-Fetch-Site", "none"}} {
			if status, said := c.ask(r.method, r.uri, "", r.body, append(h, r.header...)...); status == http.StatusForbidden {
				t.Errorf("control, %s, %v: %d %q", r.name, h, status, said)
			}
		}
		for _, host := range []string{"localhost:7", "proxied.example"} {
			if status, said := c.ask(r.method, r.uri, host, r.body, r.header...); status == http.StatusForbidden {
				t.Errorf("control, %s, Host %s: %d %q", r.name, host, status, said)
			}
		}
	}
	if s := c.sim.Stats(); s.MessagesPosted == before.MessagesPosted || s.BlobsPut == before.BlobsPut {
		t.Errorf("control: the same requests have no effect either: %+v", s)
	}
}

// What controls the simulator asks for the token of an Admin where the service
// asks for tokens.
func TestControlAsksForTheTokenOfTheService(t *testing.T) {
	sim, err := Start(&Options{Databases: []string{"db1"}, Token: "root", Principals: map[string]Role{"user": User, "boss": Admin}})
	if err != nil {
		t.Fatal(err)
	}
	c := &client{t: t, sim: sim, http: &http.Client{Transport: &http.Transport{}}}
	t.Cleanup(func() {
		c.http.CloseIdleConnections()
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := sim.CreateTable("db1", "t1"); err != nil {
		t.Fatal(err)
	}
	for _, r := range []struct {
		method, path string
		good         int
	}{
		{http.MethodGet, "/sim/rows?db=db1&table=t1", 200},
		{http.MethodGet, "/sim/stats", 200},
		{http.MethodPost, "/sim/faults?host=table&kind=down", 204},
		{http.MethodDelete, "/sim/faults", 204},
		{http.MethodPost, "/sim/age/sas", 204},
		{http.MethodPost, "/sim/age/tokens", 204},
	} {
		for bearer, want := range map[string]int{"": 401, "wrong": 401, "user": 403, "root": r.good, "boss": r.good} {
			var header []string
			if bearer != "" {
				header = []string{"Authorization", "Bearer " + bearer}
			}
			if status, said := c.ask(r.method, sim.Endpoint()+r.path, "", "", header...); status != want {
				t.Errorf("%s %s with %q: %d %q, want %d", r.method, r.path, bearer, status, said, want)
			}
		}
	}
	// The control: a service that asks for no token has none to ask for here.
	open := start(t, nil)
	if status, said := open.ask(http.MethodGet, open.sim.Endpoint()+"/sim/stats", "", ""); status != 200 {
		t.Errorf("without tokens: %d %q", status, said)
	}
}

package kustosim

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// do sends a request to a /sim path and returns status and body.
func (c *client) do(method, path string) (int, string) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.sim.Endpoint()+path, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// Faults and age can be had by another process, and taken back.
func TestControl(t *testing.T) {
	c := start(t, nil)
	c.create()
	ok := func(method, path string) {
		t.Helper()
		if status, body := c.do(method, path); status != http.StatusNoContent {
			t.Fatalf("%s %s: %d %s", method, path, status, body)
		}
	}
	ok("POST", "/sim/faults?host=dm&kind=respond&status=503&times=1")
	if status, _ := c.do("GET", "/v1/rest/auth/metadata"); status != http.StatusServiceUnavailable {
		t.Errorf("status %d under a fault", status)
	}
	if status, _ := c.do("GET", "/v1/rest/auth/metadata"); status != http.StatusNotFound {
		t.Errorf("status %d after the fault", status)
	}
	ok("POST", "/sim/faults?host=dm&kind=down")
	if status, _ := c.do("GET", "/v1/rest/auth/metadata"); status != 0 {
		t.Errorf("status %d while down", status)
	}
	ok("DELETE", "/sim/faults")
	if status, _ := c.do("GET", "/v1/rest/auth/metadata"); status != http.StatusNotFound {
		t.Errorf("status %d after all faults were removed", status)
	}
	ok("POST", "/sim/faults?db=db1&table=t1&kind=fail-permanent&code=BadRequest_NotSupported&times=1")
	c.expect(c.send("a.json", "{\"n\":1}\n"), "Failed", "BadRequest_NotSupported")
	c.expect(c.send("b.json", "{\"n\":1}\n"), "Succeeded", "")
	token := c.sim.IssueToken()
	ok("POST", "/sim/age/tokens")
	if _, ok := c.sim.tokens.Holder(token, time.Now()); ok {
		t.Error("a token is valid still")
	}
	uri, err := c.sim.PutBlob(t.Context(), "x", []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	sas, err := c.sim.BlobSAS(uri)
	if err != nil {
		t.Fatal(err)
	}
	get := func() int {
		resp, err := c.http.Get(uri + "?" + sas)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	if before := get(); before != http.StatusOK {
		t.Errorf("status %d before", before)
	}
	ok("POST", "/sim/age/sas")
	if after := get(); after != http.StatusForbidden {
		t.Errorf("status %d with an old signature", after)
	}
	ok("POST", "/sim/age/resources")
	for path, want := range map[string]string{
		"/sim/faults":                                                            "must be",
		"/sim/faults?kind=hold":                                                  "host, or db and table",
		"/sim/faults?host=dm":                                                    "kind must be one of down",
		"/sim/faults?host=dm&kind=hold":                                          "kind must be one of down",
		"/sim/faults?host=engine&kind=refuse":                                    "use down",
		"/sim/faults?host=sun&kind=down":                                         "host",
		"/sim/faults?host=blob/99&kind=down":                                     "no such account",
		"/sim/faults?host=dm&kind=respond":                                       "status",
		"/sim/faults?host=blob&kind=respond-early&at=5":                          "status",
		"/sim/faults?host=dm&kind=respond&status=307&location=//example.org/x":   "location must be",
		"/sim/faults?host=dm&kind=respond&status=307&location=https:example.org": "location must be",
		"/sim/faults?host=blob&kind=respond-early&at=-5":                         "at must be a number",
		"/sim/faults?host=dm&kind=slow&delay=x":                                  "duration",
		"/sim/faults?host=dm&kind=down&every=-1":                                 "number",
		"/sim/faults?host=dm&kind=respond&status=500&transient=x":                "true or false",
	} {
		if status, body := c.do("POST", path); status != http.StatusBadRequest || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	if status, _ := c.do("POST", "/sim/age/wine"); status != http.StatusNotFound {
		t.Errorf("status %d", status)
	}
}

package kustosim

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A blob is read with what its URI names, or not at all.
func TestBlobsOfOthers(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/a.json":
			w.Write([]byte("{\"web\":1}\n"))
		case "/moved.json":
			http.Redirect(w, r, "/a.json", http.StatusFound)
		case "/busy.json":
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			http.NotFound(w, r)
		}
	}))
	defer web.Close()
	c := start(t, &Options{BlobHosts: []string{strings.TrimPrefix(web.URL, "http://")}, BlobAccess: []string{"impersonate", "managed_identity=system", "token=abc"}})
	blobsOfOthers(t, c, web.URL)
}

func TestBlobsOfOthersOnAzurite(t *testing.T) {
	c := external(t, "impersonate", "managed_identity=system", "token=abc")
	blobsOfOthers(t, c, "")
}

func blobsOfOthers(t *testing.T, c *client, web string) {
	c.create()
	uri, err := c.sim.PutBlob(t.Context(), "in/rows 1.json", []byte("{\"n\":1}\n"))
	if err != nil {
		t.Fatal(err)
	}
	sas, err := c.sim.BlobSAS(uri)
	if err != nil {
		t.Fatal(err)
	}
	send := func(path, status, code string) {
		t.Helper()
		id, text := c.message(path, 8)
		c.enqueue(text)
		c.expect(id, status, code)
	}
	send(uri+"?"+sas, "Succeeded", "")
	send(uri+";impersonate", "Succeeded", "")
	send(uri+";managed_identity=system", "Succeeded", "")
	send(uri+";token=abc", "Succeeded", "")
	send(uri+";token=abd", "Failed", "Download_Forbidden")
	send(uri+";managed_identity=1b4e28ba-2fa1-11d2-883f-0016d3cca427", "Failed", "BadRequest_InvalidManagedIdentity")
	send(uri+"?sv=1&sig=x", "Failed", "Download_Forbidden")
	send(strings.Replace(uri, "rows", "gone", 1)+";impersonate", "Failed", "Download_SourceNotFound")
	rows := 4
	if web != "" {
		send(web+"/a.json", "Succeeded", "")
		send(web+"/a.json?sig=whatever", "Succeeded", "")
		send(web+"/gone.json", "Failed", "Download_SourceNotFound")
		send(web+"/moved.json", "Failed", "Download_BadRequest")
		id, text := c.message(web+"/busy.json", 8)
		c.enqueue(text)
		c.wait(func() bool { return c.sim.Stats().Retried > 0 })
		c.sim.IngestFault("db1", "t1", IngestFault{Kind: FailPermanent, Times: 1})
		c.expect(id, "Failed", "General_BadRequest")
		rows += 2
	}
	send("http://127.0.0.1:1/a.json", "Failed", "Download_AccountNotFound")
	c.count(rows)
}

func TestBlobHostsAreOfThisMachine(t *testing.T) {
	for _, host := range []string{"example.org:80", "10.0.0.1:80", "127.0.0.1", ""} {
		if sim, err := Start(&Options{BlobHosts: []string{host}}); err == nil {
			t.Errorf("%q is taken", host)
			sim.Close()
		}
	}
}

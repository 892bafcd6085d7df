package main

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"kustospool/internal/kustosim"
)

const blobSecret = "c2VjcmV0LXNpZw"

// Blobs are ingested where they are, beside files, with a SAS of each kind; a
// file among the arguments stays a file.
func TestSend_Blobs(t *testing.T) {
	for _, mode := range []string{"queued", "direct", "managed"} {
		sim := simulator(t, &kustosim.Options{AutoCreate: true})
		var urls []string
		for _, name := range []string{"a.json", "b 1.json", "c.json"} {
			uri, err := sim.PutBlob(t.Context(), name, []byte(`{"blob":"`+name+`"}`+"\n"))
			if err != nil {
				t.Fatal(err)
			}
			urls = append(urls, strings.ReplaceAll(uri, " ", "%20"))
		}
		sas, err := sim.BlobSAS(urls[0])
		if err != nil {
			t.Fatal(err)
		}
		t.Setenv(blobSASVariable, sas)
		r := kustospool(t, "", "send", "--to", sim.Endpoint(), "--spool", filepath.Join(t.TempDir(), "spool"), "--database", "D", "--table", "T", "--json",
			"--mode", mode, "--blob", urls[0]+";impersonate", urls[1]+"?"+sas, urls[2], write(t, "f.jsonl", "{\"file\":1}\n"))
		if r.code != exitOK {
			t.Fatalf("%s: exit %d: %s", mode, r.code, r.stderr)
		}
		if got := decode[report](t, r.out); got.Read != 4 || got.Ingested != 4 || sim.Count("D", "T") != 4 {
			t.Errorf("%s: %+v\n%s", mode, got, rowsOf(sim, "D", "T"))
		}
	}
}

// A SAS of the command line is gone with its process: the blob waits, the
// command says so, and a drain with the variable brings it in.
func TestSend_BlobThenDrain(t *testing.T) {
	sim := simulator(t, &kustosim.Options{AutoCreate: true})
	uri, err := sim.PutBlob(t.Context(), "a.json", []byte("{}\n"))
	if err != nil {
		t.Fatal(err)
	}
	sas, err := sim.BlobSAS(uri)
	if err != nil {
		t.Fatal(err)
	}
	spool := filepath.Join(t.TempDir(), "spool")
	dead := sim.Fault(kustosim.DM, kustosim.Fault{Kind: kustosim.Down})
	r := kustospool(t, "", "send", "--to", sim.Endpoint(), "--spool", spool, "--database", "D", "--table", "T", "--no-wait", uri+"?"+sas)
	if r.code != exitOK || !strings.Contains(r.stderr, blobSASVariable) || strings.Contains(r.stderr+r.out, "sig=") {
		t.Fatalf("exit %d: %s", r.code, r.stderr)
	}
	dead()
	t.Setenv(blobSASVariable, "?"+sas)
	if r = kustospool(t, "", "drain", "--to", sim.Endpoint(), "--spool", spool); r.code != exitOK || sim.Count("D", "T") != 1 {
		t.Errorf("exit %d, %d rows: %s", r.code, sim.Count("D", "T"), r.stderr)
	}
}

// --to sim: fetches from web servers of this machine.
func TestSend_BlobToSim(t *testing.T) {
	temporaryDir(t)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("n\n1\n2\n")) }))
	defer web.Close()
	r := kustospool(t, "", "send", "--to", "sim:", "--database", "D", "--table", "T", "--skip-header", "--rows-out", "-", web.URL+"/x.csv")
	if r.code != exitOK || r.out != "{\"c0\":\"1\"}\n{\"c0\":\"2\"}\n" {
		t.Errorf("exit %d: %s\n%s", r.code, r.out, r.stderr)
	}
}

func TestSend_BadBlobs(t *testing.T) {
	for name, args := range map[string][]string{
		"no cluster":   {"--to", "dir:" + t.TempDir(), "https://a.blob.core.windows.net/c/b.json?sig=" + blobSecret},
		"no stream":    {"--to", "sim:", "--mode", "streaming", "https://a.blob.core.windows.net/c/b.json"},
		"no format":    {"--to", "sim:", "https://a.blob.core.windows.net/c/b?sig=" + blobSecret},
		"no blob":      {"--to", "sim:", "https://a.blob.core.windows.net/?sig=" + blobSecret},
		"plain http":   {"--to", "sim:", "http://a.blob.core.windows.net/c/b.json?sig=" + blobSecret},
		"user":         {"--to", "sim:", "https://me:" + blobSecret + "@a.blob.core.windows.net/c/b.json"},
		"--blob":       {"--to", "sim:", "--blob", "rows.json"},
		"bad settings": {"--to", "sim:", "--format", "json", "--mapping", "{", "https://a.blob.core.windows.net/c/b.json"},
	} {
		spool := filepath.Join(t.TempDir(), "spool")
		r := kustospool(t, "", append([]string{"send", "--spool", spool, "--database", "D", "--table", "T"}, args...)...)
		if r.code != exitUsage || strings.Contains(r.stderr, blobSecret) {
			t.Errorf("%s: exit %d: %s", name, r.code, r.stderr)
		}
	}
}

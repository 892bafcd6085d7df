package main

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"kustospool/internal/kustosim"
	"kustospool/operate"
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
		container := urls[2][:strings.LastIndexByte(urls[2], '/')]
		t.Setenv(blobSASVariable, "https://elsewhere.blob.core.windows.net/c?sig=x "+container+"?"+sas)
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

// The size of a blob is the blob's and not its address's, in the report and in the
// history; a file of the same bytes is the control. A command of direct mode needs
// no size, and nobody is asked for it.
func TestSend_SizeOfABlob(t *testing.T) {
	data := strings.Repeat("{\"n\":1}\n", 10_000)
	for _, mode := range []string{"queued", "direct"} {
		for _, what := range []string{"blob", "control"} {
			sim := simulator(t, &kustosim.Options{AutoCreate: true})
			arg := write(t, "f.json", data)
			want := int64(len(data))
			if what == "blob" {
				if mode == "direct" {
					want = 0
				}
				uri, err := sim.PutBlob(t.Context(), "a.json", []byte(data))
				if err != nil {
					t.Fatal(err)
				}
				sas, err := sim.BlobSAS(uri)
				if err != nil {
					t.Fatal(err)
				}
				arg = uri + "?" + sas
			}
			spool := filepath.Join(t.TempDir(), "spool")
			r := kustospool(t, "", "send", "--to", sim.Endpoint(), "--spool", spool, "--database", "D", "--table", "T", "--json", "--mode", mode, arg)
			if got := decode[report](t, r.out); r.code != exitOK || got.RawBytes != want {
				t.Errorf("%s by %s: %d bytes, want %d; %s", what, mode, got.RawBytes, want, r.stderr)
			}
			h := kustospool(t, "", "history", "--spool", spool, "--json")
			if got := decode[operate.SettledBatch](t, h.out); got.RawBytes != want {
				t.Errorf("%s by %s: the history says %d bytes", what, mode, got.RawBytes)
			}
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
	if r = kustospool(t, "", "status", "--spool", spool); r.code != exitOK || !strings.Contains(r.out, "D.T (json, blobs by reference)") || strings.Contains(r.out, "sig=") {
		t.Errorf("status: exit %d: %s", r.code, r.out)
	}
	dead()
	t.Setenv(blobSASVariable, strings.TrimSuffix(uri, "/a.json")+"/?"+sas)
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

// A SAS of the environment goes to the blobs below its URL and to no others.
func TestBlobSASVariable(t *testing.T) {
	t.Setenv(blobSASVariable, "https://a.blob.core.windows.net/in?sig=1\n https://b.blob.core.windows.net/?sig=2")
	b, err := newBlobInputs()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.add("https://a.blob.core.windows.net/in/own.csv?sig=3", ""); err != nil {
		t.Fatal(err)
	}
	for uri, want := range map[string]string{
		"https://a.blob.core.windows.net/in/x.csv": "?sig=1", "https://a.blob.core.windows.net/in/own.csv": "?sig=3", "https://b.blob.core.windows.net/c/x.csv": "?sig=2",
		"https://a.blob.core.windows.net/inner/x.csv": "", "https://a.blob.core.windows.net.example.org/in/x.csv": "", "https://c.blob.core.windows.net/in/x.csv": "",
		"http://127.0.0.1:1/in/x.csv": "",
	} {
		if got, err := b.secret(t.Context(), uri); err != nil || got != want {
			t.Errorf("%s: %q, %v; want %q", uri, got, err, want)
		}
	}
	for _, bad := range []string{"?sig=" + blobSecret, "sig=" + blobSecret, "https://a.blob.core.windows.net/in", "http://a.blob.core.windows.net/in?sig=" + blobSecret} {
		t.Setenv(blobSASVariable, bad)
		for _, command := range []string{"send", "drain"} {
			r := kustospool(t, "", command, "--to", "sim:", "--spool", t.TempDir())
			if command == "send" && (r.code != exitUsage || !strings.Contains(r.stderr, blobSASVariable)) || strings.Contains(r.stderr, blobSecret) {
				t.Errorf("%s with %s: exit %d: %s", command, bad, r.code, r.stderr)
			}
		}
	}
}

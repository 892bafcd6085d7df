package queued

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/transport"
	"kustospool/transport/internal/reference"
)

// referring is a batch by reference and its payload.
func referring(t testing.TB, n int, b ingest.Blob, p ingest.Properties) (*ingest.Batch, []byte) {
	t.Helper()
	data, err := b.Record()
	if err != nil {
		t.Fatal(err)
	}
	p.ByReference = true
	batch := testBatch(p)
	batch.ID = ingest.NewBatchID(ingest.SpoolID{1}, 1, uint64(n), uint64(n))
	batch.First, batch.Last, batch.RawBytes = uint64(n), uint64(n), int64(len(data))
	return batch, data
}

// Each form of access reaches the service, over the queue and over REST; what
// it refuses waits, what is not there is dead, and nothing is uploaded.
func TestBlobsByReference(t *testing.T) {
	for _, protocol := range []Protocol{Queue, REST} {
		t.Run(fmt.Sprint(protocol), func(t *testing.T) {
			sim := startSim(t, &kustosim.Options{BlobAccess: []string{"impersonate", "managed_identity=system", "token=" + secretToken}})
			uri, err := sim.PutBlob(t.Context(), "in/rows 1.json", jsonLines)
			if err != nil {
				t.Fatal(err)
			}
			var secret string
			client := simClient(t, sim, &ClientOptions{Protocol: protocol, BlobSecret: func(context.Context, string) (string, error) { return secret, nil }})
			sas, err := sim.BlobSAS(uri)
			if err != nil {
				t.Fatal(err)
			}
			blobs := len(sim.Blobs())
			for n, tc := range []struct {
				uri, secret string
				size        int64
				class       transport.Class // 0: ingested
			}{
				{uri, "?" + sas, int64(len(jsonLines)), 0},
				{uri, sas, 0, 0},
				{uri, ";token=" + secretToken, 0, 0},
				{uri + ";impersonate", "unused", 0, 0},
				{uri + ";managed_identity=system", "unused", 0, 0},
				{uri + ";managed_identity=1b4e28ba-2fa1-11d2-883f-0016d3cca427", "", 0, transport.Held},
				{uri, "", 0, transport.Held},                            // no public access
				{uri, "sv=1&sig=" + secretSig, 0, transport.Held},       // a wrong signature
				{uri, ";token=another", 0, transport.Held},              // a token of no use
				{uri + ".gone;impersonate", "", 0, transport.Permanent}, // not there
				{"http://127.0.0.1:1/acc/c/b.json;impersonate", "", 0, transport.Permanent},
			} {
				before := sim.Count("db1", "tbl1")
				secret = tc.secret
				b, data := referring(t, n+1, ingest.Blob{URI: tc.uri, RawSize: tc.size}, ingest.Properties{Format: ingest.JSON})
				d, j := delivery(b, data)
				ack, err := client.Send(t.Context(), d)
				if err != nil || ack.State != ingest.Accepted || ack.WireBytes != 0 {
					t.Fatal(n, ack, err)
				}
				settleSim(t, sim)
				v, err := client.Track(t.Context(), []transport.Pending{{Batch: b, Progress: j.Last()}})
				if err != nil || len(v) != 1 {
					t.Fatal(n, v, err)
				}
				for _, text := range []string{string(j.Last()), fmt.Sprint(v[0].Failure)} {
					if strings.Contains(text, "sig=") || strings.Contains(text, secretToken) || strings.Contains(text, secretSig) {
						t.Errorf("%d: a secret in %s", n, text)
					}
				}
				if tc.class != 0 {
					if v[0].State != ingest.DeadLettered || v[0].Failure.Class != tc.class || sim.Count("db1", "tbl1") != before {
						t.Errorf("%d: %+v, want %v", n, v[0], tc.class)
					}
					continue
				}
				if v[0].State != ingest.Succeeded || sim.Count("db1", "tbl1") != before+2 {
					t.Errorf("%d: %+v, %d rows", n, v[0], sim.Count("db1", "tbl1")-before)
				}
				// The same order again is the same tag.
				d.Attempt, d.Progress = 2, nil
				if _, err := client.Send(t.Context(), d); err != nil {
					t.Fatal(err)
				}
				settleSim(t, sim)
				if got := sim.Count("db1", "tbl1"); got != before+2 {
					t.Errorf("%d: a repeat brought the rows to %d", n, got-before)
				}
			}
			if len(sim.Blobs()) != blobs {
				t.Errorf("%d blobs, %d before: something was uploaded or deleted", len(sim.Blobs()), blobs)
			}
		})
	}
}

// A secret that cannot be had holds its batch and sends nothing.
func TestBlobWithoutItsSecret(t *testing.T) {
	c := newCloud(t)
	client := c.client(&ClientOptions{BlobSecret: func(context.Context, string) (string, error) { return "", errors.New("sig=" + secretSig) }})
	b, data := referring(t, 1, ingest.Blob{URI: "https://acc.blob.core.windows.net/c/b.json"}, ingest.Properties{Format: ingest.JSON})
	d, j := delivery(b, data)
	_, err := client.Send(t.Context(), d)
	if e := asError(err); e == nil || e.Class != transport.Held || e.Code != reference.CodeSecret || strings.Contains(err.Error(), secretSig) {
		t.Errorf("%v", err)
	}
	if c.count("POST queue")+c.count("POST table") != 0 || j.Commits()+j.Notes() != 0 {
		t.Error("something was sent")
	}
}

// The message of a blob whose size nobody knows says nothing of the size.
func TestBlobOfUnknownSize(t *testing.T) {
	c := newCloud(t)
	client := c.client(&ClientOptions{SkipBlobProbe: true})
	b, data := referring(t, 1, ingest.Blob{URI: "https://acc.blob.core.windows.net/c/b.json;impersonate"}, ingest.Properties{Format: ingest.JSON})
	d, _ := delivery(b, data)
	if _, err := client.Send(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	m := c.messages[0].m
	if _, there := m["RawDataSize"]; there || m["BlobPath"] != "https://acc.blob.core.windows.net/c/b.json;impersonate" {
		t.Errorf("%v", m)
	}
	for _, r := range c.rows {
		if r["IngestionSourcePath"] != "https://acc.blob.core.windows.net/c/b.json" {
			t.Errorf("status row %v", r)
		}
	}
	if c.count("PUT blob")+c.count("HEAD blob") != 0 {
		t.Errorf("%v", c.requests)
	}
}

func TestStorageToken(t *testing.T) {
	secret := StorageToken(static("storage-token"), "lake.example.org")
	for _, uri := range []string{"https://a.blob.core.windows.net/c/b", "abfss://fs@a.dfs.core.windows.net/x", "https://lake.example.org/x", "https://a.blob.core.chinacloudapi.cn/c/b"} {
		if got, err := secret(t.Context(), uri); err != nil || got != ";token=storage-token" {
			t.Errorf("%s: %s, %v", uri, got, err)
		}
	}
	for _, uri := range []string{"http://127.0.0.1/c/b", "http://a.blob.core.windows.net/c/b", "https://blob.core.windows.net.example.org/c/b", "https://s3.amazonaws.com/c/b", "https://a.example.org/.dfs.core.windows.net"} {
		if got, err := secret(t.Context(), uri); err == nil || got != "" {
			t.Errorf("%s: a token is made", uri)
		}
	}
}

// theirs is a container of the cloud to which no client uploads.
const theirs = "/acc9/blob0/"

func (c *cloud) putBlob(t testing.TB, extension string, data []byte) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	path := fmt.Sprintf("%sput%d%s", theirs, len(c.blobs), extension)
	c.blobs[path] = data
	return c.URL + path
}

func (c *cloud) secret(context.Context, string) (string, error) {
	return "sv=1&sig=" + c.sas, nil
}

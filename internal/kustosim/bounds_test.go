package kustosim

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"hash/crc32"
	"io"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// member is a gzip member of n spaces: members one after the other are gzip too.
func member(t *testing.T, n int) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write(bytes.Repeat([]byte(" "), n)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// allocated is how many bytes f takes from the heap, all told.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// ingestBlob has a blob ingested that is stored as it is.
func (c *client) ingestBlob(name string, data []byte, edits ...edit) map[string]any {
	c.t.Helper()
	uri, err := c.sim.PutBlob(c.t.Context(), name, data)
	if err != nil {
		c.t.Fatal(err)
	}
	sas, err := c.sim.BlobSAS(uri)
	if err != nil {
		c.t.Fatal(err)
	}
	id, text := c.message(uri+"?"+sas, 0, edits...)
	reports := c.sim.Stats().ReportsWritten
	c.enqueue(text)
	c.wait(func() bool { return c.sim.Stats().ReportsWritten > reports }) // without asking for the status all the while
	return c.outcome(id)
}

// Less than a megabyte that becomes a gigabyte costs a few times the 64 MiB that
// any blob may become, and not the gigabyte.
func TestCompressionOutOfProportionIsRefused(t *testing.T) {
	const most = 800 << 20 // buffers double on their way, and the race detector doubles that
	c := start(t, nil)
	c.create()
	bomb := bytes.Repeat(member(t, 8<<20), 115)
	if len(bomb) > 1<<20 {
		t.Fatalf("the bomb has %d bytes", len(bomb))
	}
	var packed, archive bytes.Buffer
	deflate, err := flate.NewWriter(&packed, flate.DefaultCompression)
	if err != nil {
		t.Fatal(err)
	}
	blanks := bytes.Repeat([]byte(" "), 8<<20)
	if _, err := deflate.Write(blanks); err != nil {
		t.Fatal(err)
	}
	if err := deflate.Close(); err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(&archive)
	for i := range 100 { // of which none is over the bound
		w, err := z.CreateRaw(&zip.FileHeader{Name: strconv.Itoa(i), Method: zip.Deflate, CRC32: crc32.ChecksumIEEE(blanks),
			CompressedSize64: uint64(packed.Len()), UncompressedSize64: uint64(len(blanks))})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(packed.Bytes()); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"bomb.json.gz": bomb, "bomb.json.zip": archive.Bytes()} {
		var row map[string]any
		cost := allocated(func() { row = c.ingestBlob(name, data) })
		if row["Status"] != "Failed" || row["ErrorCode"] != "Stream_InputStreamTooLarge" {
			t.Errorf("%s: %v", name, row)
		}
		if cost > most {
			t.Errorf("%s: %d bytes cost %d", name, len(data), cost)
		}
		t.Logf("%s: %d bytes cost %d", name, len(data), cost)
	}
	c.count(0)

	// The control: proportion does not count before 64 MiB.
	small := append(bytes.Repeat(member(t, 1<<20), 8), gzipped(t, "{\"n\":1}\n")...)
	if row := c.ingestBlob("small.json.gz", small); row["Status"] != "Succeeded" {
		t.Errorf("8 MiB of blanks and a row: %v", row)
	}
	c.count(1)
}

// A Content-Length is a claim: memory comes with the data.
func TestBodyThatNeverComesCostsNothing(t *testing.T) {
	c := start(t, nil)
	root := mustParse(t, c.containers[0])
	cost := allocated(func() {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", root.Host)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		head := "PUT " + root.Path + "/claim.json?" + root.RawQuery + " HTTP/1.1\r\nHost: " + root.Host +
			"\r\nx-ms-blob-type: BlockBlob\r\nContent-Length: 1000000000\r\nExpect: 100-continue\r\n\r\n"
		if _, err := io.WriteString(conn, head); err != nil {
			t.Fatal(err)
		}
		// The simulator asks for the body when it begins to read it.
		reply := make([]byte, 64)
		n, err := conn.Read(reply)
		if err != nil || !strings.Contains(string(reply[:n]), "100 Continue") {
			t.Fatalf("it says %q, %v", reply[:n], err)
		}
	})
	if cost > 100<<20 {
		t.Errorf("a claim cost %d bytes", cost)
	}
}

// The most that a request may carry is refused beyond it as too large. Up to it,
// what is refused is refused for what it says.
func TestRequestBodiesAreBounded(t *testing.T) {
	c := start(t, &Options{MaxBlobBytes: 1 << 20})
	c.create()
	put := strings.Replace(c.containers[0], "?", "/b.json?", 1)
	block := strings.Replace(c.containers[0], "?", "/b.json?comp=block&blockid=QQ==&", 1)
	list := strings.Replace(c.containers[0], "?", "/b.json?comp=blocklist&", 1)
	messages := strings.Replace(c.queues[0], "?", "/messages?", 1)
	engine := c.sim.Endpoint()
	for _, tt := range []struct {
		name, method, uri, content string // the body is content with a filling for %
		limit                      int
	}{
		{"blob", "PUT", put, "%", 1 << 20},
		{"block", "PUT", block, "%", 1 << 20},
		{"block list", "PUT", list, "< %", 16 << 20},
		{"message", "POST", messages, "<QueueMessage><MessageText>%</MessageText></QueueMessage>", 64 << 10},
		{"entity", "POST", c.table, "x%", 1 << 20},
		{"submission", "POST", engine + "/v1/rest/ingestion/queued/db1/t1", "x%", 4 << 20},
		{"stream", "POST", engine + "/v1/rest/ingest/db1/t1?streamFormat=json", "x%", 4 << 20},
		{"command", "POST", engine + "/v1/rest/mgmt", "x%", 32 << 20},
	} {
		frame := len(tt.content) - 1
		if tt.name == "message" {
			frame = 0 // the limit is the text's
		}
		filled := func(n int) string {
			return strings.Replace(tt.content, "%", strings.Repeat(" ", n-frame), 1)
		}
		if status, said := c.body(tt.method, tt.uri, filled(tt.limit), false); status == http.StatusRequestEntityTooLarge {
			t.Errorf("%s: %d within the limit: %s", tt.name, status, said)
		}
		chunked := []bool{false, true}
		if tt.limit > 4<<20 {
			chunked = chunked[1:] // the longer way, for the sake of time
		}
		for _, chunked := range chunked {
			if status, said := c.body(tt.method, tt.uri, filled(tt.limit+1), chunked); status != http.StatusRequestEntityTooLarge {
				t.Errorf("%s, chunked %v: %d beyond the limit: %s", tt.name, chunked, status, said)
			}
		}
	}
}

// body sends a body with its length or, chunked, without.
func (c *client) body(method, uri, body string, chunked bool) (int, string) {
	c.t.Helper()
	var from io.Reader = strings.NewReader(body)
	if chunked {
		from = io.MultiReader(from) // whose length net/http does not know
	}
	req, err := http.NewRequestWithContext(c.t.Context(), method, uri, from)
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("x-ms-blob-type", "BlockBlob")
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 300))
	if err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

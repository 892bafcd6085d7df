package queued

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"kustospool/ingest"
	"kustospool/transport"
	"kustospool/transport/internal/upload"
	"kustospool/transport/transporttest"
)

var jsonLines = []byte(`{"a":1}` + "\n" + `{"a":2}` + "\n")

func jsonBatch() *ingest.Batch { return testBatch(ingest.Properties{Format: ingest.JSON}) }

func classOf(err error) transport.Class {
	if e := asError(err); e != nil {
		return e.Class
	}
	return 0
}

// What becomes of one Put Message decides between a batch that can be sent
// again and one that may be there twice. There is one POST in every case.
func TestEnqueueOutcomes(t *testing.T) {
	for name, tc := range map[string]struct {
		fault fault
		want  transport.Class
		posts int // messages that the queue has
	}{
		"reply lost":     {fault{drop: true, after: true}, transport.Unknown, 1},
		"request lost":   {fault{drop: true}, transport.Unknown, 0},
		"500":            {fault{status: 500, code: "InternalError"}, transport.Unknown, 0},
		"503":            {fault{status: 503, code: "ServerBusy"}, transport.Unknown, 0},
		"408":            {fault{status: 408}, transport.Unknown, 0},
		"captive portal": {fault{status: 200}, transport.Unknown, 0},
		"redirect":       {fault{status: 307}, transport.Transient, 0},
		"400":            {fault{status: 400, code: "InvalidInput"}, transport.Transient, 0},
		"401":            {fault{status: 401}, transport.Unauthorized, 0},
		"403 signature":  {fault{status: 403, code: "AuthenticationFailed"}, transport.Transient, 0},
		"403 permission": {fault{status: 403, code: "AuthorizationPermissionMismatch"}, transport.Unauthorized, 0},
		"404":            {fault{status: 404, code: "QueueNotFound"}, transport.Transient, 0},
		"429":            {fault{status: 429}, transport.Throttled, 0},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t)
			client := c.client(nil)
			c.setFault("POST queue", 0, tc.fault)
			d, j := delivery(jsonBatch(), jsonLines)
			_, err := client.Send(t.Context(), d)
			if classOf(err) != tc.want {
				t.Errorf("%v, want %v", err, tc.want)
			}
			if n := c.count("POST queue"); n != 1 || j.Commits() != 1 || len(c.messages) != tc.posts {
				t.Errorf("%d POSTs, %d commits, %d messages; want 1, 1, %d", n, j.Commits(), len(c.messages), tc.posts)
			}
			if err != nil && (strings.Contains(err.Error(), secretSig) || strings.Contains(err.Error(), "sig=")) {
				t.Errorf("the error holds the SAS: %v", err)
			}
		})
	}
}

// A queue that no connection can be made to was certainly not reached.
func TestEnqueueWithoutConnection(t *testing.T) {
	c := newCloud(t)
	dead := httptest.NewServer(nil)
	dead.Close()
	opts := &ClientOptions{}
	opts.Transport = carrier(func(r *http.Request) (*http.Response, error) {
		if strings.Contains(r.URL.Path, "/queue") {
			r = r.Clone(r.Context())
			r.URL.Host = strings.TrimPrefix(dead.URL, "http://")
		}
		return c.Server.Client().Do(r)
	})
	d, j := delivery(jsonBatch(), jsonLines)
	_, err := c.client(opts).Send(t.Context(), d)
	if classOf(err) != transport.Transient || j.Commits() != 1 {
		t.Errorf("%v after %d commits", err, j.Commits())
	}
}

type carrier func(*http.Request) (*http.Response, error)

func (c carrier) Do(r *http.Request) (*http.Response, error) { return c(r) }

func TestContextThatEndsInCommitPostsNothing(t *testing.T) {
	c := newCloud(t)
	ctx, cancel := context.WithCancel(t.Context())
	d, _ := delivery(jsonBatch(), jsonLines)
	d.Journal = endsInCommit{d.Journal, cancel}
	_, err := c.client(nil).Send(ctx, d)
	if classOf(err) != transport.Transient || !errors.Is(err, context.Canceled) || c.count("POST queue") != 0 {
		t.Errorf("%v after %d posts", err, c.count("POST queue"))
	}
}

// endsInCommit is a journal whose Commit is durable when the caller goes away.
type endsInCommit struct {
	transport.Journal
	cancel func()
}

func (j endsInCommit) Commit(ctx context.Context, p []byte) error {
	defer j.cancel()
	return j.Journal.Commit(ctx, p)
}

func TestUploadTriesOtherContainersAndFindsItsBlobAgain(t *testing.T) {
	c := newCloud(t)
	client := c.client(nil)
	c.setFault("PUT blob", 1, fault{status: 404, code: "ContainerNotFound"})
	c.setFaultNext("POST queue", fault{status: 404, code: "QueueNotFound"})
	d, j := delivery(jsonBatch(), jsonLines)
	if _, err := client.Send(t.Context(), d); classOf(err) != transport.Transient {
		t.Fatal(err)
	}
	if n := c.count("PUT blob"); n != 2 || j.Notes() != 2 {
		t.Fatalf("%d PUTs after %d notes, want one for each of two containers", n, j.Notes())
	}
	c.clearFault()

	again := *d
	again.Attempt, again.Progress, again.Journal = 2, j.Last(), &transporttest.Journal{}
	ack, err := client.Send(t.Context(), &again)
	if err != nil || ack.State != ingest.Accepted || ack.WireBytes != 0 {
		t.Fatal(ack, err)
	}
	if n := c.count("PUT blob"); n != 2 || len(c.blobs) != 1 {
		t.Errorf("uploaded again: %d PUTs, %d blobs", n, len(c.blobs))
	}

	// A blob that is not the one that was left is overwritten, under its name.
	c.mu.Lock()
	for path := range c.blobs {
		c.blobs[path] = []byte("somebody else's")
	}
	c.mu.Unlock()
	again.Attempt, again.Progress = 3, again.Journal.(*transporttest.Journal).Last()
	again.Journal = &transporttest.Journal{}
	if ack, err = client.Send(t.Context(), &again); err != nil || ack.WireBytes == 0 || len(c.blobs) != 1 {
		t.Errorf("%+v, %v, %d blobs", ack, err, len(c.blobs))
	}
	c.settle()
	if n := len(c.payloads("db1/tbl1")); n != 1 {
		t.Errorf("%d copies", n)
	}
	rows := 0
	for _, r := range c.rows {
		if r["PartitionKey"] == d.Batch.ID.String() {
			rows++
		}
	}
	if rows != 3 {
		t.Errorf("%d status rows for 3 attempts", rows)
	}
}

func TestUploadGivesUpAfterThreeContainers(t *testing.T) {
	c := newCloud(t)
	c.setFault("PUT blob", 0, fault{status: 403, code: "AuthorizationFailure"})
	d, j := delivery(jsonBatch(), jsonLines)
	_, err := c.client(nil).Send(t.Context(), d)
	if classOf(err) != transport.Unauthorized || c.count("PUT blob") != upload.MaxContainers || j.Notes() != upload.MaxContainers || j.Commits() != 0 {
		t.Errorf("%v after %d PUTs, %d notes, %d commits", err, c.count("PUT blob"), j.Notes(), j.Commits())
	}
}

// A large payload goes in blocks, and one that fails half way leaves nothing
// to see.
func TestBlocks(t *testing.T) {
	data := make([]byte, 2*upload.BlockBytes+12345)
	rng := rand.NewChaCha8([32]byte{7})
	rng.Read(data)
	c := newCloud(t)
	client := c.client(nil)
	b := testBatch(ingest.Properties{Format: ingest.Parquet})
	d, _ := delivery(b, nil)

	damaged := errors.New("frame 3: checksum")
	d.Payload = &transporttest.Payload{Data: data, FailAt: 2*upload.BlockBytes + 5, Err: damaged}
	if _, err := client.Send(t.Context(), d); !errors.Is(err, damaged) || asError(err) != nil {
		t.Fatal(err)
	}
	if len(c.blocks) == 0 || len(c.blobs) != 0 || c.count("POST queue") != 0 {
		t.Fatalf("%d blocks, %d blobs", len(c.blocks), len(c.blobs))
	}

	d.Payload, d.Attempt = transporttest.Bytes(data), 2
	j := &transporttest.Journal{}
	d.Journal = j
	ack, err := client.Send(t.Context(), d)
	if err != nil || ack.WireBytes != int64(len(data)) {
		t.Fatal(ack, err)
	}
	c.settle()
	if p := c.payloads("db1/tbl1"); len(p) != 1 || !bytes.Equal(p[0], data) {
		t.Error("the blob is not the payload")
	}
	if p := decodeProgress(j.Last()); p.Wire != int64(len(data)) || j.Notes() != 1 {
		t.Errorf("progress %+v after %d notes", p, j.Notes())
	}
}

// A large blob that is uploaded is not uploaded again when the attempt fails
// between that and its commit; the note is written only then.
func TestUploadBeforeAFailureIsNoted(t *testing.T) {
	data := make([]byte, 3<<19)
	rand.NewChaCha8([32]byte{7}).Read(data)
	c := newCloud(t)
	client := c.client(nil)
	d, j := delivery(testBatch(ingest.Properties{Format: ingest.Parquet}), data)
	c.setFault("POST table", 0, fault{status: 403, code: "AuthorizationFailure"})
	if _, err := client.Send(t.Context(), d); err == nil || j.Notes() != 2 || j.Commits() != 0 {
		t.Fatalf("%v after %d notes and %d commits", err, j.Notes(), j.Commits())
	}
	c.clearFault()
	next := &transporttest.Journal{}
	d.Attempt, d.Progress, d.Journal = 2, j.Last(), next
	puts := c.count("PUT blob")
	if ack, err := client.Send(t.Context(), d); err != nil || ack.WireBytes != 0 || c.count("PUT blob") != puts || next.Notes() != 0 {
		t.Errorf("%+v, %v: %d more uploads, %d notes", ack, err, c.count("PUT blob")-puts, next.Notes())
	}
}

func TestServiceDownBeforeAndAfter(t *testing.T) {
	c := newCloud(t)
	client := c.client(nil)
	c.setFault("POST mgmt", 0, fault{status: 503})
	d, j := delivery(jsonBatch(), jsonLines)
	if _, err := client.Send(t.Context(), d); classOf(err) != transport.Transient || j.Notes() != 0 {
		t.Fatal(err)
	}
	c.clearFault()
	if _, err := client.Send(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	// What was learned serves on: the queue path does not need the service.
	c.setFault("POST mgmt", 0, fault{drop: true})
	other := jsonBatch()
	other.ID = ingest.NewBatchID(ingest.SpoolID{1}, 1, 6, 9)
	d, _ = delivery(other, jsonLines)
	if _, err := client.Send(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if n := c.count("POST mgmt"); n != 3 {
		t.Errorf("%d management requests, want one that failed and two", n)
	}
}

func TestHandedOverBatchesHaveNoStatusRow(t *testing.T) {
	c := newCloud(t)
	b := jsonBatch()
	b.Confirm = ingest.ConfirmAccepted
	d, _ := delivery(b, jsonLines)
	if ack, err := c.client(nil).Send(t.Context(), d); err != nil || ack.State != ingest.HandedOver {
		t.Fatal(ack, err)
	}
	if c.count("POST table")+c.count("GET table") != 0 || c.messages[0].m["IngestionStatusInTable"] != nil || c.messages[0].m["ReportLevel"] != 0.0 {
		t.Errorf("requests %v, message %s", c.requests, c.messages[0].text)
	}
}

func TestEmptyBatchAndLongMessageAreRefusedBeforeTheUpload(t *testing.T) {
	c := newCloud(t)
	client := c.client(nil)
	d, j := delivery(jsonBatch(), nil)
	if _, err := client.Send(t.Context(), d); classOf(err) != transport.Permanent {
		t.Error(err)
	}
	d, _ = delivery(testBatch(ingest.Properties{Format: ingest.JSON, Tags: bigTags()}), jsonLines)
	if _, err := client.Send(t.Context(), d); classOf(err) != transport.Permanent {
		t.Error(err)
	}
	if c.count("PUT blob") != 0 || j.Notes() != 0 {
		t.Error("something was uploaded")
	}
}

func TestNewClientValidates(t *testing.T) {
	_, err := NewClient("https:/typo.kusto.windows.net", nil, &ClientOptions{UploadTimeout: 1, RequestTimeout: -1, CompressionLevel: 12, TrackInterval: time.Nanosecond,
		ConnectTimeout: 1, TLSTimeout: 1, HeaderTimeout: 1, StallTimeout: 1, MinRate: -1, Outcomes: 9, Protocol: 9})
	if !errors.Is(err, ingest.ErrInvalid) {
		t.Fatal(err)
	}
	for _, field := range []string{"endpoint", "UploadTimeout", "RequestTimeout", "CompressionLevel", "TrackInterval", "ConnectTimeout", "TLSTimeout", "HeaderTimeout", "StallTimeout", "MinRate", "Outcomes", "Protocol"} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("%s is not reported: %v", field, err)
		}
	}
	if _, err := NewClient("https://c.kusto.windows.net", nil, nil); !errors.Is(err, ingest.ErrInvalid) {
		t.Error("no credential for a real cluster")
	}
}

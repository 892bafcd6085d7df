package kustosim

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"

	"kustospool/internal/testutil/azurite"
)

func external(t *testing.T, access ...string) *client {
	az := azurite.Start(t)
	return start(t, &Options{Storage: &ExternalStorage{BlobURL: az.BlobURL, QueueURL: az.QueueURL, TableURL: az.TableURL, Account: az.Account, Key: az.Key}, BlobAccess: access})
}

func TestAzuriteIngestion(t *testing.T) {
	c := external(t)
	c.create()
	c.expect(c.send("a b.json.gz", "{\"n\":1}\n"), "Succeeded", "")
	c.expect(c.send("b.json", "{\"n\":2}\n", tagged("x")), "Succeeded", "")
	c.expect(c.send("c.json", "{\"n\":2}\n", tagged("x")), "Skipped", "Skipped_IngestByTagAlreadyExists")
	c.expect(c.send("d.json", "{}\n", field("TableName", "no")), "Failed", "BadRequest_TableNotExist")
	if rows := rowsText(c.sim.Rows("db1", "t1")); rows != "{\"n\":1}\n{\"n\":2}\n" {
		t.Errorf("rows are %s", rows)
	}
	stream := c.blob(c.containers[1], "stream.json")
	data := strings.Repeat("{\"n\":3}\n", 1<<16)
	if _, err := stream.UploadStream(t.Context(), strings.NewReader(data), &blockblob.UploadStreamOptions{BlockSize: 1 << 17, Concurrency: 2}); err != nil {
		t.Fatal(err)
	}
	id, text := c.message(stream.URL(), len(data), field("RetainBlobOnSuccess", false), field("ReportMethod", "QueueAndTable"))
	if _, err := c.queue(c.queues[1]).EnqueueMessage(t.Context(), text, nil); err != nil {
		t.Fatal(err)
	}
	c.expect(id, "Succeeded", "")
	c.count(1<<16 + 2)
	_, err := stream.GetProperties(t.Context(), nil)
	if !responds(http.StatusNotFound, "BlobNotFound")(err) {
		t.Errorf("the ingested blob: %v", err)
	}
	c.wait(func() bool { return c.sim.Stats().ReportsWritten == 6 })
	report, err := c.queue(c.success).DequeueMessage(t.Context(), nil)
	if err != nil || len(report.Messages) != 1 {
		t.Fatalf("the success queue has %v, %v", report.Messages, err)
	}
	if body, err := base64.StdEncoding.DecodeString(*report.Messages[0].MessageText); err != nil || !bytes.Contains(body, []byte(id)) {
		t.Errorf("the report is %s, %v", body, err)
	}
	gone, text := c.message(stream.URL(), len(data))
	c.enqueue(text)
	c.expect(gone, "Failed", "Download_SourceNotFound")
	forbidden, text := c.message(strings.Replace(stream.URL(), "sig=", "sig=A", 1), len(data))
	c.enqueue(text)
	c.expect(forbidden, "Failed", "Download_Forbidden")
	if s := c.sim.Stats(); s.ReportsFailed != 0 || s.RawSizeMismatch != 0 {
		t.Errorf("stats are %+v", s)
	}
}

func TestAzuriteFaultsAndRotation(t *testing.T) {
	c := external(t)
	c.create()
	uri := c.upload("a.json", "{}\n")
	remove := c.sim.Fault(Queue, Fault{Kind: DropReply, Times: 1})
	first, text := c.message(uri, 3, tagged("x"))
	if _, err := c.queue(c.queues[0]).EnqueueMessage(t.Context(), text, nil); !noReply(err) {
		t.Fatalf("the enqueue gives %v", err)
	}
	remove()
	c.expect(first, "Succeeded", "")
	remove = c.sim.Fault(Blob, Fault{Kind: Respond, Status: 503})
	if _, err := c.blob(c.containers[0], "b").UploadBuffer(t.Context(), []byte("x"), nil); !responds(503, "ServerBusy")(err) {
		t.Errorf("the upload gives %v", err)
	}
	remove()
	old := c.containers[0]
	if err := c.sim.Rotate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.blob(old, "b").UploadBuffer(t.Context(), []byte("x"), nil); !responds(404, "ContainerNotFound")(err) {
		t.Errorf("the upload gives %v", err)
	}
	c.discover()
	c.expect(c.send("b.json", "{}\n"), "Succeeded", "")
	c.count(2)
}

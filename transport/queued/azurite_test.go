package queued

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue/v2"
	"github.com/klauspost/compress/gzip"

	"kustospool/ingest"
	"kustospool/internal/testutil/azurite"
	"kustospool/transport"
	"kustospool/transport/internal/upload"
	"kustospool/transport/transporttest"
)

// dm is a data management endpoint that lends real storage.
func dm(t *testing.T, container, queue, table string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in struct{ CSL string }
		json.NewDecoder(r.Body).Decode(&in)
		if in.CSL == ".get kusto identity token" {
			fmt.Fprintf(w, `{"Tables":[{"TableName":"Table_0","Columns":[{"ColumnName":"AuthorizationContext"}],"Rows":[[%q]]}]}`, secretToken)
			return
		}
		fmt.Fprintf(w, `{"Tables":[{"TableName":"Table_0","Columns":[{"ColumnName":"ResourceTypeName"},{"ColumnName":"StorageRoot"}],"Rows":[`+
			`["TempStorage",%q],["SecuredReadyForAggregationQueue",%q],["IngestionsStatusTable",%q]]}]}`, container, queue, table)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// Real blobs, a real queue and a real table take what this client sends, and
// what it wrote can be used by the service through the message alone.
func TestAgainstAzurite(t *testing.T) {
	az := azurite.Start(t)
	container, queue, table := az.Container(t), az.Queue(t), az.Table(t)
	client, err := NewClient(dm(t, container, queue, table), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()

	large := make([]byte, upload.BlockBytes+100_000)
	rng := rand.NewChaCha8([32]byte{1})
	rng.Read(large)
	for i, tc := range []struct {
		format ingest.Format
		data   []byte
	}{{ingest.JSON, jsonLines}, {ingest.CSV, bytes.Repeat([]byte("a,b\n"), 100_000)}, {ingest.Parquet, large}, {ingest.Parquet, large[:upload.BlockBytes]}} {
		b := testBatch(ingest.Properties{Format: tc.format})
		b.ID = ingest.NewBatchID(ingest.SpoolID{1}, 1, uint64(i+1), uint64(i+1))
		d, j := delivery(b, tc.data)
		ack, err := client.Send(t.Context(), d)
		if err != nil || ack.State != ingest.Accepted || ack.WireBytes == 0 {
			t.Fatal(ack, err)
		}
		m := receive(t, queue)
		if got := download(t, m["BlobPath"].(string)); !bytes.Equal(got, tc.data) {
			t.Errorf("%s: the blob has %d bytes, the payload %d", tc.format, len(got), len(tc.data))
		}
		pending := []transport.Pending{{Batch: b, Progress: j.Last()}}
		if v, err := client.Track(t.Context(), pending); err != nil || len(v) != 0 {
			t.Errorf("before the outcome: %v, %v", v, err)
		}

		// A repeat finds its blob, and another row for itself.
		d.Attempt, d.Progress, d.Journal = 2, j.Last(), &transporttest.Journal{}
		if ack, err = client.Send(t.Context(), d); err != nil || ack.WireBytes != 0 {
			t.Errorf("repeat: %+v, %v", ack, err)
		}
		m = receive(t, queue)
		writeOutcome(t, m, map[string]any{"Status": "Failed", "FailureStatus": "Permanent", "ErrorCode": "BadRequest_TableNotExist"})
		pending[0].Progress = d.Journal.(*transporttest.Journal).Last()
		if v, err := client.Track(t.Context(), pending); err != nil || len(v) != 1 || v[0].State != ingest.DeadLettered || v[0].Failure.Class != transport.Held {
			t.Errorf("after the outcome: %+v, %v", v, err)
		}
		// The same attempt again, as after a crash: the row stays.
		d.Progress = nil
		if _, err = client.Send(t.Context(), d); err != nil {
			t.Error(err)
		}
		writeOutcome(t, receive(t, queue), map[string]any{"Status": "Succeeded"})
		d.Attempt, d.Progress = 3, pending[0].Progress
		if ack, err = client.Send(t.Context(), d); err != nil || ack.State != ingest.Skipped {
			t.Errorf("after success: %+v, %v", ack, err)
		}
	}
}

// A container and a queue that are gone, and a SAS that is not right.
func TestAzuriteRefuses(t *testing.T) {
	az := azurite.Start(t)
	container, queue, table := az.Container(t), az.Queue(t), az.Table(t)
	for name, tc := range map[string]struct {
		container, queue, table string
		want                    transport.Class
		code                    string
	}{
		"no container": {az.ContainerSAS("absent", "rwdl", soon()), queue, table, transport.Transient, "ContainerNotFound"},
		"no queue":     {container, az.QueueSAS("absent", "a", soon()), table, transport.Transient, "QueueNotFound"},
		"no table":     {container, queue, az.TableSAS("absent", "raud", soon()), transport.Transient, "TableNotFound"},
		"bad SAS":      {container + "x", queue, table, transport.Unauthorized, "AuthorizationFailure"},
	} {
		client, err := NewClient(dm(t, tc.container, tc.queue, tc.table), nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		d, _ := delivery(jsonBatch(), jsonLines)
		_, err = client.Send(t.Context(), d)
		if e := asError(err); e == nil || e.Class != tc.want || e.Code != tc.code {
			t.Errorf("%s: %v, want %v %s", name, err, tc.want, tc.code)
		}
		client.Close()
	}
}

func receive(t *testing.T, queue string) map[string]any {
	t.Helper()
	client, err := azqueue.NewQueueClientWithNoCredential(queue, &azqueue.ClientOptions{ClientOptions: closing(t)})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.DequeueMessage(t.Context(), nil)
	if err != nil || len(resp.Messages) != 1 {
		t.Fatal(len(resp.Messages), err)
	}
	got := resp.Messages[0]
	if _, err := client.DeleteMessage(t.Context(), *got.MessageID, *got.PopReceipt, nil); err != nil {
		t.Fatal(err)
	}
	text, err := base64.StdEncoding.DecodeString(*got.MessageText)
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func download(t *testing.T, path string) []byte {
	t.Helper()
	client, err := blob.NewClientWithNoCredential(path, &blob.ClientOptions{ClientOptions: closing(t)})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.DownloadStream(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var r io.Reader = resp.Body
	if bytes.Contains([]byte(path), []byte(".gz?")) {
		if r, err = gzip.NewReader(resp.Body); err != nil {
			t.Fatal(err)
		}
	}
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// writeOutcome writes to the status row as the service does: by what the message says.
func writeOutcome(t *testing.T, m map[string]any, values map[string]any) {
	t.Helper()
	where := m["IngestionStatusInTable"].(map[string]any)
	client, err := aztables.NewClientWithNoCredential(where["TableConnectionString"].(string), &aztables.ClientOptions{ClientOptions: closing(t)})
	if err != nil {
		t.Fatal(err)
	}
	values["PartitionKey"], values["RowKey"] = where["PartitionKey"], where["RowKey"]
	entity, err := json.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.UpdateEntity(t.Context(), entity, &aztables.UpdateEntityOptions{UpdateMode: aztables.UpdateModeMerge}); err != nil {
		t.Fatal(err)
	}
}

// closing are options whose connections end with the test.
func closing(t *testing.T) azcore.ClientOptions {
	c := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(c.CloseIdleConnections)
	return azcore.ClientOptions{Transport: c}
}

func soon() time.Time { return time.Now().Add(time.Hour) }

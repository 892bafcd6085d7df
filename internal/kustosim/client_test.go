package kustosim

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	blobcontainer "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue/v2"
	"github.com/google/uuid"
	"github.com/klauspost/compress/gzip"
)

// client is a queued client of the simulator, made of the real Azure SDKs.
type client struct {
	t     *testing.T
	sim   *Sim
	http  *http.Client
	token string

	containers, queues []string
	table              string
	success, failure   string
}

func start(t *testing.T, opts *Options) *client {
	t.Helper()
	sim, err := Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	return connect(t, sim)
}

func connect(t *testing.T, sim *Sim) *client {
	t.Helper()
	c := &client{t: t, sim: sim, http: &http.Client{Transport: &http.Transport{}}}
	t.Cleanup(func() {
		c.http.CloseIdleConnections()
		if err := sim.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	c.discover()
	return c
}

// discover reads resources and token, as a client does before it ingests.
func (c *client) discover() {
	c.t.Helper()
	c.containers, c.queues = nil, nil
	for _, row := range c.command("NetDefaultDB", ".get ingestion resources") {
		kind, root := row["ResourceTypeName"].(string), row["StorageRoot"].(string)
		switch kind {
		case "TempStorage":
			c.containers = append(c.containers, root)
		case "SecuredReadyForAggregationQueue":
			c.queues = append(c.queues, root)
		case "IngestionsStatusTable":
			c.table = root
		case "SuccessfulIngestionsQueue":
			c.success = root
		case "FailedIngestionsQueue":
			c.failure = root
		}
	}
	rows := c.command("NetDefaultDB", ".get kusto identity token")
	if len(rows) != 1 || len(rows[0]) != 1 {
		c.t.Fatalf("the token reply is %v, want one row of one column", rows)
	}
	c.token = rows[0]["AuthorizationContext"].(string)
}

// post sends a command and returns status and body.
func (c *client) post(path, db, csl string) (int, []byte) {
	c.t.Helper()
	body, _ := json.Marshal(map[string]any{"db": db, "csl": csl, "properties": map[string]any{"Options": map[string]any{}}})
	reply, err := c.http.Post(c.sim.Endpoint()+path, "application/json", bytes.NewReader(body))
	if err != nil {
		c.t.Fatalf("%s: %v", csl, err)
	}
	defer reply.Body.Close()
	text, err := io.ReadAll(reply.Body)
	if err != nil {
		c.t.Fatalf("%s: %v", csl, err)
	}
	return reply.StatusCode, text
}

// command runs a management command and returns its rows by column name.
func (c *client) command(db, csl string) []map[string]any {
	c.t.Helper()
	status, text := c.post("/v1/rest/mgmt", db, csl)
	if status != http.StatusOK {
		c.t.Fatalf("%s: %d %s", csl, status, text)
	}
	return decodeTable(c.t, text)
}

func decodeTable(t *testing.T, text []byte) []map[string]any {
	t.Helper()
	var set struct {
		Tables []struct {
			TableName string
			Columns   []struct{ ColumnName, DataType, ColumnType string }
			Rows      [][]any
		}
	}
	if err := json.Unmarshal(text, &set); err != nil || len(set.Tables) != 1 {
		t.Fatalf("not a dataset of one table: %v: %s", err, text)
	}
	var rows []map[string]any
	for _, r := range set.Tables[0].Rows {
		row := make(map[string]any)
		for i, col := range set.Tables[0].Columns {
			row[col.ColumnName] = r[i]
		}
		rows = append(rows, row)
	}
	return rows
}

func (c *client) sdk() azcore.ClientOptions {
	return azcore.ClientOptions{Transport: c.http, Retry: policy.RetryOptions{MaxRetries: -1}}
}

func (c *client) blob(root, name string) *blockblob.Client {
	c.t.Helper()
	cont, err := blobcontainer.NewClientWithNoCredential(root, &blobcontainer.ClientOptions{ClientOptions: c.sdk()})
	if err != nil {
		c.t.Fatal(err)
	}
	return cont.NewBlockBlobClient(name)
}

// upload stores data in the first container and returns the blob's URI with
// its SAS. A name that ends in .gz compresses.
func (c *client) upload(name, data string) string {
	c.t.Helper()
	blob := c.blob(c.containers[0], name)
	if strings.HasSuffix(name, ".gz") {
		data = gzipped(c.t, data)
	}
	if _, err := blob.UploadBuffer(c.t.Context(), []byte(data), nil); err != nil {
		c.t.Fatal(err)
	}
	return blob.URL()
}

func gzipped(t *testing.T, data string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := io.WriteString(z, data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func (c *client) queue(root string) *azqueue.QueueClient {
	c.t.Helper()
	q, err := azqueue.NewQueueClientWithNoCredential(root, &azqueue.ClientOptions{ClientOptions: c.sdk()})
	if err != nil {
		c.t.Fatal(err)
	}
	return q
}

func (c *client) status() *aztables.Client {
	c.t.Helper()
	table, err := aztables.NewClientWithNoCredential(c.table, &aztables.ClientOptions{ClientOptions: c.sdk()})
	if err != nil {
		c.t.Fatal(err)
	}
	return table
}

// edit changes a message before it is sent.
type edit func(message, properties map[string]any)

func format(name string) edit { return property("format", name) }

func property(name string, value any) edit {
	return func(_, p map[string]any) { p[name] = value }
}

func field(name string, value any) edit {
	return func(m, _ map[string]any) { m[name] = value }
}

// tagged gives the message the pair that makes it exactly once.
func tagged(value string) edit {
	return func(_, p map[string]any) {
		p["tags"], p["ingestIfNotExists"] = fmt.Sprintf(`["ingest-by:%s"]`, value), fmt.Sprintf(`["%s"]`, value)
	}
}

// message builds a message for db1.t1 that reports everything to the status
// table.
func (c *client) message(blob string, rawSize int, edits ...edit) (id, text string) {
	id = uuid.NewString()
	props := map[string]any{"authorizationContext": c.token, "format": "json"}
	m := map[string]any{"Id": id, "BlobPath": blob, "RawDataSize": rawSize, "DatabaseName": "db1", "TableName": "t1", "RetainBlobOnSuccess": true,
		"ReportLevel": 2, "ReportMethod": 1, "AdditionalProperties": props,
		"IngestionStatusInTable": map[string]any{"TableConnectionString": c.table, "PartitionKey": id, "RowKey": id}}
	for _, e := range edits {
		e(m, props)
	}
	data, _ := json.Marshal(m)
	return id, base64.StdEncoding.EncodeToString(data)
}

func (c *client) enqueue(text string) {
	c.t.Helper()
	if _, err := c.queue(c.queues[0]).EnqueueMessage(c.t.Context(), text, nil); err != nil {
		c.t.Fatal(err)
	}
}

// send uploads and enqueues, and returns the id of the message.
func (c *client) send(name, data string, edits ...edit) string {
	c.t.Helper()
	id, text := c.message(c.upload(name, data), len(data), edits...)
	c.enqueue(text)
	return id
}

// row reads a status entity; nil if there is none.
func (c *client) row(id string) map[string]any {
	c.t.Helper()
	reply, err := c.status().GetEntity(c.t.Context(), id, id, nil)
	var refused *azcore.ResponseError
	if errors.As(err, &refused) && refused.StatusCode == http.StatusNotFound {
		return nil
	}
	if err != nil {
		c.t.Fatal(err)
	}
	var row map[string]any
	if err := json.Unmarshal(reply.Value, &row); err != nil {
		c.t.Fatal(err)
	}
	return row
}

// outcome waits for the last word on a message.
func (c *client) outcome(id string) map[string]any {
	c.t.Helper()
	var row map[string]any
	c.wait(func() bool {
		row = c.row(id)
		return row != nil && row["Status"] != "Pending" && row["FailureStatus"] != Transient
	})
	return row
}

func (c *client) expect(id, status, code string) map[string]any {
	c.t.Helper()
	row := c.outcome(id)
	got, _ := row["ErrorCode"].(string)
	if row["Status"] != status || got != code {
		c.t.Errorf("outcome is %v %q (%v), want %s %q", row["Status"], got, row["Details"], status, code)
	}
	return row
}

func (c *client) wait(cond func() bool) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 20*time.Second)
	defer cancel()
	if err := c.sim.Wait(ctx, cond); err != nil {
		c.t.Fatalf("%v; stats %+v", err, c.sim.Stats())
	}
}

func (c *client) count(want int) {
	c.t.Helper()
	if got := c.sim.Count("db1", "t1"); got != want {
		c.t.Errorf("%d rows, want %d; stats %+v", got, want, c.sim.Stats())
	}
}

func (c *client) create(columns ...Column) {
	c.t.Helper()
	if err := c.sim.CreateTable("db1", "t1", columns...); err != nil {
		c.t.Fatal(err)
	}
}

func mustParse(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func encode(t *testing.T, m map[string]any) string {
	t.Helper()
	data, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(data)
}

func rowsText(rows []Row) string {
	var b strings.Builder
	for _, r := range rows {
		b.Write(r)
		b.WriteByte('\n')
	}
	return b.String()
}

package kustosim

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// run sends a command under a client request id and returns the status, the
// rows of a 200 and the body of anything else. A lost connection is status 0.
func (c *client) run(id, csl string) (int, []map[string]any, string) {
	c.t.Helper()
	body := fmt.Sprintf(`{"db":"db1","csl":%q}`, csl)
	req, err := http.NewRequest(http.MethodPost, c.sim.Endpoint()+"/v1/rest/mgmt", strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("x-ms-client-request-id", id)
	reply, err := c.http.Do(req)
	if err != nil {
		return 0, nil, err.Error()
	}
	defer reply.Body.Close()
	text, err := io.ReadAll(reply.Body)
	if err != nil {
		return 0, nil, err.Error()
	}
	if reply.StatusCode != http.StatusOK {
		return reply.StatusCode, nil, string(text)
	}
	return reply.StatusCode, decodeTable(c.t, text), ""
}

// logged is the state of a command in the log; empty where it is not there.
func (c *client) logged(id string) string {
	c.t.Helper()
	rows := c.command("db1", ".show commands | where ClientActivityId == '"+id+"'")
	if len(rows) == 0 {
		return ""
	}
	return rows[0]["State"].(string)
}

// noExtent is the id that a command replies whose tag was there.
const noExtent = "00000000-0000-0000-0000-000000000000"

func TestIngestInto(t *testing.T) {
	c := start(t, nil)
	c.create(Column{Name: "a", Type: "long"}, Column{Name: "b", Type: "string"})
	one, two := c.upload("1.csv", "1,x\n2,y\n"), c.upload("2.csv", "3,z\n")
	into := fmt.Sprintf(".ingest into table t1 (h'%s', h'%s') with (format='csv', tags='[\"ingest-by:k\"]', ingestIfNotExists='[\"k\"]')", one, two)
	status, rows, text := c.run("r1", into)
	if status != 200 || len(rows) != 1 || rows[0]["ExtentId"] == noExtent || rows[0]["HasErrors"] != false && rows[0]["HasErrors"] != float64(0) {
		t.Fatalf("%d %v %s", status, rows, text)
	}
	if n, extents := c.sim.Count("db1", "t1"), c.sim.Extents("db1", "t1"); n != 3 || len(extents) != 1 {
		t.Errorf("%d rows, extents %v", n, extents)
	}
	// A repeat makes no extent, and the log tells both as completed.
	status, rows, _ = c.run("r2", into)
	if status != 200 || rows[0]["ExtentId"] != noExtent || c.sim.Count("db1", "t1") != 3 {
		t.Errorf("the repeat: %d %v", status, rows)
	}
	if c.logged("r1") != "Completed" || c.logged("r2") != "Completed" || c.logged("r3") != "" {
		t.Errorf("the log says %q, %q, %q", c.logged("r1"), c.logged("r2"), c.logged("r3"))
	}
	tagged := c.command("db1", ".show table t1 extents where tags has 'ingest-by:k'")
	if len(tagged) != 1 || tagged[0]["RowCount"] != float64(3) {
		t.Errorf("extents by tag: %v", tagged)
	}
	if rows := c.command("db1", ".show table t1 extents where tags has 'ingest-by:other'"); len(rows) != 0 {
		t.Errorf("extents by another tag: %v", rows)
	}
}

func TestIngestCommandsThatFail(t *testing.T) {
	c := start(t, nil)
	c.create(Column{Name: "a", Type: "long"})
	good := c.upload("1.csv", "1\n")
	for csl, want := range map[string]struct {
		status int
		code   string
	}{
		".ingest into table t1 (h'" + good + "') with (format='csv'":                                  {400, "General_BadRequest"},
		".ingest into table t1 () with (format='csv')":                                                {400, "General_BadRequest"},
		".ingest into table t1":                                                                       {400, "General_BadRequest"},
		".ingest into table t1 (h'" + good + "') | take 1":                                            {400, "General_BadRequest"},
		".ingest into table no (h'" + good + "') with (format='csv')":                                 {400, "NotExist"},
		".ingest into table t1 (h'" + good + "') with (format='nonsense')":                            {400, "ormat"},
		".ingest into table t1 (h'" + good + "') with (format='csv', ingestionMappingReference='no')": {400, "Mapping"},
		".ingest into table t1 (h'" + good + "x') with (format='csv')":                                {400, "_"},
	} {
		status, _, text := c.run("x", csl)
		if status != want.status && status != 500 || !strings.Contains(text, want.code) {
			t.Errorf("%s\n%d %s; want %v", csl, status, text, want)
		}
	}
	if n := c.sim.Count("db1", "t1"); n != 0 {
		t.Errorf("%d rows of commands that fail", n)
	}
	rows := c.command("db1", ".show commands")
	for _, r := range rows {
		if r["State"] != "Failed" || r["FailureReason"] == "" {
			t.Errorf("the log has %v", r)
		}
	}
	if len(rows) == 0 {
		t.Error("the log has none of them")
	}
}

func TestIngestInline(t *testing.T) {
	c := start(t, nil)
	c.create(Column{Name: "a", Type: "long"}, Column{Name: "b", Type: "string"})
	status, rows, text := c.run("r", ".ingest inline into table t1 with (format='csv') <|\n1,\"it's <| data, 'quoted'\"\n2,.drop table t1")
	if status != 200 || len(rows) != 1 {
		t.Fatalf("%d %s", status, text)
	}
	if got := c.sim.Rows("db1", "t1"); len(got) != 2 || !strings.Contains(string(got[0]), "it's <| data") || !strings.Contains(string(got[1]), ".drop table t1") {
		t.Errorf("rows %s", got)
	}
	if status, _, _ := c.run("r", ".ingest inline into table t1 with (format='csv') <|\n \n"); status != 400 {
		t.Errorf("no data: %d", status)
	}
	if status, _, _ := c.run("r", ".show tables <| x"); status != 400 {
		t.Errorf("data behind another command: %d", status)
	}
}

// An async command answers with its operation at once and is carried out behind
// that; what would be an error reply is the state of the operation.
func TestIngestAsync(t *testing.T) {
	c := start(t, &Options{IngestCapacity: 1})
	c.create(Column{Name: "a", Type: "long"})
	release := c.sim.IngestFault("db1", "t1", IngestFault{Kind: Hold})
	good := c.upload("1.csv", "1\n")
	begin := func(id, with string) string {
		status, rows, text := c.run(id, ".ingest async into table t1 (h'"+good+"') with (format='csv'"+with+")")
		if status != 200 || len(rows) != 1 {
			t.Fatalf("%d %s", status, text)
		}
		return rows[0]["OperationId"].(string)
	}
	state := func(operation string) string {
		rows := c.command("db1", ".show operations "+operation)
		if len(rows) != 1 || rows[0]["OperationId"] != operation {
			t.Fatalf("operation %s: %v", operation, rows)
		}
		return rows[0]["State"].(string)
	}
	idle := func() { c.wait(func() bool { return c.sim.CommandsUnderWay() == 0 }) }

	first := begin("r1", "")
	if s := state(first); s != "InProgress" {
		t.Errorf("just begun: %s", s)
	}
	if c.logged("r1") != "" || c.sim.Count("db1", "t1") != 0 {
		t.Error("a command under way is in the log of those that have ended, or has rows")
	}
	c.wait(func() bool { return c.sim.PeakIngestions() == 1 })
	over := begin("r2", "")
	c.wait(func() bool { return c.sim.Stats().Throttled == 1 })
	release()
	idle()
	if s := state(first); s != "Completed" || c.logged("r1") != "Completed" || c.sim.Count("db1", "t1") != 1 {
		t.Errorf("at its end: %s, in the log %q, %d rows", s, c.logged("r1"), c.sim.Count("db1", "t1"))
	}
	if s := state(over); s != "Throttled" {
		t.Errorf("over capacity: %s", s)
	}
	tag := `, tags='["ingest-by:k"]', ingestIfNotExists='["k"]'`
	begin("r3", tag)
	idle()
	again := begin("r4", tag)
	idle()
	if s := state(again); s != "Skipped" {
		t.Errorf("a repeat: %s", s)
	}
	failed := begin("r5", ", ingestionMappingReference='no'")
	idle()
	if s := state(failed); s != "Failed" {
		t.Errorf("without its mapping: %s", s)
	}
	if rows := c.command("db1", ".show operations ("+first+", "+failed+")"); len(rows) != 2 {
		t.Errorf("two operations: %v", rows)
	}
	if rows := c.command("db1", ".show operations 00000000-0000-0000-0000-000000000001"); len(rows) != 0 {
		t.Errorf("an operation that never was: %v", rows)
	}
}

func TestCapacityAndThrottling(t *testing.T) {
	c := start(t, &Options{IngestCapacity: 2})
	c.create(Column{Name: "a", Type: "long"})
	release := c.sim.IngestFault("db1", "t1", IngestFault{Kind: Hold})
	good := c.upload("1.csv", "1\n")
	capacity := func() (total, consumed, remaining float64) {
		rows := c.command("", ".show capacity ingestions")
		if len(rows) != 1 {
			t.Fatalf("%v", rows)
		}
		return rows[0]["Total"].(float64), rows[0]["Consumed"].(float64), rows[0]["Remaining"].(float64)
	}
	if total, consumed, remaining := capacity(); total != 2 || consumed != 0 || remaining != 2 {
		t.Errorf("idle: %v %v %v", total, consumed, remaining)
	}
	into := ".ingest into table t1 (h'" + good + "') with (format='csv')"
	for range 2 {
		if status, _, _ := c.run("a", strings.Replace(into, "into", "async into", 1)); status != 200 {
			t.Fatal(status)
		}
	}
	c.wait(func() bool { return c.sim.PeakIngestions() == 2 })
	if _, consumed, remaining := capacity(); consumed != 2 || remaining != 0 {
		t.Errorf("busy: %v consumed, %v remain", consumed, remaining)
	}
	status, _, text := c.run("b", into)
	if status != 429 || !strings.Contains(text, "Throttled") || c.logged("b") != "Throttled" {
		t.Errorf("a third: %d %s, in the log %q", status, text, c.logged("b"))
	}
	release()
	c.wait(func() bool { return c.sim.CommandsUnderWay() == 0 })
	if status, _, _ := c.run("b2", into); status != 200 || c.sim.Count("db1", "t1") != 3 {
		t.Errorf("afterwards: %d, %d rows", status, c.sim.Count("db1", "t1"))
	}
}

// The reply fails and the effect does not, and the other way round.
func TestCommitThenGatewayTimeout(t *testing.T) {
	c := start(t, nil)
	c.create(Column{Name: "a", Type: "long"})
	into := ".ingest into table t1 (h'" + c.upload("1.csv", "1\n") + "') with (format='csv')"
	for i, f := range []struct {
		fault  Fault
		status int
		there  bool
	}{
		{Fault{Kind: RespondLate, Status: 504}, 504, true},
		{Fault{Kind: RespondLate, Status: 520}, 520, true},
		{Fault{Kind: DropReply}, 0, true},
		{Fault{Kind: Respond, Status: 504}, 504, false},
		{Fault{Kind: DropRequest}, 0, false},
	} {
		f.fault.PathContains, f.fault.Times = ".ingest into", 1
		before, id := c.sim.Count("db1", "t1"), fmt.Sprint("r", i)
		c.sim.Fault(Engine, f.fault)
		status, _, _ := c.run(id, into)
		if there := c.sim.Count("db1", "t1") == before+1; status != f.status || there != f.there || (c.logged(id) == "Completed") != f.there {
			t.Errorf("%v: status %d, there %t, in the log %q", f.fault.Kind, status, there, c.logged(id))
		}
	}
}

// stream posts data and returns status and body.
func (c *client) stream(query, encoding string, data []byte) (int, string) {
	c.t.Helper()
	req, err := http.NewRequest(http.MethodPost, c.sim.Endpoint()+"/v1/rest/ingest/db1/t1?"+query, bytes.NewReader(data))
	if err != nil {
		c.t.Fatal(err)
	}
	if encoding != "" {
		req.Header.Set("Content-Encoding", encoding)
	}
	reply, err := c.http.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer reply.Body.Close()
	text, err := io.ReadAll(reply.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return reply.StatusCode, string(text)
}

func TestStreamingPolicyAndLimits(t *testing.T) {
	c := start(t, nil)
	if status, text := c.stream("streamFormat=Csv", "", []byte("1\n")); status != 404 {
		t.Errorf("no table: %d %s", status, text)
	}
	c.create(Column{Name: "a", Type: "string"})
	if status, text := c.stream("streamFormat=Csv", "", []byte("1\n")); status != 400 || !strings.Contains(text, "not enabled") {
		t.Errorf("without the policy: %d %s", status, text)
	}
	c.command("db1", ".alter table t1 policy streamingingestion enable")
	zipped := func(data []byte) []byte {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		if _, err := z.Write(data); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	full := append(bytes.Repeat([]byte("x"), 4<<20-1), '\n')
	for name, s := range map[string]struct {
		query, encoding string
		data            []byte
		status          int
	}{
		"plain":          {"streamFormat=Csv", "", []byte("1\n"), 200},
		"gzip":           {"streamFormat=Csv", "gzip", zipped([]byte("2\n")), 200},
		"4 MiB":          {"streamFormat=Csv", "", full, 200},
		"4 MiB, gzip":    {"streamFormat=Csv", "gzip", zipped(full), 200},
		"more":           {"streamFormat=Csv", "", append([]byte("x"), full...), 413},
		"more, gzip":     {"streamFormat=Csv", "gzip", zipped(append([]byte("x"), full...)), 413}, // raw bytes count
		"empty":          {"streamFormat=Csv", "", []byte(" \n"), 400},
		"not gzip":       {"streamFormat=Csv", "gzip", []byte("1\n"), 400},
		"cut gzip":       {"streamFormat=Csv", "gzip", zipped([]byte("2\n"))[:15], 400},
		"parquet":        {"streamFormat=Parquet", "", []byte("PAR1"), 400},
		"unknown format": {"streamFormat=no", "", []byte("1\n"), 400},
		"no mapping":     {"streamFormat=Csv&mappingName=no", "", []byte("1\n"), 400},
	} {
		if status, text := c.stream(s.query, s.encoding, s.data); status != s.status {
			t.Errorf("%s: %d %s, want %d", name, status, text, s.status)
		}
	}
	if n := c.sim.Count("db1", "t1"); n != 4 {
		t.Errorf("%d rows, want 4", n)
	}
	c.command("db1", `.alter table t1 policy streamingingestion '{"IsEnabled":false}'`)
	if status, _ := c.stream("streamFormat=Csv", "", []byte("1\n")); status != 400 {
		t.Errorf("with the policy off again: %d", status)
	}
}

// The batching policy of a table counts for its own blobs.
func TestBatchingPolicy(t *testing.T) {
	c := start(t, &Options{BatchTime: time.Hour})
	c.create(Column{Name: "a", Type: "string"})
	c.command("db1", `.alter table t1 policy ingestionbatching '{"MaximumBatchingTimeSpan":"00:05:00","MaximumNumberOfItems":2,"MaximumRawDataSizeMB":100}'`)
	c.send("1.json", `{"a":"1"}`+"\n")
	c.send("2.json", `{"a":"2"}`+"\n")
	c.wait(func() bool { return c.sim.Count("db1", "t1") == 2 })
	for _, policy := range []string{`{"MaximumBatchingTimeSpan":"00:00:05","MaximumNumberOfItems":2,"MaximumRawDataSizeMB":100}`, `{"MaximumBatchingTimeSpan":"soon"}`, `x`} {
		if status, _, _ := c.run("x", ".alter table t1 policy ingestionbatching '"+policy+"'"); status != 400 {
			t.Errorf("%s: %d", policy, status)
		}
	}
	if status, _, _ := c.run("x", ".alter table no policy streamingingestion enable"); status != 400 {
		t.Errorf("no table: %d", status)
	}
	if status, _, _ := c.run("x", ".alter table t1 policy retention '{}'"); status != 400 {
		t.Errorf("another policy: %d", status)
	}
}

package queued

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/gzip"
)

// secretSig is in every SAS of the cloud and secretToken is its identity
// token; neither may show anywhere.
const (
	secretSig   = "c2VjcmV0LXNpZw"
	secretToken = "eyJzZWNyZXQ.aWRlbnRpdHk.dG9rZW4"
)

// cloud is a scripted cluster and its storage on one loopback socket: enough
// of each service to see what a client does and to fail at a chosen request.
// It ingests when told to, and enforces the tag condition.
type cloud struct {
	*httptest.Server
	t testing.TB

	mu sync.Mutex
	// mu guards the following.
	fault    func(*http.Request) fault // nil: none
	tables   int                       // status tables it names
	sas      string                    // the signature it takes
	requests []string                  // "PUT blob", "POST queue", ...
	blobs    map[string][]byte
	blocks   map[string][]byte
	messages []sent
	done     int // messages ingested
	rows     map[string]map[string]any
	tags     map[string]bool
	data     map[string][][]byte // payloads by "db/table"
	verdict  func(m sent) map[string]any
}

// sent is a message as posted.
type sent struct {
	text  string
	Id    string
	path  string // of the blob
	m     map[string]any
	props map[string]any
}

// fault is what happens to one request.
type fault struct {
	drop   bool   // the connection is closed
	after  bool   // ... after the effect
	status int    // answered instead, with code
	code   string //
	wait   chan struct{}
}

func newCloud(t testing.TB) *cloud {
	c := &cloud{t: t, tables: 1, sas: secretSig, blobs: map[string][]byte{}, blocks: map[string][]byte{},
		rows: map[string]map[string]any{}, tags: map[string]bool{}, data: map[string][][]byte{}}
	c.Server = httptest.NewServer(c)
	t.Cleanup(c.Close)
	return c
}

// client is a client of the cloud.
func (c *cloud) client(opts *ClientOptions) *Client {
	c.t.Helper()
	client, err := NewClient(c.URL, nil, opts)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { client.Close() })
	return client
}

func (c *cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	kind, rest := c.kindOf(r)
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client went away
	}
	c.mu.Lock()
	c.requests = append(c.requests, r.Method+" "+kind)
	var f fault
	if c.fault != nil {
		f = c.fault(r)
	}
	c.mu.Unlock()
	if f.wait != nil {
		select {
		case <-f.wait:
		case <-r.Context().Done():
			return
		}
	}
	if f.drop && !f.after {
		panic(http.ErrAbortHandler)
	}
	if f.status != 0 {
		w.Header().Set("x-ms-error-code", f.code)
		w.WriteHeader(f.status)
		fmt.Fprintf(w, "<Error><Code>%s</Code><Message>sig=%s was refused</Message></Error>", f.code, secretSig)
		return
	}
	if f.after {
		c.serve(httptest.NewRecorder(), r, kind, rest, body)
		panic(http.ErrAbortHandler)
	}
	c.serve(w, r, kind, rest, body)
}

// kindOf tells which service a path is of: /account/kindN/rest.
func (c *cloud) kindOf(r *http.Request) (kind, rest string) {
	if strings.HasPrefix(r.URL.Path, "/v1/") {
		return "mgmt", ""
	}
	parts := strings.SplitN(strings.TrimPrefix(r.URL.Path, "/"), "/", 3)
	if len(parts) < 2 {
		return "?", ""
	}
	if len(parts) == 3 {
		rest = parts[2]
	}
	return strings.TrimRight(strings.SplitN(parts[1], "(", 2)[0], "0123456789"), rest
}

func (c *cloud) serve(w http.ResponseWriter, r *http.Request, kind, rest string, body []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if kind == "mgmt" {
		c.mgmtLocked(w, body)
		return
	}
	if r.URL.Query().Get("sig") != c.sas {
		w.Header().Set("x-ms-error-code", "AuthenticationFailed")
		w.WriteHeader(http.StatusForbidden)
		return
	}
	switch kind {
	case "blob":
		c.blobLocked(w, r, body)
	case "queue":
		c.queueLocked(w, body)
	case "table":
		c.tableLocked(w, r, body)
	default:
		c.t.Errorf("unexpected %s %s", r.Method, r.URL.Path)
	}
}

func (c *cloud) mgmtLocked(w http.ResponseWriter, body []byte) {
	var in struct{ CSL string }
	json.Unmarshal(body, &in)
	columns, rows := []string{"AuthorizationContext"}, [][]string{{secretToken}}
	if in.CSL == ".get ingestion resources" {
		columns, rows = []string{"ResourceTypeName", "StorageRoot"}, nil
		add := func(kind, path string) { rows = append(rows, []string{kind, c.URL + path + "?sv=1&sig=" + c.sas}) }
		for acc := range 2 {
			add("TempStorage", fmt.Sprintf("/acc%d/blob0", acc))
			add("TempStorage", fmt.Sprintf("/acc%d/blob1", acc))
			add("SecuredReadyForAggregationQueue", fmt.Sprintf("/acc%d/queue0", acc))
		}
		for n := range c.tables {
			add("IngestionsStatusTable", fmt.Sprintf("/acc0/table%d", n))
		}
		add("NovelResource", "/acc0/x")
	}
	var names []map[string]string
	for _, name := range columns {
		names = append(names, map[string]string{"ColumnName": name})
	}
	json.NewEncoder(w).Encode(map[string]any{"Tables": []any{map[string]any{"TableName": "Table_0", "Columns": names, "Rows": rows}}})
}

func (c *cloud) blobLocked(w http.ResponseWriter, r *http.Request, body []byte) {
	q, path := r.URL.Query(), r.URL.Path
	switch {
	case r.Method == http.MethodHead:
		b, ok := c.blobs[path]
		if !ok {
			w.Header().Set("x-ms-error-code", "BlobNotFound")
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("ETag", etagOf(b))
		w.Header().Set("Content-Length", fmt.Sprint(len(b)))
		return
	case q.Get("comp") == "block":
		c.blocks[path+q.Get("blockid")] = body
	case q.Get("comp") == "blocklist":
		var list struct{ Latest []string }
		if err := xml.Unmarshal(body, &list); err != nil {
			c.t.Error(err)
		}
		var all []byte
		for _, id := range list.Latest {
			all = append(all, c.blocks[path+id]...)
		}
		c.blobs[path] = all
		w.Header().Set("ETag", etagOf(all))
	default:
		c.blobs[path] = body
		w.Header().Set("ETag", etagOf(body))
	}
	w.WriteHeader(http.StatusCreated)
}

func etagOf(b []byte) string { return fmt.Sprintf(`"%x-%d"`, bytes.Count(b, []byte{0}), len(b)) }

func (c *cloud) queueLocked(w http.ResponseWriter, body []byte) {
	var in struct{ MessageText string }
	if err := xml.Unmarshal(body, &in); err != nil {
		c.t.Error(err)
	}
	text, err := base64.StdEncoding.DecodeString(in.MessageText)
	if err != nil {
		c.t.Error(err)
	}
	s := sent{text: string(text)}
	if err := json.Unmarshal(text, &s.m); err != nil {
		c.t.Error(err)
	}
	s.Id, s.props = s.m["Id"].(string), s.m["AdditionalProperties"].(map[string]any)
	if u, err := url.Parse(s.m["BlobPath"].(string)); err == nil {
		s.path = u.Path
	}
	c.messages = append(c.messages, s)
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(http.StatusCreated)
	io.WriteString(w, `<QueueMessagesList><QueueMessage><MessageId>1</MessageId></QueueMessage></QueueMessagesList>`)
}

func (c *cloud) tableLocked(w http.ResponseWriter, r *http.Request, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	if r.Method == http.MethodGet {
		value := []map[string]any{}
		for key, row := range c.rows {
			if strings.HasPrefix(key, strings.TrimSuffix(r.URL.Path, "()")) && r.URL.Query().Get("$filter") == fmt.Sprintf("PartitionKey eq '%s'", row["PartitionKey"]) {
				value = append(value, row)
			}
		}
		slices.SortFunc(value, func(a, b map[string]any) int {
			return strings.Compare(fmt.Sprint(a["RowKey"]), fmt.Sprint(b["RowKey"]))
		})
		json.NewEncoder(w).Encode(map[string]any{"value": value})
		return
	}
	var row map[string]any
	if err := json.Unmarshal(body, &row); err != nil {
		c.t.Error(err)
	}
	key := fmt.Sprint(r.URL.Path, row["PartitionKey"], row["RowKey"])
	if c.rows[key] != nil {
		w.Header().Set("x-ms-error-code", "EntityAlreadyExists")
		w.WriteHeader(http.StatusConflict)
		io.WriteString(w, `{"odata.error":{"code":"EntityAlreadyExists","message":{"value":"x"}}}`)
		return
	}
	c.rows[key] = row
	w.WriteHeader(http.StatusCreated)
	json.NewEncoder(w).Encode(row)
}

// settle ingests what was posted.
func (c *cloud) settle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for ; c.done < len(c.messages); c.done++ {
		m := c.messages[c.done]
		row := c.rowLocked(m)
		report := c.ingestLocked(m)
		if row != nil {
			for k, v := range report {
				row[k] = v
			}
		}
	}
}

func (c *cloud) ingestLocked(m sent) map[string]any {
	if c.verdict != nil {
		if v := c.verdict(m); v != nil {
			return v
		}
	}
	table := fmt.Sprint(m.m["DatabaseName"], "/", m.m["TableName"])
	var unless, tags []string
	if s, ok := m.props["ingestIfNotExists"].(string); ok {
		json.Unmarshal([]byte(s), &unless)
	}
	if s, ok := m.props["tags"].(string); ok {
		json.Unmarshal([]byte(s), &tags)
	}
	for _, v := range unless {
		if c.tags[table+"ingest-by:"+v] {
			return map[string]any{"Status": "Skipped", "ErrorCode": "Skipped_IngestByTagAlreadyExists", "FailureStatus": "Permanent"}
		}
	}
	b, ok := c.blobs[m.path]
	if !ok {
		return map[string]any{"Status": "Failed", "ErrorCode": "Download_SourceNotFound", "FailureStatus": "Permanent"}
	}
	if strings.HasSuffix(m.path, ".gz") {
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			c.t.Error(err)
			return nil
		}
		if b, err = io.ReadAll(z); err != nil {
			c.t.Error(err)
		}
	}
	if n, ok := m.m["RawDataSize"].(float64); !strings.HasPrefix(m.path, theirs) && (!ok || int(n) != len(b)) {
		c.t.Errorf("RawDataSize is %v, the payload has %d bytes", m.m["RawDataSize"], len(b))
	}
	for _, tag := range tags {
		c.tags[table+tag] = true
	}
	c.data[table] = append(c.data[table], b)
	return map[string]any{"Status": "Succeeded"}
}

func (c *cloud) rowLocked(m sent) map[string]any {
	where, ok := m.m["IngestionStatusInTable"].(map[string]any)
	if !ok {
		return nil
	}
	u, err := url.Parse(fmt.Sprint(where["TableConnectionString"]))
	if err != nil || u.Query().Get("sig") == "" {
		c.t.Errorf("TableConnectionString %v, %v", where["TableConnectionString"], err)
	}
	row := c.rows[fmt.Sprint(u.Path, where["PartitionKey"], where["RowKey"])]
	if row == nil {
		c.t.Errorf("the message names a row that is not there: %v", where)
	}
	return row
}

// setFault installs a fault for requests of one kind, "PUT blob" say; times 0
// means all of them.
func (c *cloud) setFault(kind string, times int, f fault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	c.fault = func(r *http.Request) fault {
		k, _ := c.kindOf(r)
		if r.Method+" "+k != kind || times > 0 && n >= times {
			return fault{}
		}
		n++
		return f
	}
}

func (c *cloud) clearFault() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fault = nil
}

// count is how many requests of a kind came.
func (c *cloud) count(kind string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, r := range c.requests {
		if r == kind {
			n++
		}
	}
	return n
}

func (c *cloud) payloads(table string) [][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.data[table])
}

// setFaultNext adds a fault for another kind of request to the one installed.
func (c *cloud) setFaultNext(kind string, f fault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := c.fault
	c.fault = func(r *http.Request) fault {
		if k, _ := c.kindOf(r); r.Method+" "+k == kind {
			return f
		}
		return first(r)
	}
}

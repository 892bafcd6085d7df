package kustosim

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/uuid"
)

const map1 = `[{"column":"ts","Properties":{"Path":"$.ts"}},{"column":"id","Properties":{"Path":"$['id']"}},{"column":"name","Properties":{"Path":"$.name"}},{"column":"value","Properties":{"Path":"$.value"}}]`

var uuidPlaceholder = regexp.MustCompile(`<uuid-\d+>`)

// TestGoldenMessages replays what official clients put on the queue, with their
// blob uploaded here and their placeholders filled in.
func TestGoldenMessages(t *testing.T) {
	const typed = `{"ts":"2025-01-02T00:00:00Z","id":1,"name":"name 1","value":1.5}`
	want := map[string]struct {
		second string // of the ten rows; "" for a refusal
		code   string
		tags   string
		gone   bool // the blob is deleted
	}{
		"go-proxy-q05-json-inline-mapping":    {second: `{"ts":"2025-01-02T00:00:00Z","id":1,"name":"","value":null}`},
		"node-https-q05-json-inline-mapping":  {second: `{"ts":"2025-01-02T00:00:00Z","id":1,"name":"name 1","value":null,"src":"rig"}`},
		"go-proxy-q06-csv-inline-mapping":     {second: `{"ts":"2025-01-02T00:00:00Z","id":null,"name":"","value":null,"src":"rig"}`},
		"node-https-q06-csv-inline-mapping":   {second: `{"ts":"2025-01-02T00:00:00Z","id":1,"name":"","value":null,"src":"rig"}`},
		"go-proxy-q12-tags":                   {second: typed, tags: `t1 t"2 drop-by:d1 ingest-by:i1`},
		"node-https-q12-tags":                 {second: typed, tags: `t1 t"2 drop-by:d1 ingest-by:i1`},
		"go-proxy-q13-ingest-if-not-exists":   {code: "BadRequest_MalformedIngestionProperty"}, // the clients pass the caller's "i1" on
		"node-https-q13-ingest-if-not-exists": {code: "BadRequest_MalformedIngestionProperty"},
		"go-proxy-q21-delete-source":          {second: typed, gone: true},
	}
	files, err := filepath.Glob("testdata/golden/*.json")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d recordings: %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		t.Run(name, func(t *testing.T) {
			c := start(t, nil)
			columns := []Column{{Name: "ts", Type: "datetime"}, {Name: "id", Type: "long"}, {Name: "name", Type: "string"}, {Name: "value", Type: "real"}}
			expected, special := want[name]
			if !special {
				expected.second = typed
			}
			if strings.Contains(expected.second, `"src"`) {
				columns = append(columns, Column{Name: "src", Type: "string"})
			}
			if err := c.sim.CreateTable("db1", "tbl1", columns...); err != nil {
				t.Fatal(err)
			}
			if err := c.sim.CreateMapping("db1", "tbl1", "json", "map1", map1); err != nil {
				t.Fatal(err)
			}
			c.enqueue(c.fill(file))
			if expected.code != "" {
				c.wait(func() bool { return c.sim.Stats().Failed[expected.code] == 1 })
				return
			}
			c.wait(func() bool {
				s := c.sim.Stats()
				return s.Ingested == 1 && (s.ReportsWritten > 0 || !strings.Contains(name, "report-table"))
			})
			rows := c.sim.Rows("db1", "tbl1")
			if len(rows) != 10 || rows[1].String() != expected.second {
				t.Errorf("%d rows, the second is %s, want %s", len(rows), rows[1], expected.second)
			}
			if got := strings.Join(c.sim.Extents("db1", "tbl1")[0].Tags, " "); got != expected.tags {
				t.Errorf("tags are %s, want %s", got, expected.tags)
			}
			c.wait(func() bool { return (len(c.sim.Blobs()) == 0) == expected.gone })
			if s := c.sim.Stats(); s.RawSizeMismatch != 0 || s.ReportsFailed != 0 || len(s.Failed) != 0 {
				t.Errorf("stats are %+v", s)
			}
		})
	}
}

// fill makes a recorded message one for this simulator.
func (c *client) fill(file string) string {
	c.t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		c.t.Fatal(err)
	}
	ids := make(map[string]string)
	text = uuidPlaceholder.ReplaceAllFunc(text, func(p []byte) []byte {
		if ids[string(p)] == "" {
			ids[string(p)] = uuid.NewString()
		}
		return []byte(ids[string(p)])
	})
	var m map[string]any
	if err := json.Unmarshal(text, &m); err != nil {
		c.t.Fatal(err)
	}
	path := m["BlobPath"].(string)
	source := "rows.csv"
	for _, f := range []string{"rows.json", "rows.multi.json"} {
		if strings.Contains(path, f) {
			source = f
		}
	}
	data, err := os.ReadFile(filepath.Join("testdata", "data", source))
	if err != nil {
		c.t.Fatal(err)
	}
	blob := path[strings.LastIndex(path, "/")+1 : strings.Index(path, "?")]
	blob = strings.NewReplacer("<go-time%20UTC>", "2025-01-01 00:00:00.1 +0000 UTC m=+0.1").Replace(blob)
	m["BlobPath"] = c.upload(blob, string(data))
	m["AdditionalProperties"].(map[string]any)["authorizationContext"] = c.token
	if status, ok := m["IngestionStatusInTable"].(map[string]any); ok {
		for _, key := range []string{"TableConnectionString", "tableConnectionString"} {
			root, ok := status[key].(string)
			if !ok {
				continue
			}
			u := mustParse(c.t, c.table)
			if !strings.Contains(root, "/ingestionsstatus0") { // Node leaves it to tn=
				u.Path = "/simstorage0"
				u.RawQuery += "&tn=ingestionsstatus0"
			}
			status[key] = u.String()
		}
	}
	delete(m, "SourceMessageCreationTime")
	out, err := json.Marshal(m)
	if err != nil {
		c.t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(out)
}

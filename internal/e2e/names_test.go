package e2e_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"kustospool/ingest"
	"kustospool/internal/testutil/literals"
	"kustospool/transport"
	"kustospool/transport/admin"
	"kustospool/transport/dir"
	"kustospool/transport/direct"
	"kustospool/transport/queued"
	"kustospool/transport/transporttest"
)

// TestNamesOfStepsReachNothing sends a record under names that are steps in a
// path. Behind a front that resolves those, POST .../ingest/../mgmt is the
// endpoint of commands, and the record would be one.
func TestNamesOfStepsReachNothing(t *testing.T) {
	for _, names := range [][2]string{{"..", "mgmt"}, {"D", ".."}, {".", "."}, {"D/../..", "mgmt"}, {"..\\..", "mgmt"}, {"Demo", "Telemetry"}} {
		w := newRecorder()
		root := t.TempDir()
		err := w.throughEveryDoor(t, names[0], names[1], root)
		asked := w.about(names[0], names[1])
		if names == [2]string{"Demo", "Telemetry"} { // the control
			if err != nil || len(asked) < 8 {
				t.Errorf("a good name: %v, %d requests", err, len(asked))
			}
			continue
		}
		if err == nil {
			t.Errorf("%q is taken by every door", names)
		}
		for _, r := range asked {
			t.Errorf("%q: sent %s %s: %.60q", names, r.method, r.url, r.body)
			if resolved := path.Clean(r.url.Path); resolved == "/v1/rest/mgmt" && r.body == "the,record\n" {
				t.Errorf("%q: behind a front, the record is a command", names)
			}
		}
	}
}

// FuzzNamesInRequests: whatever is taken for a name stays in its place in every
// request that is built with it, and what is refused is in none.
func FuzzNamesInRequests(f *testing.F) {
	for _, name := range []string{"Demo", "my table", "a.b", "v1..2", ".a", "表-1", "जहाज़", ".", "..", "%2e%2e", "a/b", "a\\b", "a'b", `"`, "a\nb", "a;b", "CON", "nul.txt", strings.Repeat("ä", 512)} {
		f.Add(name, "T")
		f.Add("D", name)
	}
	f.Fuzz(func(t *testing.T, db, table string) {
		p := ingest.Properties{Database: db, Table: table, Format: ingest.CSV}
		legal := p.Validate() == nil
		w := newRecorder()
		root := t.TempDir()
		err := w.throughEveryDoor(t, db, table, root)
		if legal != (err == nil) {
			t.Fatalf("%q, %q: legal is %t, and the doors say %v", db, table, legal, err)
		}
		w.inPlace(t, db, table)
		inDirectory(t, root)
	})
}

// request is one that was sent.
type request struct {
	method, body string
	url          *url.URL
}

// recorder answers as a cluster and its storage would, from memory.
type recorder struct {
	signature, identity string // what it lends, as it stands in a URL and in a message

	mu  sync.Mutex // guards all
	all []request
}

func newRecorder() *recorder { return &recorder{signature: "s", identity: "identity"} }

const recordedHost = "http://127.0.0.1:1"

// Do implements policy.Transporter.
func (w *recorder) Do(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
	}
	w.mu.Lock()
	w.all = append(w.all, request{r.Method, string(body), r.URL})
	w.mu.Unlock()
	status, reply, header := http.StatusOK, "", http.Header{}
	dataset := func(columns string, rows ...string) string {
		var names []string
		for c := range strings.SplitSeq(columns, ",") {
			names = append(names, `{"ColumnName":"`+c+`"}`)
		}
		return `{"Tables":[{"TableName":"T","Columns":[` + strings.Join(names, ",") + `],"Rows":[` + strings.Join(rows, ",") + `]}]}`
	}
	switch p := r.URL.Path; {
	case strings.HasSuffix(p, "/auth/metadata"):
		status = http.StatusNotFound
	case p == "/v1/rest/ingestion/configuration":
		reply = `{"containerSettings":{"containers":[{"path":"` + recordedHost + `/acc/c?sig=` + w.signature + `"}]},"ingestionSettings":{"preferredIngestionMethod":"Rest"}}`
	case p == "/v1/rest/mgmt" && strings.Contains(string(body), "ingestion resources"):
		reply = dataset("ResourceTypeName,StorageRoot", `["TempStorage","`+recordedHost+`/acc/c?sig=`+w.signature+`"]`, `["SecuredReadyForAggregationQueue","`+recordedHost+`/acc/q?sig=`+w.signature+`"]`,
			`["IngestionsStatusTable","`+recordedHost+`/acc/t?sig=`+w.signature+`"]`, `["SuccessfulIngestionsQueue","`+recordedHost+`/acc/ok?sig=`+w.signature+`"]`, `["FailedIngestionsQueue","`+recordedHost+`/acc/ok?sig=`+w.signature+`"]`)
	case p == "/v1/rest/mgmt" && strings.Contains(string(body), "identity token"):
		reply = dataset("AuthorizationContext", `["`+w.identity+`"]`)
	case p == "/v1/rest/mgmt" && strings.Contains(string(body), "capacity"):
		reply = dataset("Total", `[10]`)
	case p == "/v1/rest/mgmt":
		reply = dataset("ExtentId,OperationId", `["e","e0000000-0000-0000-0000-000000000001"]`)
	case strings.HasPrefix(p, "/v1/rest/ingestion/queued/"):
		reply = `{"ingestionOperationId":"op-1"}`
	case strings.HasPrefix(p, "/v1/rest/"):
		reply = dataset("A")
	case strings.Contains(p, "/messages") && r.Method == http.MethodGet:
		reply = `<QueueMessagesList/>`
	case r.Method == http.MethodGet && strings.HasPrefix(p, "/acc/t"):
		reply = `{"value":[]}`
	case strings.Contains(p, "/messages"):
		status, reply = http.StatusCreated, `<QueueMessagesList><QueueMessage><MessageId>1</MessageId></QueueMessage></QueueMessagesList>`
	default:
		status = http.StatusCreated
		header.Set("ETag", `"1"`)
	}
	return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(reply)), Request: r}, nil
}

// throughEveryDoor uses the names in everything that builds requests of them,
// past the engine's own check. The error joins what was refused.
func (w *recorder) throughEveryDoor(t *testing.T, db, table, root string) error {
	t.Helper()
	sdk := azcore.ClientOptions{Transport: w}
	var errs []error
	send := func(tr transport.Transport, err error, g ingest.Guarantee) {
		if err != nil {
			t.Fatal(err)
		}
		data := []byte("the,record\n")
		b := &ingest.Batch{ID: ingest.NewBatchID(ingest.SpoolID{1}, 1, 1, 1), Lane: 1, First: 1, Last: 1, RawBytes: int64(len(data)), SealedAt: time.Unix(1e9, 0),
			Properties: ingest.Properties{Database: db, Table: table, Format: ingest.CSV}, Guarantee: g}
		_, err = tr.Send(t.Context(), &transport.Delivery{Batch: b, Attempt: 1, Payload: transporttest.Bytes(data), Journal: new(transporttest.Journal)})
		errs = append(errs, err)
	}
	for _, protocol := range []queued.Protocol{queued.Queue, queued.REST} {
		c, err := queued.NewClient(recordedHost, nil, &queued.ClientOptions{ClientOptions: sdk, Protocol: protocol})
		send(c, err, ingest.ExactlyOnce)
	}
	for _, inline := range []bool{false, true} {
		c, err := direct.NewClient(recordedHost, nil, &direct.ClientOptions{ClientOptions: sdk, Inline: inline})
		send(c, err, ingest.ExactlyOnce)
	}
	stream, err := direct.NewStreamingClient(recordedHost, nil, &direct.ClientOptions{ClientOptions: sdk})
	send(stream, err, ingest.AtLeastOnce)
	files, err := dir.NewClient(root, nil)
	send(files, err, ingest.ExactlyOnce)
	manager, err := admin.NewClient(recordedHost, nil, &admin.ClientOptions{ClientOptions: sdk})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.WithoutCancel(t.Context())
	errs = append(errs,
		manager.CreateTable(ctx, db, admin.Table{Name: table, Columns: []admin.Column{{Name: "c", Type: "int"}}}),
		manager.CreateMapping(ctx, db, table, admin.Mapping{Name: "M", Kind: ingest.MappingCSV, JSON: `[{"column":"c"}]`}),
		manager.SetBatching(ctx, db, table, admin.Batching{}),
		manager.SetStreaming(ctx, db, table, true))
	if n := slices.IndexFunc(errs, func(e error) bool { return e != nil }); n >= 0 && slices.Contains(errs, nil) {
		t.Errorf("%q, %q: some doors take what others refuse: %v", db, table, errs)
	}
	return errors.Join(errs...)
}

// about are the requests that were built with the names: those that are not
// of every client alike.
func (w *recorder) about(db, table string) []request {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(w.all), func(r request) bool {
		p := r.url.EscapedPath()
		return r.method == http.MethodGet || p == "/v1/rest/mgmt" && (strings.Contains(r.body, `".get `) || strings.Contains(r.body, "capacity"))
	})
}

// inPlace checks each request: its path leads where it was built to lead,
// resolved or not, and the names are whole in it.
func (w *recorder) inPlace(t *testing.T, db, table string) {
	t.Helper()
	skeletons := []string{".ingest into table [''] (h'') with (format='', tags='', ingestIfNotExists='')", ".ingest inline into table [''] with (format='', tags='', ingestIfNotExists='') <|\nthe,record\n",
		".create-merge table [''] (['']:int)", ".create-or-alter table [''] ingestion csv mapping '' ''", ".alter table [''] policy ingestionbatching ''", ".alter table [''] policy streamingingestion enable"}
	for _, r := range w.about(db, table) {
		p := r.url.EscapedPath()
		if path.Clean(r.url.Path) != r.url.Path || strings.Contains(strings.ToLower(p), "%2f") || strings.Contains(strings.ToLower(p), "%5c") {
			t.Errorf("%q, %q: the path %s is another one when it is resolved", db, table, p)
		}
		if r.url.Fragment != "" {
			t.Errorf("%q, %q: %s has a fragment", db, table, r.url)
		}
		switch parts := strings.Split(strings.TrimPrefix(p, "/v1/rest/"), "/"); {
		case strings.HasPrefix(p, "/v1/rest/ingest/"), strings.HasPrefix(p, "/v1/rest/ingestion/queued/"):
			got := parts[len(parts)-2:]
			one, err1 := url.PathUnescape(got[0])
			two, err2 := url.PathUnescape(got[1])
			if err1 != nil || err2 != nil || one != db || two != table {
				t.Errorf("%q, %q: the path is %s", db, table, p)
			}
		case p == "/v1/rest/mgmt":
			var in struct{ DB, CSL string }
			if err := json.Unmarshal([]byte(r.body), &in); err != nil || in.DB != db {
				t.Errorf("%q, %q: the command is for the database %q, %v", db, table, in.DB, err)
			}
			skeleton, values, err := literals.Split(in.CSL)
			if err != nil || !slices.Contains(skeletons, skeleton) || values[0] != table {
				t.Errorf("%q, %q: the command is %q, %v", db, table, in.CSL, err)
			}
		case strings.HasSuffix(p, "/messages"):
			_, text, _ := strings.Cut(r.body, "<MessageText>")
			text, _, _ = strings.Cut(text, "</MessageText>")
			raw, err := base64.StdEncoding.DecodeString(text)
			var in struct{ DatabaseName, TableName string }
			if err != nil || json.Unmarshal(raw, &in) != nil || in.DatabaseName != db || in.TableName != table {
				t.Errorf("%q, %q: the message is %.200q, %v", db, table, raw, err)
			}
		case strings.HasPrefix(p, "/acc/c/"), strings.HasPrefix(p, "/acc/t"):
			if strings.Count(p, "/") > 3 {
				t.Errorf("%q, %q: the blob is %s", db, table, p)
			}
		default:
			t.Errorf("%q, %q: nobody knows what %s %s is for", db, table, r.method, p)
		}
	}
}

// inDirectory checks that files were made in two directories under root, and
// nowhere beside it.
func inDirectory(t *testing.T, root string) {
	t.Helper()
	beside, err := os.ReadDir(filepath.Dir(root))
	if err != nil || len(beside) != 1 {
		t.Errorf("beside the directory: %v, %v", beside, err)
	}
	_ = filepath.WalkDir(root, func(at string, e os.DirEntry, err error) error {
		rel, _ := filepath.Rel(root, at)
		if err != nil || !e.IsDir() && strings.Count(filepath.ToSlash(rel), "/") != 2 {
			t.Errorf("the file %q: %v", rel, err)
		}
		return nil
	})
}

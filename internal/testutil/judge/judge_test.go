package judge

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"kustospool/ingest"
	"kustospool/internal/kustosim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const db = "db"

// stream puts data into a table through the front.
func stream(t *testing.T, front *Front, table string, format ingest.Format, data []byte) {
	t.Helper()
	post(t, front, "/v1/rest/ingest/"+db+"/"+table+"?streamFormat="+string(format)+"&mappingName="+url.QueryEscape(MappingName), data)
}

// post must succeed; it returns the reply.
func post(t *testing.T, front *Front, path string, data []byte) []byte {
	t.Helper()
	client := front.Client()
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, front.Engine()+path, bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+Token)
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %s %v", path, resp.Status, body, err)
	}
	return body
}

// prepare makes a table that takes streams.
func prepare(t *testing.T, sim *kustosim.Sim, table string) {
	t.Helper()
	if err := Prepare(sim, db, table); err != nil {
		t.Fatal(err)
	}
	if err := sim.SetStreaming(db, table, true); err != nil {
		t.Fatal(err)
	}
}

// What the set says is what the simulator holds, in every format.
func TestSetsAreHeldAsTheySay(t *testing.T) {
	sim, front := Start(t, nil)
	for name, set := range map[string]*Set{"Values": Values(), "Large": Large(1, 20, 10_000)} {
		for _, format := range []ingest.Format{ingest.CSV, ingest.JSON, ingest.MultiJSON} {
			table := name + string(format)
			prepare(t, sim, table)
			stream(t, front, table, format, set.Data(format))
			for _, d := range set.Diff(sim.Rows(db, table), 1) {
				t.Errorf("%s: %s", table, d)
			}
		}
	}
	if out := front.Refused(); len(out) > 0 {
		t.Errorf("asked to dial %q", out)
	}
}

// A value that is another one, in any row and column, is seen; so is a row that
// is gone, doubled or nobody's.
func TestDiffSeesEveryValue(t *testing.T) {
	sim, front := Start(t, nil)
	prepare(t, sim, "T")
	set := Values()
	stream(t, front, "T", ingest.JSON, set.Data(ingest.JSON))
	rows := sim.Rows(db, "T")
	for n := range set.rows {
		for i := range set.rows[n] {
			have := &set.rows[n][i].want
			was := *have
			for _, other := range []string{was + "0", "1" + was, "", null} {
				if other == was || Columns[i+1].Type == "string" && was == "" && other == null {
					continue
				}
				*have = other
				if diffs := set.Diff(rows, 1); len(diffs) != 1 {
					t.Errorf("row %d, column %s: that %q is not %q is told as %q", n, Columns[i+1].Name, was, other, diffs)
				}
			}
			*have = was
		}
	}
	for name, wrong := range map[string][]kustosim.Row{
		"is there 0 times": rows[1:],
		"is there 2 times": append(rows[:len(rows):len(rows)], rows[3]),
		"nobody sent":      append(rows[:len(rows):len(rows)], kustosim.Row(`{"n":99}`)),
	} {
		if diffs := set.Diff(wrong, 1); len(diffs) != 1 || !strings.Contains(diffs[0], name) {
			t.Errorf("want %s, told as %q", name, diffs)
		}
	}
}

// A fault that loses a row or alters a value of any column is seen.
func TestFaultsOfTheSimulatorAreSeen(t *testing.T) {
	sim, front := Start(t, nil)
	faults := []kustosim.IngestFault{{Kind: kustosim.LoseRow}}
	for _, c := range Columns {
		faults = append(faults, kustosim.IngestFault{Kind: kustosim.AlterValue, Column: c.Name})
	}
	set := Values()
	for i, fault := range faults {
		table := fmt.Sprintf("T%d", i)
		prepare(t, sim, table)
		remove := sim.IngestFault(db, table, fault)
		stream(t, front, table, ingest.CSV, set.Data(ingest.CSV))
		remove()
		if diffs := set.Diff(sim.Rows(db, table), 1); len(diffs) == 0 {
			t.Errorf("%+v is not seen", fault)
		}
	}
}

// The front passes a hang-up on, keeps the escapes of a path, and knows no
// other host.
func TestFront(t *testing.T) {
	sim, front := Start(t, nil)
	client := front.Client()
	defer client.CloseIdleConnections()
	remove := sim.Fault(kustosim.Engine, kustosim.Fault{Kind: kustosim.Down})
	if resp, err := client.Get(front.Engine() + "/v1/x"); err == nil {
		resp.Body.Close()
		t.Errorf("a simulator that hangs up answers %s", resp.Status)
	}
	remove()
	uri, err := sim.PutBlob(t.Context(), "a b/c%2Fd", []byte("data"))
	if err != nil {
		t.Fatal(err)
	}
	sas, err := sim.BlobSAS(uri)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(uri, "https://simstorage0.blob.localhost:") {
		t.Errorf("a blob is at %s", uri)
	}
	resp, err := client.Get(uri + "?" + sas)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if data, err := io.ReadAll(resp.Body); err != nil || string(data) != "data" {
		t.Errorf("the blob is %q, %v", data, err)
	}
	if resp, err := client.Get("https://example.invalid/"); err == nil {
		resp.Body.Close()
		t.Error("another host was dialled")
	}
	if len(front.Refused()) != 1 {
		t.Errorf("refused %q", front.Refused())
	}
}

// Names that are no root of a storage are refused, and with them a simulator
// whose storage is somebody else's.
func TestStorageURL(t *testing.T) {
	for _, tt := range []struct {
		o    kustosim.Options
		want string
	}{
		{kustosim.Options{StorageURL: func(kustosim.Host, string, string) string { return "storage.localhost" }}, "must be an http or https URL"},
		{kustosim.Options{StorageURL: func(kustosim.Host, string, string) string { return "https://x/?sig=1" }}, "without a query"},
		{kustosim.Options{StorageURL: func(kustosim.Host, string, string) string { return "https://x" }, Storage: &kustosim.ExternalStorage{}}, "cannot be used with Storage"},
	} {
		sim, err := kustosim.Start(&tt.o)
		if err == nil {
			sim.Close()
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, want %s", err, tt.want)
		}
	}
}

// A blob that holds gzip is unpacked whatever its name ends in, unless the
// message says that it is to be taken as it is.
func TestGzipIsKnownByItsContent(t *testing.T) {
	sim, front := Start(t, nil)
	prepare(t, sim, "T")
	set := Values()
	uri, err := sim.PutBlob(t.Context(), "rows.csv", Gzip(set.Data(ingest.CSV)))
	if err != nil {
		t.Fatal(err)
	}
	sas, err := sim.BlobSAS(uri)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]string{"db": db, "csl": ".ingest into table T (h'" + uri + "?" + sas + "') with (format='csv')"})
	if err != nil {
		t.Fatal(err)
	}
	post(t, front, "/v1/rest/mgmt", text)
	for _, d := range set.Diff(sim.Rows(db, "T"), 1) {
		t.Error(d)
	}
}

// A query whose options ask for it is answered in fragments, one frame a line;
// with one of the two options alone it is not.
func TestFragmentsOfAQuery(t *testing.T) {
	sim, front := Start(t, nil)
	prepare(t, sim, "T")
	set := Values()
	stream(t, front, "T", ingest.CSV, set.Data(ingest.CSV))
	body := post(t, front, "/v2/rest/query", []byte(`{"db":"db","csl":"T","properties":{"Options":{"results_v2_fragment_primary_tables":true,"results_v2_newlines_between_frames":true}}}`))
	if !json.Valid(body) {
		t.Errorf("no JSON: %s", body)
	}
	var got []string
	for _, line := range strings.Split(strings.TrimSuffix(string(body), "\n]\n"), "\n") {
		var frame struct {
			FrameType string
			RowCount  int
		}
		if err := json.Unmarshal([]byte(line[1:]), &frame); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		got = append(got, fmt.Sprint(frame.FrameType, frame.RowCount))
	}
	want := fmt.Sprintf("DataSetHeader0 DataTable0 TableHeader0 TableFragment0 TableCompletion%d DataTable0 DataSetCompletion0", len(set.rows))
	if strings.Join(got, " ") != want {
		t.Errorf("frames %q, want %q", got, want)
	}
	for _, options := range []string{`{"results_v2_fragment_primary_tables":true}`, `{"results_v2_newlines_between_frames":true}`, `{}`} {
		body := post(t, front, "/v2/rest/query", []byte(`{"db":"db","csl":"T","properties":{"Options":`+options+`}}`))
		if !json.Valid(body) || bytes.Contains(body, []byte("TableFragment")) {
			t.Errorf("%s: %s", options, body)
		}
	}
}

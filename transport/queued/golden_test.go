package queued

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"kustospool/ingest"
	"kustospool/transport/internal/upload"
)

// Messages of the official clients, recorded: of each case the first one that
// it posted. Ours must mean the same, but for the differences listed here, each
// with its reason.
var goldenCases = []goldenCase{
	{"m02-managed-big", 5 << 20, ingest.Properties{Format: ingest.CSV}, nobodyAsks},
	{"m07-managed-big-file", 5 << 20, ingest.Properties{Format: ingest.CSV}, nobodyAsks},
	{"q01-csv-stream", 343, ingest.Properties{Format: ingest.CSV}, nobodyAsks},
	{"q01b-csv-buffer", 343, ingest.Properties{Format: ingest.CSV}, nobodyAsks},
	{"q02-csv-file", 343, ingest.Properties{Format: ingest.CSV}, nobodyAsks},
	{"q03-csv-file-gz", 343, ingest.Properties{Format: ingest.CSV}, nobodyAsks},
	{"q04-json-file-mapref", 643, ingest.Properties{Format: ingest.JSON, MappingReference: "map1"}, nobodyAsks},
	{"q04b-json-file-mapref-kind", 643, ingest.Properties{Format: ingest.JSON, MappingReference: "map1"}, nobodyAsks},
	{"q05-json-inline-mapping", 643, ingest.Properties{Format: ingest.JSON, Mapping: "golden"}, nobodyAsks},
	{"q06-csv-inline-mapping", 343, ingest.Properties{Format: ingest.CSV, Mapping: "golden"}, nobodyAsks},
	{"q07-multijson-mapref", 845, ingest.Properties{Format: ingest.MultiJSON, MappingReference: "map1"}, nobodyAsks},
	{"q08-parquet-file", 108, ingest.Properties{Format: ingest.Parquet}, nobodyAsks},
	{"q08b-parquet-file-format", 108, ingest.Properties{Format: ingest.Parquet}, nobodyAsks},
	{"q09-avro-file", 147, ingest.Properties{Format: ingest.Avro}, nobodyAsks},
	{"q10-apacheavro-file", 147, ingest.Properties{Format: ingest.ApacheAvro}, nobodyAsks},
	{"q11-orc-file", 103, ingest.Properties{Format: ingest.ORC}, nobodyAsks},
	{"q12-tags", 343, ingest.Properties{Format: ingest.CSV, Tags: []string{"t1", `t"2`, "drop-by:d1", "ingest-by:i1"}}, nobodyAsks},
	{"q13-ingest-if-not-exists", 343, ingest.Properties{Format: ingest.CSV, Tags: []string{"ingest-by:i1"}, IngestIfNotExists: []string{"i1"}}, nobodyAsks},
	{"q15-flush-immediately", 343, ingest.Properties{Format: ingest.CSV, FlushImmediately: true}, nobodyAsks},
	{"q17-report-table", 343, ingest.Properties{Format: ingest.CSV}, inTable},
	{"q17b-report-table-failed", 343, ingest.Properties{Format: ingest.CSV}, inTable},
	{"q18-report-queue", 343, ingest.Properties{Format: ingest.CSV}, inQueues},
	{"q18b-report-queue-failed", 343, ingest.Properties{Format: ingest.CSV}, inQueues},
	{"q19-report-queue-and-table", 343, ingest.Properties{Format: ingest.CSV}, inTable},
	{"q20-report-none", 343, ingest.Properties{Format: ingest.CSV}, nobodyAsks},
	{"q21-delete-source", 343, ingest.Properties{Format: ingest.CSV, DeleteBlobOnSuccess: true}, nobodyAsks},
	{"q23-blob-source", 0, ingest.Properties{Format: ingest.CSV, ByReference: true}, nobodyAsks},
	{"q25-compressed-stream", 343, ingest.Properties{Format: ingest.CSV}, nobodyAsks},
	{"q25b-dont-compress", 343, ingest.Properties{Format: ingest.CSV, TreatGzAsUncompressed: true}, nobodyAsks},
	{"q27-source-id", 343, ingest.Properties{Format: ingest.CSV}, nobodyAsks},
	{"q29-big-stream", 20 << 20, ingest.Properties{Format: ingest.CSV}, nobodyAsks},
	{"q29b-big-file", 20 << 20, ingest.Properties{Format: ingest.CSV}, nobodyAsks},
	{"q31-connector-details", 343, ingest.Properties{Format: ingest.CSV}, nobodyAsks},
	{"q32-default-details", 343, ingest.Properties{Format: ingest.CSV}, nobodyAsks},
	{"q33-ignore-size-limit", 343, ingest.Properties{Format: ingest.CSV, IgnoreSizeLimit: true}, nobodyAsks},
	{"q36-no-format", 343, ingest.Properties{Format: ingest.CSV}, nobodyAsks},
	{"q37-two-in-a-row", 343, ingest.Properties{Format: ingest.CSV}, nobodyAsks},
	{"q38-static-buffer", 5 << 20, ingest.Properties{Format: ingest.CSV}, nobodyAsks},
}

type goldenCase struct {
	file    string
	size    int64
	props   ingest.Properties
	outcome goldenOutcome
}

// goldenOutcome is where the outcome was asked for.
type goldenOutcome int

const (
	nobodyAsks goldenOutcome = iota
	inTable
	inQueues
)

// goldenErrors are where a client errs or chooses otherwise, in one case: what
// it sends, what we send, and why. A key with a dot is of AdditionalProperties.
var goldenErrors = map[string]struct {
	key, theirs, ours string
	why               string
}{
	"go/q03-csv-file-gz":              {"rawdatasize", "134", "343", "the size of the compressed file; we know that of the data"},
	"node/q03-csv-file-gz":            {"rawdatasize", "1474", "343", "eleven times the compressed size; we know that of the data"},
	"node/q08-parquet-file":           {"rawdatasize", "1188", "108", "eleven times the object's size; we send its size"},
	"node/q09-avro-file":              {"rawdatasize", "1617", "147", "as above"},
	"node/q10-apacheavro-file":        {"rawdatasize", "1617", "147", "as above"},
	"node/q11-orc-file":               {"rawdatasize", "1133", "103", "as above"},
	"go/q10-apacheavro-file":          {".format", "avro", "apacheavro", "the client's name for the format is lost; another reader, and another mapping kind, is meant"},
	"node/q19-report-queue-and-table": {"reportmethod", "2", "1", "the table is enough; a second report in the shared queue is one that nobody takes out"},
	"node/q20-report-none":            {"reportlevel", "1", "0", "failures stay in the cluster's queue, the default of both clients, for operators to see"},
	"go/q25b-dont-compress":           {".treatgzasuncompressed", "", "true", "how we are told not to compress says so to the service as well; the Go client's way says it by the blob's name alone"},
}

// Every recording is compared, and every listed difference is met.
func TestMessagesMeanWhatOfficialClientsMean(t *testing.T) {
	compared, met := 0, 0
	for _, client := range []string{"go", "node"} {
		files, err := os.ReadDir("testdata/golden/" + client)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			name := strings.TrimSuffix(f.Name(), ".json")
			i := slices.IndexFunc(goldenCases, func(tc goldenCase) bool { return tc.file == name })
			if i < 0 {
				t.Errorf("%s/%s is compared with nothing", client, name)
				continue
			}
			tc := goldenCases[i]
			raw, err := os.ReadFile("testdata/golden/" + client + "/" + f.Name())
			if err != nil {
				t.Fatal(err)
			}
			compared++
			t.Run(client+"/"+name, func(t *testing.T) {
				golden := decodeFolded(t, raw)
				props := golden["additionalproperties"].(map[string]any)
				b := testBatch(tc.props)
				b.Guarantee = ingest.AtLeastOnce
				if tc.outcome == nobodyAsks {
					b.Confirm = ingest.ConfirmAccepted
				}
				if b.Properties.Mapping != "" {
					b.Properties.Mapping = props["ingestionmapping"].(string)
				}
				if err := b.Properties.Validate(); err != nil {
					t.Fatal(err)
				}
				app, _ := golden["applicationfortracing"].(string)
				env := envelope{blobURL: "https://acc.blob.core.windows.net/c/" + upload.Name(b) + "?sig=x", size: tc.size,
					token: "rig-identity-token", created: time.Now(), app: app, version: "v", report: tc.outcome == inQueues}
				if tc.outcome == inTable {
					env.row = &statusRow{TableConnectionString: "https://acc.table.core.windows.net/t?sig=x", PartitionKey: b.ID.String(), RowKey: rowKey(1)}
				}
				ours := decodeFolded(t, []byte(jsonText(newMessage(b, env))))
				if e, listed := goldenErrors[client+"/"+name]; listed {
					met++
					gm, om, key := golden, ours, e.key
					if rest, sub := strings.CutPrefix(key, "."); sub {
						gm, om, key = props, ours["additionalproperties"].(map[string]any), rest
					}
					if got, want := textOf(gm[key]), e.theirs; got != want || textOf(om[key]) != e.ours {
						t.Errorf("%s is %q and ours %q, want %q and %q: %s", e.key, got, textOf(om[key]), want, e.ours, e.why)
					}
					gm[key] = om[key]
				}
				checkDifferences(t, client, golden, ours)
			})
		}
	}
	if met != len(goldenErrors) {
		t.Errorf("%d of the %d listed differences were met", met, len(goldenErrors))
	}
	if compared != 63 {
		t.Errorf("compared %d recordings, want 63", compared)
	}
}

// checkDifferences takes the differences that all messages of a client have out
// of both messages and compares the rest.
func checkDifferences(t *testing.T, client string, golden, ours map[string]any) {
	t.Helper()
	gp, op := golden["additionalproperties"].(map[string]any), ours["additionalproperties"].(map[string]any)

	// Identities and times are each client's own; ours must be there.
	for _, key := range []string{"id", "blobpath", "sourcemessagecreationtime", "clientversionfortracing"} {
		if ours[key] == "" || ours[key] == nil {
			t.Errorf("%s is missing", key)
		}
		delete(golden, key)
		delete(ours, key)
	}
	// What the Go client omits when it is 0 or false, we write out as the Node client does.
	for key, zero := range map[string]any{"retainblobonsuccess": false, "ignoresizelimit": false, "reportlevel": json.Number("0"), "reportmethod": json.Number("0")} {
		if _, there := golden[key]; !there {
			golden[key] = zero
		}
	}
	// The Go client sends a zero creation time and a false ignoreFirstRecord; absent means the same.
	if gp["creationtime"] == "0001-01-01T00:00:00Z" {
		delete(gp, "creationtime")
	}
	if gp["ignorefirstrecord"] == false {
		delete(gp, "ignorefirstrecord")
	}
	// Without a status row the Go client sends {}, the Node client null, we nothing.
	if row, ok := golden["ingestionstatusintable"].(map[string]any); !ok || len(row) == 0 {
		delete(golden, "ingestionstatusintable")
	} else {
		our, ok := ours["ingestionstatusintable"].(map[string]any)
		if !ok || len(our) != len(row) {
			t.Errorf("status row %v, want the keys of %v", our, row)
		}
		for key := range row {
			if our[key] == nil || our[key] == "" {
				t.Errorf("the status row has no %s", key)
			}
		}
		// Ours holds the attempt in the row key; the partition is the message's Id.
		delete(golden, "ingestionstatusintable")
		delete(ours, "ingestionstatusintable")
	}
	// The Node client does not know a stream's size; we know it always.
	if golden["rawdatasize"] == nil {
		delete(golden, "rawdatasize")
		if size, known := ours["rawdatasize"]; known {
			golden["rawdatasize"] = size
		}
	}
	// The Node client leaves the mapping's kind out unless it is told; we know it from the format.
	if _, there := gp["ingestionmappingtype"]; !there && client == "node" {
		delete(op, "ingestionmappingtype")
	}
	// ingestIfNotExists was recorded as the bare string the caller gave; the
	// Python and Java clients, and we, send a JSON array.
	if v, ok := gp["ingestifnotexists"].(string); ok {
		gp["ingestifnotexists"] = jsonText([]string{v})
	}
	if !reflect.DeepEqual(golden, ours) {
		t.Errorf("\ngot  %v\nwant %v", ours, golden)
	}
}

// decodeFolded decodes JSON with its keys in lower case: the service's parser
// does not care, and the clients differ.
func decodeFolded(t *testing.T, raw []byte) map[string]any {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(string(raw)))
	dec.UseNumber()
	var m map[string]any
	if err := dec.Decode(&m); err != nil {
		t.Fatal(err)
	}
	return foldKeys(m).(map[string]any)
}

func foldKeys(v any) any {
	m, ok := v.(map[string]any)
	if !ok {
		return v
	}
	out := make(map[string]any, len(m))
	for k, v := range m {
		out[strings.ToLower(k)] = foldKeys(v)
	}
	return out
}

func TestMessageOfEveryProperty(t *testing.T) {
	yes := true
	b := testBatch(ingest.Properties{Format: ingest.CSV, Tags: []string{"a<&>b"}, IngestIfNotExists: []string{"other"},
		CreationTime:      time.Date(2025, 1, 2, 3, 4, 5, 600, time.FixedZone("x", 3600)),
		Validation:        &ingest.ValidationPolicy{Options: ingest.ValidateConstantColumns, BestEffort: true},
		IgnoreFirstRecord: true, IgnoreLastRecordIfInvalid: true, ExtendSchema: true, IngestionTimePolicy: &yes, Folder: "f", ZipPattern: ".*"})
	id := b.ID.String()
	got := additionalProperties(b, "tok")
	want := map[string]any{
		"authorizationContext": "tok", "format": "csv",
		"tags": `["a<&>b","ingest-by:` + id + `"]`, "ingestIfNotExists": `["other","` + id + `"]`,
		"creationTime":      "2025-01-02T02:04:05.0000006Z",
		"validationPolicy":  `{"ValidationOptions":1,"ValidationImplications":1}`,
		"ignoreFirstRecord": true, "ignoreLastRecordIfInvalid": true, "extend_schema": true,
		"policy_ingestiontime": true, "folder": "f", "zipPattern": ".*",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("\ngot  %v\nwant %v", got, want)
	}
	if len(b.Properties.Tags) != 1 || len(b.Properties.IngestIfNotExists) != 1 {
		t.Error("the batch's own properties changed")
	}
	b.Properties = ingest.Properties{Format: ingest.JSON, TreatGzAsUncompressed: true, RecreateSchema: true}
	got = additionalProperties(b, "tok")
	if got["TreatGzAsUncompressed"] != true || got["recreate_schema"] != true {
		t.Errorf("got %v", got)
	}
}

func TestMessageLimit(t *testing.T) {
	column := `{"column":"c","Properties":{"Path":"$.c"}},`
	for name, tc := range map[string]struct {
		props ingest.Properties
		want  string
	}{
		"fits":    {ingest.Properties{Format: ingest.JSON, Mapping: "[" + strings.Repeat(column, 500) + column[:len(column)-1] + "]"}, ""},
		"mapping": {ingest.Properties{Format: ingest.JSON, Mapping: "[" + strings.Repeat(column, 1500) + column[:len(column)-1] + "]"}, "held"},
		"tags":    {ingest.Properties{Format: ingest.JSON, Tags: bigTags()}, "permanent"},
	} {
		m := newMessage(testBatch(tc.props), envelope{blobURL: "https://a/b?sig=secret", size: 1, token: "secret"})
		text, err := m.encode()
		switch {
		case tc.want == "":
			raw, derr := base64.StdEncoding.DecodeString(text)
			if err != nil || derr != nil || !json.Valid(raw) || len(text) > maxMessageBytes {
				t.Errorf("%s: %v, %v", name, err, derr)
			}
		case err == nil || asError(err).Class.String() != tc.want || !strings.Contains(err.Error(), "queue takes 65536") || strings.Contains(err.Error(), "secret"):
			t.Errorf("%s: %v, want %s", name, err, tc.want)
		}
	}
}

func bigTags() []string {
	var tags []string
	for i := range ingest.MaxTags {
		tags = append(tags, fmt.Sprintf("drop-by:%03d%s", i, strings.Repeat("x", 900)))
	}
	return tags
}

func TestBlobName(t *testing.T) {
	id := testBatch(ingest.Properties{}).ID.String()
	for _, tc := range []struct {
		p    ingest.Properties
		want string
	}{
		{ingest.Properties{Database: "db1", Table: "t_1", Format: ingest.JSON}, "kustospool__db1__t_1__" + id + ".json.gz"},
		{ingest.Properties{Database: "Größe 1", Table: "../x?y#z%", Format: ingest.CSV}, "kustospool__Gr--e-1__---x-y-z-__" + id + ".csv.gz"},
		{ingest.Properties{Database: "d", Table: "t", Format: ingest.Parquet}, "kustospool__d__t__" + id + ".parquet"},
		{ingest.Properties{Database: "d", Table: "t", Format: ingest.CSV, TreatGzAsUncompressed: true}, "kustospool__d__t__" + id + ".csv"},
		{ingest.Properties{Database: "d", Table: "t", Format: ingest.CSV, ZipPattern: ".*"}, "kustospool__d__t__" + id + ".csv.zip"},
		{ingest.Properties{Database: strings.Repeat("d", 1024), Table: strings.Repeat("ü", 512), Format: ingest.JSON},
			"kustospool__" + strings.Repeat("d", 64) + "__" + strings.Repeat("-", 32) + "__" + id + ".json.gz"},
	} {
		b := testBatch(tc.p)
		b.Properties.Database, b.Properties.Table = tc.p.Database, tc.p.Table
		if got := upload.Name(b); got != tc.want {
			t.Errorf("got %s, want %s", got, tc.want)
		}
	}
}

// testBatch is a batch of db1.tbl1 with these properties.
func testBatch(p ingest.Properties) *ingest.Batch {
	p.Database, p.Table = "db1", "tbl1"
	return &ingest.Batch{ID: ingest.NewBatchID(ingest.SpoolID{1}, 1, 1, 5), Lane: 1, First: 1, Last: 5, Properties: p,
		Guarantee: ingest.ExactlyOnce, Confirm: ingest.ConfirmIngested, SealedAt: time.Now()}
}

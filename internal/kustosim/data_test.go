package kustosim

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// ragged has records of one, two and three fields.
const ragged = "a,1\nb\nc,3,x\n"

// "CSV lines with inconsistent number of fields: Stream_WrongNumberOfFields"
// (https://learn.microsoft.com/azure/data-explorer/ingest-invalid-data), and
// "failures should be ignored" where the validation policy says so
// (https://learn.microsoft.com/azure/data-explorer/ingestion-properties).
func TestRaggedCSV(t *testing.T) {
	const taken = `{"a":"a","b":1}` + "\n" + `{"a":"b","b":null}` + "\n" + `{"a":"c","b":3}` + "\n"
	for _, tt := range []struct {
		name, data string
		policy     any    // nil: none
		want       string // rows, or the code of the failure
	}{
		{"no policy", ragged, nil, "Stream_WrongNumberOfFields"},
		{"fail", ragged, `{"ValidationOptions":1,"ValidationImplications":0}`, "Stream_WrongNumberOfFields"},
		{"fail by name", ragged, map[string]any{"validationOptions": "ValidateCsvInputConstantColumns", "validationImplications": "Fail"}, "Stream_WrongNumberOfFields"},
		{"best effort", ragged, `{"ValidationOptions":1,"ValidationImplications":1}`, taken},
		{"best effort by name", ragged, `{"ValidationOptions":"ValidateCsvInputConstantColumns","ValidationImplications":"BestEffort"}`, taken},
		{"no validation", ragged, `{"ValidationOptions":0,"ValidationImplications":0}`, taken},
		{"no such option", ragged, `{"ValidationOptions":3}`, "BadRequest_MalformedIngestionProperty"},
		{"fewer than columns, always", "a\nb\n", nil, `{"a":"a","b":null}` + "\n" + `{"a":"b","b":null}` + "\n"},
		{"more than columns, always", "a,1,x\nb,2,y\n", nil, `{"a":"a","b":1}` + "\n" + `{"a":"b","b":2}` + "\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := start(t, nil)
			c.create(Column{Name: "a", Type: "string"}, Column{Name: "b", Type: "long"})
			edits := []edit{format("csv")}
			if tt.policy != nil {
				edits = append(edits, property("validationPolicy", tt.policy))
			}
			c.becomes(c.send("a.csv", tt.data, edits...), tt.want)
		})
	}
}

// becomes expects a failure with a code, or else these rows of db1.t1.
func (c *client) becomes(id, want string) {
	c.t.Helper()
	if want != "" && want[0] != '{' {
		c.expect(id, "Failed", want)
		c.count(0)
		return
	}
	c.expect(id, "Succeeded", "")
	if got := rowsText(c.sim.Rows("db1", "t1")); got != want {
		c.t.Errorf("the rows are\n%s, want\n%s", got, want)
	}
}

// The path of https://learn.microsoft.com/kusto/management/json-mapping, "JSON
// paths that include special characters should be escaped as ['Property Name']",
// and the filter of https://learn.microsoft.com/azure/data-explorer/ingest-json-formats,
// which is known and not simulated.
func TestPathsOfMappings(t *testing.T) {
	c := start(t, nil)
	c.create(Column{Name: "a", Type: "string"}, Column{Name: "b", Type: "string"}, Column{Name: "c", Type: "dynamic"})
	c.command("db1", `.create table t1 ingestion json mapping 'M' '[{"column":"a","Properties":{"Path":"$.[\'Property name with space\']"}},`+
		`{"column":"b","Properties":{"Path":"a constant"}},{"column":"c","Properties":{"Path":"$.events","Transform":"PropertyBagArrayToDictionary"}}]'`)
	c.becomes(c.send("a.json", `{"Property name with space":"x","events":[{"n1":"v1"},{"n2":"v2"}]}`, property("ingestionMappingReference", "M")),
		`{"a":"x","b":"a constant","c":{"n1":"v1","n2":"v2"}}`+"\n")

	const filter = `[{"column":"a","Properties":{"Path":"$.event[?(@.Key == 'timestamp')]"}}]`
	id := c.send("b.json", `{}`, property("ingestionMapping", filter))
	if row := c.expect(id, "Failed", "BadRequest_NotSupported"); !strings.Contains(fmt.Sprint(row["Details"]), "not simulated") {
		t.Errorf("the details are %v", row["Details"])
	}
	status, text := c.post("/v1/rest/mgmt", "db1", ".create table t1 ingestion json mapping 'F' ```"+filter+"```")
	if status != http.StatusBadRequest || !strings.Contains(string(text), "not simulated") {
		t.Errorf("a filter is %d %s", status, text)
	}
}

// "Each CSV mapping element must contain either of": Ordinal, ConstValue,
// Transform (https://learn.microsoft.com/kusto/management/csv-mapping).
func TestCSVMappingByPath(t *testing.T) {
	const byPath = `[{"column":"a","Properties":{"Path":"$.a"}}]`
	c := start(t, nil)
	c.create(Column{Name: "a", Type: "string"})
	c.becomes(c.send("a.csv", "x\n", format("csv"), property("ingestionMapping", byPath)), "BadRequest_InvalidMapping")
	if status, text := c.post("/v1/rest/mgmt", "db1", ".create table t1 ingestion csv mapping 'M' '"+byPath+"'"); status != http.StatusBadRequest || !strings.Contains(string(text), "Ordinal") {
		t.Errorf("the mapping is %d %s", status, text)
	}
	c.becomes(c.send("b.csv", "x\n", format("csv"), property("ingestionMapping", `[{"column":"a","Properties":{"Ordinal":0}}]`)), `{"a":"x"}`+"\n")
}

// "If a column referenced in the mapping doesn't exist in the table, it gets added
// automatically to the table as the last column [..], given a valid data type is
// specified for the column", and "If the table referenced in the mapping doesn't
// exist in the database, it gets created automatically, given that valid data types
// are specified for all columns", both "for queued ingestion"
// (https://learn.microsoft.com/kusto/management/mappings).
func TestQueuedMappingCreatesColumns(t *testing.T) {
	mapping := func(elements ...string) edit {
		return property("ingestionMapping", "["+strings.Join(elements, ",")+"]")
	}
	const (
		a     = `{"column":"a","Properties":{"Path":"$.a"}}`
		b     = `{"column":"b","datatype":"int","Properties":{"Path":"$.b"}}`
		s     = `{"column":"s","datatype":"string","Properties":{"Path":"$.s"}}`
		plain = `{"column":"b","Properties":{"Path":"$.b"}}`
	)
	c := start(t, &Options{Databases: []string{"db1"}})
	c.create(Column{Name: "a", Type: "long"})
	c.expect(c.send("a.json", `{"a":1}`), "Succeeded", "")
	c.expect(c.send("plain.json", `{"a":2,"b":3}`, mapping(a, plain)), "Failed", "BadRequest_InvalidMapping")
	c.expect(c.send("torn.multijson", `{"a":2`, format("multijson"), mapping(a, b)), "Failed", "BadRequest_InvalidBlob")
	if columns, _ := c.sim.Columns("db1", "t1"); len(columns) != 1 {
		t.Errorf("what failed left the columns %v", columns)
	}
	c.becomes(c.send("b.json", `{"a":2,"b":3,"s":"x"}`, mapping(s, a, b)), `{"a":1,"s":"","b":null}`+"\n"+`{"a":2,"s":"x","b":3}`+"\n")
	if columns, _ := c.sim.Columns("db1", "t1"); fmt.Sprint(columns) != "[{a long} {s string} {b int}]" {
		t.Errorf("the columns are %v", columns)
	}

	made := field("TableName", "made")
	c.expect(c.send("c.json", `{"a":2,"b":3}`, made, mapping(a, b)), "Failed", "BadRequest_TableNotExist")
	c.expect(c.send("d.json", `{"b":3}`, made, mapping(b, s)), "Succeeded", "")
	if got := rowsText(c.sim.Rows("db1", "made")); got != `{"b":3,"s":""}`+"\n" {
		t.Errorf("the rows are %s", got)
	}
}

// What extend_schema and folder do, as
// https://learn.microsoft.com/azure/data-explorer/ingestion-properties says it of
// other commands: (a, b) becomes (a, b, c, d), "additional columns added to the
// table at the end"; the folder is assigned, and an existing one overridden.
func TestExtendSchemaAndFolder(t *testing.T) {
	const mapping = `ingestionMapping='[{"column":"a","Properties":{"Ordinal":0}},{"column":"c","datatype":"datetime","Properties":{"Ordinal":1}},{"column":"d","datatype":"string","Properties":{"Ordinal":2}}]'`
	c := start(t, &Options{Databases: []string{"db1"}})
	c.command("db1", ".create table t1 (a:string, b:int) with (folder='First', docstring='of ships')")
	tell := func() string {
		row := c.command("db1", ".show tables")[0]
		return fmt.Sprint(row["Folder"], ", ", row["DocString"])
	}
	if got := tell(); got != "First, of ships" {
		t.Errorf("the table is told as %s", got)
	}
	const inline = ".ingest inline into table t1 with (format='csv', "
	if status, text := c.post("/v1/rest/mgmt", "db1", inline+mapping+") <| x,2024-01-01,y"); status != http.StatusBadRequest || !strings.Contains(string(text), "BadRequest_InvalidMapping") {
		t.Errorf("without extend_schema: %d %s", status, text)
	}
	c.command("db1", inline+mapping+", extend_schema=true, folder='Tables/Temporary') <|x,2024-01-01,y")
	if columns, _ := c.sim.Columns("db1", "t1"); fmt.Sprint(columns) != "[{a string} {b int} {c datetime} {d string}]" {
		t.Errorf("the columns are %v", columns)
	}
	if got := rowsText(c.sim.Rows("db1", "t1")); got != `{"a":"x","b":null,"c":"2024-01-01T00:00:00Z","d":"y"}`+"\n" {
		t.Errorf("the rows are %s", got)
	}
	if got := tell(); got != "Tables/Temporary, of ships" {
		t.Errorf("the table is told as %s", got)
	}
	c.expect(c.send("a.json", `{"a":"x"}`, property("folder", "Queued")), "Succeeded", "")
	if got := tell(); got != "Queued, of ships" {
		t.Errorf("the table is told as %s", got)
	}
	c.expect(c.send("b.json", `{"a":"x"}`, property("extend_schema", "perhaps")), "Failed", "BadRequest_MalformedIngestionProperty")
}

// "whitespace characters are important" in the data of a command
// (https://learn.microsoft.com/kusto/management/data-ingestion/ingest-inline).
func TestInlineBlanksAreData(t *testing.T) {
	c := start(t, nil)
	c.create(Column{Name: "SKU", Type: "string"}, Column{Name: "Quantity", Type: "long"})
	c.command("db1", ".ingest inline into table t1 <|\n    Shoes,1000\n    Wide Shoes,50\n\"Coats with \"\"quotes\"\"\",5\n")
	c.command("db1", ".ingest inline into table t1 <| // no comment, 7 ")
	const want = `{"SKU":"    Shoes","Quantity":1000}` + "\n" + `{"SKU":"    Wide Shoes","Quantity":50}` + "\n" +
		`{"SKU":"Coats with \"quotes\"","Quantity":5}` + "\n" + `{"SKU":" // no comment","Quantity":7}` + "\n"
	if got := rowsText(c.sim.Rows("db1", "t1")); got != want {
		t.Errorf("the rows are\n%s, want\n%s", got, want)
	}
}

// "The datetime value (formatted as an ISO8601 string)", and the example of the
// page is a date (https://learn.microsoft.com/azure/data-explorer/ingestion-properties).
func TestCreationTime(t *testing.T) {
	c := start(t, nil)
	c.create()
	for i, text := range []string{"2017-02-13", "2017-02-13T11:09:36.7992775Z"} {
		c.expect(c.send("a.json", "{}", property("creationTime", text)), "Succeeded", "")
		if got := c.sim.Extents("db1", "t1")[i].Created.Format(time.RFC3339Nano); !strings.HasPrefix(got, text) {
			t.Errorf("%s is kept as %s", text, got)
		}
	}
	c.expect(c.send("a.json", "{}", property("creationTime", "Saturday, 08-Nov-14 15:05:02 GMT")), "Failed", "BadRequest_MalformedIngestionProperty")
}

// The name of the kind as the clients spell it and as the page does
// (https://learn.microsoft.com/kusto/management/w3c-log-file-mapping).
func TestSpellingsOfW3CLogFile(t *testing.T) {
	for _, kind := range []string{"W3CLogFile", "W3cLogFile", "W3CLOGFILE", "w3clogfile"} {
		c := start(t, nil)
		c.create()
		c.expect(c.send("a.log", "#Version: 1.0\n", format("w3clogfile"), property("ingestionMappingType", kind),
			property("ingestionMapping", `[{"column":"ip","Properties":{"Field":"c-ip"}}]`)), "Succeeded", "")
	}
	c := start(t, nil)
	c.create()
	c.expect(c.send("a.log", "#Version: 1.0\n", format("w3clogfile"), property("ingestionMappingType", "W3C")), "Failed", "BadRequest_MalformedIngestionProperty")
}

// Content that is gzip is read as such whatever the blob's name, which a client
// of the service relies on. The page knows the name's extension only
// (https://learn.microsoft.com/azure/data-explorer/ingestion-supported-formats).
func TestGzipUnderAnotherName(t *testing.T) {
	c := start(t, nil)
	c.create(Column{Name: "a", Type: "string"})
	id := c.send("a.csv", gzipped(t, "x\ny\n"), format("csv"), field("RawDataSize", 4))
	c.becomes(id, `{"a":"x"}`+"\n"+`{"a":"y"}`+"\n")
	if n := c.sim.Stats().RawSizeMismatch; n != 0 {
		t.Errorf("%d raw sizes are taken for wrong", n)
	}
}

// "Malformed records in JSON data ingested with format="multijson" (e.g. missing
// braces or quotes): BadRequest_InvalidBlob", the whole file; with format="json"
// "Malformed records are ignored and not ingested"
// (https://learn.microsoft.com/azure/data-explorer/ingest-invalid-data).
func TestMalformedJSON(t *testing.T) {
	for _, data := range []string{"{\"a\":1}\n{\"a\":2\n{\"a\":3}\n", "{\"a\":1}\n{\"a:2}\n{\"a\":3}\n"} {
		c := start(t, nil)
		c.create(Column{Name: "a", Type: "long"})
		c.becomes(c.send("a.multijson", data, format("multijson")), "BadRequest_InvalidBlob")
		c.becomes(c.send("a.json", data), `{"a":1}`+"\n"+`{"a":3}`+"\n")
	}
}

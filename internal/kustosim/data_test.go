package kustosim

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
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

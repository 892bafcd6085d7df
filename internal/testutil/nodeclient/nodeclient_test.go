package nodeclient

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"kustospool/internal/kustosim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The official client ingests csv and json, queued as files, as streams and as
// a blob where it is, and by streaming ingestion, into the simulator: every row is there, and every queued ingestion is
// reported, also those that must fail.
func TestOfficialClientIngestsIntoTheSimulator(t *testing.T) {
	sim, err := kustosim.Start(&kustosim.Options{Token: "token"})
	if err != nil {
		t.Fatal(err)
	}
	defer sim.Close()
	columns := []kustosim.Column{{Name: "a", Type: "long"}, {Name: "b", Type: "string"}}
	for _, table := range []string{"CsvFile", "CsvStream", "CsvBlob", "JsonFile", "JsonStream", "Mapped", "CsvStreamed", "JsonStreamed"} {
		if err := sim.CreateTable("db", table, columns...); err != nil {
			t.Fatal(err)
		}
	}
	if err := sim.CreateMapping("db", "Mapped", "json", "M", `[{"column":"a","Properties":{"Path":"$.x"}},{"column":"b","Properties":{"Path":"$.y"}}]`); err != nil {
		t.Fatal(err)
	}
	if err := sim.CreateMapping("db", "JsonStreamed", "json", "M", `[{"column":"a","Properties":{"Path":"$.a"}},{"column":"b","Properties":{"Path":"$.b"}}]`); err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"CsvStreamed", "JsonStreamed"} {
		if err := sim.SetStreaming("db", table, true); err != nil {
			t.Fatal(err)
		}
	}
	const csv, json = "1,one\n2,\"two, ü\"\n3,three\n", `{"a":1,"b":"one"}` + "\n" + `{"a":2,"b":"two, ü"}` + "\n" + `{"a":3,"b":"three"}` + "\n"
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	blob, err := sim.PutBlob(t.Context(), "in/rows.csv", []byte(csv))
	if err != nil {
		t.Fatal(err)
	}
	sas, err := sim.BlobSAS(blob)
	if err != nil {
		t.Fatal(err)
	}
	result := Run(t, Task{Endpoint: sim.Endpoint(), Token: "token", Database: "db", Items: []Item{
		{Table: "CsvFile", Format: "csv", File: file("rows.csv", csv)},
		{Table: "CsvStream", Format: "csv", Data: csv},
		{Table: "CsvBlob", Format: "csv", Blob: blob + "?" + sas},
		{Table: "JsonFile", Format: "json", File: file("rows.json", json)},
		{Table: "JsonStream", Format: "json", Data: json},
		{Table: "Mapped", Format: "json", Data: `{"x":7,"y":"seven"}`, Mapping: "M"},
		{Table: "Mapped", Format: "json", Data: `{"x":8}`, Mapping: "absent"},
		{Table: "Absent", Format: "csv", Data: csv},
		{Table: "CsvStreamed", Format: "csv", Data: csv, Way: Streaming},
		{Table: "JsonStreamed", Format: "json", Data: json, Mapping: "M", Way: Streaming},
	}})
	for i, o := range result.Outcomes {
		if o.Error != "" {
			t.Errorf("item %d: %s", i, o.Error)
		}
	}
	rows := `{"a":1,"b":"one"} {"a":2,"b":"two, ü"} {"a":3,"b":"three"}`
	for table, want := range map[string]string{"CsvFile": rows, "CsvStream": rows, "CsvBlob": rows, "JsonFile": rows, "JsonStream": rows, "CsvStreamed": rows, "JsonStreamed": rows, "Mapped": `{"a":7,"b":"seven"}`} {
		var got []string
		for _, r := range sim.Rows("db", table) {
			got = append(got, string(r))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s has %s, want %s", table, got, want)
		}
	}
	var got []string
	for _, r := range result.Reports {
		if r.SourceID == "" || !strings.Contains(r.Path, "/ingestdata-") && !strings.HasSuffix(r.Path, "/in/rows.csv") || strings.Contains(r.Path, "sig=") {
			t.Errorf("report %+v", r)
		}
		got = append(got, fmt.Sprintf("%s %s.%s %s %s", r.Queue, r.Database, r.Table, r.ErrorCode, r.FailureStatus))
	}
	slices.Sort(got)
	want := []string{
		"failure db.Absent BadRequest_TableNotExist Permanent",
		"failure db.Mapped BadRequest_MappingReferenceWasNotFound Permanent",
		"success db.CsvBlob  ", "success db.CsvFile  ", "success db.CsvStream  ", "success db.JsonFile  ", "success db.JsonStream  ", "success db.Mapped  ",
	}
	if !slices.Equal(got, want) {
		t.Errorf("reports\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// The script talks to this machine only.
func TestScriptRefusesOtherHosts(t *testing.T) {
	node, dir, err := installed()
	if err != nil {
		t.Skipf("no Node client, which the other test reports: %v", err)
	}
	for _, host := range []string{"192.0.2.1", "ingest.invalid"} {
		cmd := exec.CommandContext(t.Context(), node, "ingest.mjs")
		cmd.Dir = dir
		cmd.Stdin = strings.NewReader(fmt.Sprintf(`{"endpoint":"https://%s","token":"t","database":"d","items":[{"table":"t","format":"csv","data":"1"}]}`, host))
		out, err := cmd.CombinedOutput()
		if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() == 0 {
			t.Errorf("%s: %v %s", host, err, out)
		}
		if host == "192.0.2.1" && !strings.Contains(string(out), "refused: a connection to") {
			t.Errorf("%s: %s", host, out)
		}
	}
}

// The lock must name no registry: the machine's own configuration decides.
func TestLockNamesNoRegistry(t *testing.T) {
	lock, err := files.ReadFile("npm/package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(lock), `"resolved"`) || strings.Contains(string(lock), "://") {
		t.Error("the lock file names an address")
	}
}

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kustospool/engine"
	"kustospool/internal/kustosim"
	"kustospool/transport/transporttest"
)

func TestSend_CreateTable(t *testing.T) {
	sim := simulator(t, &kustosim.Options{Databases: []string{"D"}})
	mapping := write(t, "m.json", `[{"column":"a","Properties":{"path":"$.x"}}]`)
	send := func(args ...string) result {
		return kustospool(t, "{\"x\":1}\n", append([]string{"send", "--to", sim.Endpoint(), "--database", "D", "--table", "T",
			"--spool", filepath.Join(t.TempDir(), "s")}, append(args, "-")...)...)
	}
	// The second time both are there, and the table gets a column.
	for i, schema := range []string{"a:long", "a:long,b:string"} {
		got := send("--create-table", schema, "--create-mapping", "--mapping", "@"+mapping, "--mapping-reference", "m")
		if got.code != exitOK || !strings.Contains(got.stderr, "Table D.T is there") || sim.Count("D", "T") != i+1 {
			t.Errorf("%d: %+v, %d rows", i, got, sim.Count("D", "T"))
		}
	}
	if row := string(sim.Rows("D", "T")[1]); !strings.Contains(row, `"a":1`) || !strings.Contains(row, `"b"`) {
		t.Errorf("row %s", row)
	}
}

// The mapping's kind is that of the inputs, be they blobs.
func TestSend_CreateMappingForBlobs(t *testing.T) {
	sim := simulator(t, &kustosim.Options{Databases: []string{"D"}})
	for _, name := range []string{"a.json", "b.csv"} {
		uri, err := sim.PutBlob(t.Context(), name, []byte("{\"x\":1}\n"))
		if err != nil {
			t.Fatal(err)
		}
		inputs := []string{uri + ";impersonate"}
		code := exitOK
		if name == "b.csv" {
			inputs, code = append(inputs, write(t, "f.jsonl", "{}\n")), exitUsage // of two kinds
		}
		for _, mode := range []string{"queued", "direct"} {
			got := kustospool(t, "", append([]string{"send", "--to", sim.Endpoint(), "--database", "D", "--table", "T", "--mode", mode, "--spool", filepath.Join(t.TempDir(), "s"),
				"--create-table", "a:long", "--create-mapping", "--mapping", `[{"column":"a","Properties":{"path":"$.x"}}]`, "--mapping-reference", "m"}, inputs...)...)
			if got.code != code {
				t.Errorf("%s by %s: %+v", name, mode, got)
			}
		}
	}
	if rows := sim.Rows("D", "T"); len(rows) != 2 || !strings.Contains(string(rows[0]), `"a":1`) {
		t.Errorf("rows %s", rows)
	}
}

func TestSend_CreateTableInSimulator(t *testing.T) {
	temporaryDir(t)
	out := filepath.Join(t.TempDir(), "rows")
	got := kustospool(t, "7,x\n", "send", "--to", "sim:", "--database", "D", "--table", "T", "--format", "csv", "--create-table", "n:int,text:string", "--rows-out", out, "-")
	rows, err := os.ReadFile(out)
	if got.code != exitOK || err != nil || string(rows) != "{\"n\":7,\"text\":\"x\"}\n" {
		t.Errorf("%+v, %q, %v", got, rows, err)
	}
}

// What cannot be created stores nothing, and says what would help.
func TestSend_CreateRefused(t *testing.T) {
	sim := simulator(t, &kustosim.Options{Databases: []string{"D"}})
	sim.Fault(kustosim.Engine, kustosim.Fault{Kind: kustosim.Respond, Status: 403, PathContains: ".create-merge"})
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"refused":                 {[]string{"--to", sim.Endpoint(), "--create-table", "a:int"}, exitUsage, "User of the database"},
		"database":                {[]string{"--to", sim.Endpoint(), "--create-mapping", "--mapping", `[{"column":"a","Properties":{"path":"$.a"}}]`, "--mapping-reference", "m"}, exitUsage, "'T' could not be found"},
		"type":                    {[]string{"--to", sim.Endpoint(), "--create-table", "a:varchar"}, exitUsage, "varchar"},
		"mapping":                 {[]string{"--to", sim.Endpoint(), "--create-mapping", "--mapping", "{}", "--mapping-reference", "m"}, exitUsage, "JSON array"},
		"mapping, behind a table": {[]string{"--to", sim.Endpoint(), "--create-table", "a:int", "--create-mapping", "--mapping", "{}", "--mapping-reference", "m"}, exitUsage, "JSON array"},
		"no mapping":              {[]string{"--to", sim.Endpoint(), "--create-mapping"}, exitUsage, "--mapping-reference"},
		"a directory":             {[]string{"--to", "dir:" + t.TempDir(), "--create-table", "a:int"}, exitUsage, "a directory has no tables"},
	} {
		spool := filepath.Join(t.TempDir(), "s")
		got := kustospool(t, "{\"a\":1}\n", append([]string{"send", "--database", "D", "--table", "T", "--spool", spool, "-"}, c.args...)...)
		if got.code != c.code || !strings.Contains(got.stderr, c.says) {
			t.Errorf("%s: %+v, want %d with %q", name, got, c.code, c.says)
		}
		if _, err := os.Stat(spool); !os.IsNotExist(err) {
			t.Errorf("%s: the spool was made: %v", name, err)
		}
	}
}

// What waits for a table that is missing is delivered by the drain that creates it.
func TestDrain_CreateTable(t *testing.T) {
	sim := simulator(t, &kustosim.Options{Databases: []string{"D"}})
	spool := filepath.Join(t.TempDir(), "s")
	store := func(table string) {
		t.Helper()
		if got := kustospool(t, "{\"a\":1}\n", "send", "--to", sim.Endpoint(), "--database", "D", "--table", table, "--spool", spool, "--no-wait", "-"); got.code != exitOK {
			t.Fatalf("%+v", got)
		}
	}
	drain := func(code int, says string, args ...string) {
		t.Helper()
		got := kustospool(t, "", append([]string{"drain", "--to", sim.Endpoint(), "--spool", spool}, args...)...)
		if got.code != code || !strings.Contains(got.stderr, says) {
			t.Errorf("%q: %+v, want code %d with %q", args, got, code, says)
		}
	}
	store("T")
	drain(exitPending, "BadRequest_TableNotExist")
	drain(exitUsage, "varchar", "--create-table", "a:varchar")
	drain(exitUsage, "must be one of the spool's: D.T", "--create-table", "a:int", "--table", "U")
	drain(exitUsage, "a directory has no tables", "--create-table", "a:int", "--to", "dir:"+t.TempDir())
	drain(exitOK, "Table D.T is there", "--create-table", "a:int")
	drain(exitUsage, "no records wait", "--create-table", "a:int")
	store("T")
	store("U")
	drain(exitUsage, "name one with --table: D.T, D.U", "--create-table", "a:int")
	drain(exitOK, "Table D.U is there", "--create-table", "a:int", "--table", "D.U")
	held, err := engine.Open(spool, transporttest.NewFake(), nil)
	if err != nil {
		t.Fatal(err)
	}
	drain(exitUsage, "create the table in the service, or stop that process first", "--create-table", "a:int", "--lock-timeout", "0")
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	if sim.Count("D", "T") != 2 || sim.Count("D", "U") != 1 {
		t.Errorf("%d rows in T and %d in U", sim.Count("D", "T"), sim.Count("D", "U"))
	}
}

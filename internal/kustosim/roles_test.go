package kustosim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// principals are one of each role, and one with two.
var principals = map[string]Role{"view": Viewer, "ingest": Ingestor, "use": User, "monitor": Monitor, "admin": Admin, "both": Ingestor | User}

func startWithRoles(t *testing.T) *Sim {
	t.Helper()
	s, err := Start(&Options{Databases: []string{"db"}, Token: "root", Principals: principals})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if err := s.CreateTable("db", "tbl"); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRoles(t *testing.T) {
	s := startWithRoles(t)
	mgmt := func(csl string) (string, string, string) {
		return "POST", "/v1/rest/mgmt", fmt.Sprintf(`{"db":"db","csl":%q}`, csl)
	}
	type call struct{ method, path, body string }
	const both = Role(-1) // an Ingestor who is a User as well
	of := func(method, path, body string) call { return call{method, path, body} }
	for _, tc := range []struct {
		call call
		need Role
		says string // of who has none of them
	}{
		{of("POST", "/v1/rest/query", `{"db":"db","csl":"tbl | count"}`), Viewer | User, "Viewer or User"},
		{of(mgmt(".get ingestion resources")), Ingestor, "Ingestor"},
		{of(mgmt(".get   kusto identity token")), Ingestor, "Ingestor"},
		{of(mgmt(".ingest inline into table tbl <| 1")), Ingestor, "Ingestor"},
		{of("GET", "/v1/rest/ingestion/configuration", ""), Ingestor, "Ingestor"},
		{of("POST", "/v1/rest/ingestion/queued/db/tbl", `{}`), both, "Ingestor and User"},
		{of("GET", "/v1/rest/ingestion/queued/db/tbl/x", ""), both, "Ingestor and User"},
		{of("POST", "/v1/rest/ingest/db/tbl?streamFormat=csv", "1"), Ingestor, "Ingestor"},
		{of(mgmt(".show queued ingestion operations 'x'")), Ingestor, "Ingestor"},
		{of(mgmt(".show table tbl extents")), Viewer | User | Monitor, "Viewer or User or Monitor"},
		{of(mgmt(".show tables")), Viewer | User | Monitor, "Viewer or User or Monitor"},
		{of(mgmt(".show commands")), Viewer | Ingestor | User | Monitor, ""},
		{of(mgmt(".show operations")), Viewer | Ingestor | User | Monitor, ""},
		{of(mgmt(".show capacity")), User, "User"},
		{of(mgmt(".create-merge table tbl (a:string)")), User, "User"},
		{of(mgmt(".create-merge table tbl (ingestion:string)")), User, "User"},
		{of(mgmt(".create table ['tbl'] ingestion json mapping 'm' '[]'")), Ingestor, "Ingestor"},
		{of(mgmt(".create-or-alter table tbl ingestion json mapping 'm' '[]'")), Ingestor, "Ingestor"},
		{of(mgmt(".drop table nothing")), 0, "Admin"},
		{of(mgmt(".alter table tbl policy streamingingestion disable")), 0, "Admin"},
	} {
		for token, role := range map[string]Role{"": 0, "stranger": 0, "view": Viewer, "ingest": Ingestor, "use": User, "monitor": Monitor, "both": Ingestor | User, "admin": Admin, "root": Admin} {
			status, reply := rest(t, s, tc.call.method, tc.call.path, token, tc.call.body)
			may := role&(tc.need|Admin) != 0
			if tc.need == both {
				may = role == Ingestor|User || role == Admin
			}
			switch {
			case role == 0 && status != http.StatusUnauthorized,
				role != 0 && !may && (status != http.StatusForbidden || !strings.Contains(fmt.Sprint(reply), "the role "+tc.says+" and has "+role.String())),
				may && (status == http.StatusForbidden || status == http.StatusUnauthorized):
				t.Errorf("%s %s %s as %q: %d %v", tc.call.method, tc.call.path, tc.call.body, token, status, reply)
			}
		}
	}
}

// rowsAs runs a command as a principal and returns its rows.
func rowsAs(t *testing.T, s *Sim, token, csl string) [][]any {
	t.Helper()
	status, reply := rest(t, s, "POST", "/v1/rest/mgmt", token, fmt.Sprintf(`{"db":"db","csl":%q}`, csl))
	text, err := json.Marshal(reply)
	if err != nil || status != http.StatusOK {
		t.Fatalf("%s as %s: %d %v %v", csl, token, status, reply, err)
	}
	var set struct{ Tables []struct{ Rows [][]any } }
	if err := json.Unmarshal(text, &set); err != nil || len(set.Tables) != 1 {
		t.Fatalf("%s: %s", csl, text)
	}
	return set.Tables[0].Rows
}

// "Other users can only see commands that were invoked by them."
func TestCommandsOfOthersAreNotSeen(t *testing.T) {
	s := startWithRoles(t)
	rowsAs(t, s, "ingest", ".ingest inline into table tbl <| 1")
	rowsAs(t, s, "both", ".ingest inline into table tbl <| 2")
	operation := rowsAs(t, s, "admin", ".show operations")[0][0].(string)
	for token, want := range map[string]int{"ingest": 1, "both": 1, "view": 0, "use": 0, "monitor": 2, "admin": 2, "root": 2} {
		if rows := rowsAs(t, s, token, ".show commands"); len(rows) != want {
			t.Errorf("%s sees %d commands, want %d", token, len(rows), want)
		}
		if rows := rowsAs(t, s, token, ".show operations"); len(rows) != want {
			t.Errorf("%s sees %d operations, want %d", token, len(rows), want)
		}
		one := min(want, 1)
		if token == "both" {
			one = 0 // it is the other's
		}
		if rows := rowsAs(t, s, token, ".show operations "+operation); len(rows) != one {
			t.Errorf("%s sees %d operations of that id, want %d", token, len(rows), one)
		}
	}
}

// The REST API takes a User of the database as well, to submit and to ask; by
// command an Ingestor may ask.
func TestQueuedOperationsTakeAnIngestor(t *testing.T) {
	s := startWithRoles(t)
	const body = `{"blobs":[{"url":"http://localhost:1/a/b/c"}],"properties":{"format":"csv","enableTracking":true}}`
	if status, _ := rest(t, s, "POST", "/v1/rest/ingestion/queued/db/tbl", "ingest", body); status != http.StatusForbidden {
		t.Error(status)
	}
	status, reply := rest(t, s, "POST", "/v1/rest/ingestion/queued/db/tbl", "both", body)
	id, _ := reply["ingestionOperationId"].(string)
	if status != http.StatusOK || id == "" {
		t.Fatal(status, reply)
	}
	show := fmt.Sprintf(".show queued ingestion operations %q", id)
	if err := s.Wait(t.Context(), func() bool { return rowsAs(t, s, "ingest", show)[0][3] == "Failed" }); err != nil {
		t.Fatal(err)
	}
	row := rowsAs(t, s, "ingest", show)[0]
	if row[0] != id || row[4] != 1.0 || row[5] != 0.0 || row[7] != 0.0 || row[8] != 1.0 || row[9] == "" || row[10] != "db" || row[11] != "tbl" {
		t.Error(row)
	}
	if row := rowsAs(t, s, "ingest", show+" details")[0]; row[1] != "http://localhost:1/a/b/c" || row[2] != "Failed" || row[4] == nil || row[5] == "" {
		t.Error(row)
	}
	if rows := rowsAs(t, s, "ingest", fmt.Sprintf(".show queued ingestion operations ('nothing', '%s')", id)); len(rows) != 1 {
		t.Error(rows)
	}
	for token, want := range map[string]int{"ingest": http.StatusForbidden, "use": http.StatusForbidden, "both": http.StatusOK} {
		if status, _ := rest(t, s, "GET", "/v1/rest/ingestion/queued/db/tbl/"+id, token, ""); status != want {
			t.Error(token, status)
		}
	}
	// The right is looked at before the operation.
	for token, want := range map[string]int{"ingest": http.StatusForbidden, "both": http.StatusNotFound} {
		if status, _ := rest(t, s, "GET", "/v1/rest/ingestion/queued/db/tbl/nothing", token, ""); status != want {
			t.Error(token, status)
		}
	}
}

func onTable(principal, table string, role Role) TableRole {
	return TableRole{Principal: principal, Database: "db", Table: table, Role: role}
}

// A role of a table is one of that table, and a User is the Admin of the tables
// that it made: it ingests into them, makes their mappings and drops them.
func TestRolesOfTables(t *testing.T) {
	s, err := Start(&Options{Databases: []string{"db"}, Token: "root",
		Principals: map[string]Role{"box": User, "use": User, "ingest": Ingestor, "more": Ingestor},
		TableRoles: []TableRole{onTable("box", "tbl", Ingestor), onTable("more", "tbl", Admin), onTable("bare", "tbl", Ingestor)}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, table := range []string{"tbl", "other"} {
		if err := s.CreateTable("db", table); err != nil {
			t.Fatal(err)
		}
	}
	run := func(token, csl string) int {
		status, _ := rest(t, s, "POST", "/v1/rest/mgmt", token, fmt.Sprintf(`{"db":"db","csl":%q}`, csl))
		return status
	}
	if got := run("use", ".create table mine (a:string)"); got != http.StatusOK {
		t.Fatal(got)
	}
	for _, tc := range []struct {
		token, csl string
		may        bool
	}{
		{"box", ".get ingestion resources", true},
		{"bare", ".get ingestion resources", true}, // of some table
		{"use", ".get ingestion resources", true},  // of its own
		{"box", ".ingest inline into table tbl <| 1", true},
		{"box", ".ingest inline into table other <| 1", false},
		{"box", ".create table tbl ingestion json mapping 'm' '[]'", true},
		{"box", ".create table other ingestion json mapping 'm' '[]'", false},
		{"box", ".alter table tbl policy streamingingestion enable", false},
		{"bare", ".show table tbl extents", false},
		{"more", ".alter table tbl policy streamingingestion enable", true},
		{"more", ".alter table other policy streamingingestion enable", false},
		{"more", ".show table tbl extents", true},
		{"more", ".show table other extents", false},
		{"use", ".ingest inline into table mine <| 1", true},
		{"use", ".create table mine ingestion json mapping 'm' '[]'", true},
		{"use", ".create-merge table tbl (b:string)", true}, // exists: it is not the User's
		{"use", ".ingest inline into table tbl <| 1", false},
		{"use", ".drop table tbl", false},
		{"use", ".drop table mine", true},
		{"nobody", ".get ingestion resources", false},
	} {
		if got := run(tc.token, tc.csl); (got != http.StatusForbidden && got != http.StatusUnauthorized) != tc.may {
			t.Errorf("%s as %s: %d", tc.csl, tc.token, got)
		}
	}
	for _, tc := range []struct {
		token, table string
		may          bool
	}{{"box", "tbl", true}, {"box", "other", false}, {"bare", "tbl", true}, {"ingest", "other", true}, {"use", "tbl", false}} {
		status, _ := rest(t, s, "POST", "/v1/rest/ingest/db/"+tc.table+"?streamFormat=csv", tc.token, "1")
		if (status != http.StatusForbidden) != tc.may {
			t.Errorf("stream into %s as %s: %d", tc.table, tc.token, status)
		}
	}
}

// as adds the token of a principal to what goes to the Kusto endpoint.
type as struct {
	principal string
	next      http.RoundTripper
}

func (a as) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasPrefix(r.URL.Path, "/v1/rest/") {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+a.principal)
	}
	return a.next.RoundTrip(r)
}

// A message is ingested with the rights of whose identity token it carries.
func TestMessagesHaveTheRightsOfTheirToken(t *testing.T) {
	sim, err := Start(&Options{Databases: []string{"db"}, Principals: map[string]Role{"box": Ingestor, "use": User}, TableRoles: []TableRole{onTable("use", "other", Ingestor)}})
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"t1", "other"} {
		if err := sim.CreateTable("db", table); err != nil {
			t.Fatal(err)
		}
	}
	c := &client{t: t, sim: sim, http: &http.Client{Transport: as{"use", http.DefaultTransport}}}
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	c.discover()
	c.expect(c.send("a.json", "{\"n\":1}\n", field("DatabaseName", "db"), field("TableName", "other")), "Succeeded", "")
	c.expect(c.send("b.json", "{\"n\":1}\n", field("DatabaseName", "db")), "Failed", "Forbidden")
	c.http.Transport = as{"box", http.DefaultTransport}
	c.discover()
	c.expect(c.send("c.json", "{\"n\":1}\n", field("DatabaseName", "db")), "Succeeded", "")
}

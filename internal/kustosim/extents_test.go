package kustosim

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"

	"kustospool/internal/kustosim/internal/catalog"
)

// "Extents that have the same set of drop-by: tags can be merged together", and
// "when extents merge, their tags also merge": the example of the page.
func TestExtentsMergeWithTheirTags(t *testing.T) {
	c := start(t, nil)
	c.create(Column{Name: "a", Type: "string"})
	for _, tags := range []string{`["drop-by:blue","drop-by:red","green","ingest-by:1"]`, `["drop-by:red","yellow"]`, `["purple","drop-by:red","drop-by:blue","ingest-by:3"]`} {
		c.command("db1", `.ingest inline into table t1 with (tags='`+tags+`') <| x`)
	}
	extents := func(filter string) (list []string) {
		for _, row := range c.command("db1", ".show table t1 extents "+filter) {
			tags := strings.Split(row["Tags"].(string), "\r\n")
			slices.Sort(tags)
			list = append(list, fmt.Sprint(row["RowCount"], " ", strings.Join(tags, ",")))
		}
		return list
	}
	if got := extents(""); len(got) != 3 {
		t.Fatalf("before: %q", got)
	}
	c.sim.MergeExtents("db1", "t1")
	want := []string{"2 drop-by:blue,drop-by:red,green,ingest-by:1,ingest-by:3,purple", "1 drop-by:red,yellow"}
	if got := extents(""); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for tag, n := range map[string]int{"ingest-by:1": 1, "ingest-by:3": 1, "drop-by:red": 2, "ingest-by:2": 0} {
		if got := extents("where tags has '" + tag + "'"); len(got) != n {
			t.Errorf("%s is at %q, want %d extents", tag, got, n)
		}
	}
	// A merged tag stops an ingestion as it did before.
	c.command("db1", `.ingest inline into table t1 with (ingestIfNotExists='["3"]') <| x`)
	c.count(3)
}

func TestExtentFaultsAndFlags(t *testing.T) {
	ingest := func(c *client, tag string) {
		c.command("db1", `.ingest inline into table t1 with (tags='["ingest-by:`+tag+`"]',ingestIfNotExists='["`+tag+`"]') <| x`)
	}
	for name, tt := range map[string]struct {
		opts    Options
		fault   IngestFault
		post    string
		rows    int // after the same two batches, twice each
		extents int
	}{
		"control":               {rows: 2, extents: 2},
		"merge by flag":         {opts: Options{MergeExtents: true}, rows: 2, extents: 1},
		"merge by fault":        {fault: IngestFault{Kind: MergeExtents, Every: 2}, rows: 2, extents: 1},
		"merge by request":      {post: "merge", rows: 2, extents: 1},
		"tags by flag":          {opts: Options{TagRetention: 1}, rows: 4, extents: 4},
		"tags by fault":         {fault: IngestFault{Kind: ExpireTags}, rows: 4, extents: 4},
		"tags by fault, once":   {fault: IngestFault{Kind: ExpireTags, Times: 1}, rows: 3, extents: 3},
		"tags by request":       {post: "tags", rows: 4, extents: 4},
		"extents by flag":       {opts: Options{ExtentRetention: 1}, rows: 0, extents: 0},
		"extents by fault":      {fault: IngestFault{Kind: ExpireExtents}, rows: 0, extents: 0},
		"extents by fault, two": {fault: IngestFault{Kind: ExpireExtents, Every: 2}, rows: 0, extents: 0},
		"extents by request":    {post: "extents", rows: 2, extents: 2},
	} {
		t.Run(name, func(t *testing.T) {
			c := start(t, &tt.opts)
			c.create(Column{Name: "a", Type: "string"})
			if tt.fault.Kind != 0 {
				c.sim.IngestFault("db1", "t1", tt.fault)
			}
			for range 2 {
				ingest(c, "1")
				ingest(c, "2")
				if tt.post != "" {
					r, err := c.http.Post(c.sim.Endpoint()+"/sim/age/"+tt.post+"?db=db1&table=t1", "", nil)
					if err != nil {
						t.Fatal(err)
					}
					r.Body.Close()
					if r.StatusCode != http.StatusNoContent {
						t.Fatal(r.Status)
					}
					tt.post = ""
				}
			}
			c.count(tt.rows)
			if e := c.sim.Extents("db1", "t1"); len(e) != tt.extents {
				t.Errorf("%d extents, want %d: %+v", len(e), tt.extents, e)
			}
		})
	}
}

// "This period is measured starting from the extent's creation time", which an
// ingestion may set.
func TestTagRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := catalog.New([]string{"db"})
		c.Aging = catalog.Aging{Tags: 2 * time.Hour, Extents: 24 * time.Hour}
		if err := c.Create("db", "t", nil, false); err != nil {
			t.Fatal(err)
		}
		commit := func(id string, created time.Time) {
			if bad := c.Commit("db", "t", catalog.Extent{ID: id, Tags: []string{"ingest-by:" + id, "other"}, RowCount: 1, Created: created}, []Row{Row(`{}`)}, catalog.Change{}); bad != nil {
				t.Fatal(bad)
			}
		}
		commit("new", time.Now())
		commit("backdated", time.Now().Add(-90*time.Minute))
		commit("old", time.Now().Add(-3*time.Hour))
		tagged := func() (got string) {
			for _, id := range []string{"new", "backdated", "old"} {
				if _, ok := c.Tagged("db", "t", []string{id}); ok {
					got += id + " "
				}
			}
			return got
		}
		if got := tagged(); got != "new backdated " {
			t.Errorf("at once: %s", got)
		}
		time.Sleep(30 * time.Minute)
		if got := tagged(); got != "new " {
			t.Errorf("after half an hour: %s", got)
		}
		time.Sleep(90 * time.Minute)
		if got := tagged(); got != "" || c.Count("db", "t") != 3 || c.Extents("db", "t")[0].Tags[0] != "other" {
			t.Errorf("after two hours: %s", got)
		}
		time.Sleep(20*time.Hour + 30*time.Minute)
		if n := c.Count("db", "t"); n != 1 {
			t.Errorf("after 22.5 hours: %d rows", n)
		}
		time.Sleep(90 * time.Minute)
		if n := c.Count("db", "t"); n != 0 || len(c.Extents("db", "t")) != 0 {
			t.Errorf("after a day: %d rows", n)
		}
	})
}

// The limits are those of the page, made small.
func TestBlockLimits(t *testing.T) {
	c := start(t, &Options{MaxBlocks: 2})
	b := c.blob(c.containers[0], "limits")
	id := func(n int) string { return fmt.Sprintf("QQ%d=", n) }
	stage := func(n int) error {
		_, err := b.StageBlock(t.Context(), id(n), readSeekCloser("x"), nil)
		return err
	}
	for n := range 4 {
		if err := stage(n); err != nil {
			t.Fatal(err)
		}
	}
	wantCode(t, stage(4), bloberror.BlockCountExceedsLimit)
	if err := stage(3); err != nil {
		t.Errorf("a block once more: %v", err)
	}
	commit := func(ids ...string) error {
		_, err := b.CommitBlockList(t.Context(), ids, nil)
		return err
	}
	wantCode(t, commit(id(0), id(1), id(2)), bloberror.BlockListTooLong)
	wantCode(t, commit(id(0), id(5)), bloberror.InvalidBlockList)
	if n := len(c.sim.Blobs()); n != 0 {
		t.Errorf("%d blobs after refused lists", n)
	}
	if err := commit(id(1), id(0)); err != nil {
		t.Error(err)
	}
}

// A block list is refused, or taken and refused all the same, without the blocks
// being struck.
func TestBlockListFaults(t *testing.T) {
	for name, tt := range map[string]struct {
		kind  FaultKind
		blobs int
	}{"before": {Respond, 0}, "after": {RespondLate, 1}} {
		c := start(t, nil)
		c.sim.Fault(Blob, Fault{Kind: tt.kind, PathContains: "?comp=blocklist", Status: 400, Code: "InvalidBlockList", Times: 1})
		b := c.blob(c.containers[0], "listed")
		if _, err := b.StageBlock(t.Context(), "QQ==", readSeekCloser("x"), nil); err != nil {
			t.Fatal(err)
		}
		_, err := b.CommitBlockList(t.Context(), []string{"QQ=="}, nil)
		wantCode(t, err, bloberror.InvalidBlockList)
		if n := len(c.sim.Blobs()); n != tt.blobs {
			t.Errorf("%s: %d blobs, want %d", name, n, tt.blobs)
		}
	}
}

// A signature without the right to list, or another one, is told so; the service
// itself reads what was uploaded all the same.
func TestContainerRights(t *testing.T) {
	for rights, want := range map[string]map[string]int{
		"racwdl": {"list": 501, "read": 200, "blocks": 200, "delete": 202},
		"racwd":  {"list": 403, "read": 200, "blocks": 200, "delete": 202},
		"cw":     {"list": 403, "read": 403, "blocks": 403, "delete": 403},
	} {
		c := start(t, &Options{ContainerRights: rights})
		c.create(Column{Name: "a", Type: "string"})
		uri := c.upload("a.json", `{"a":"1"}`)
		for _, what := range []struct{ name, method, uri string }{
			{"list", "GET", c.containers[0] + "&restype=container&comp=list"}, {"read", "GET", uri},
			{"blocks", "GET", uri + "&comp=blocklist"}, {"delete", "DELETE", uri},
		} {
			r, err := http.NewRequestWithContext(t.Context(), what.method, what.uri, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := c.http.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			code := resp.Header.Get("x-ms-error-code")
			if resp.StatusCode != want[what.name] || (resp.StatusCode == 403) != (code == "AuthorizationPermissionMismatch") {
				t.Errorf("%s with %s: %s %s, want %d", what.name, rights, resp.Status, code, want[what.name])
			}
		}
		c.expect(c.send("b.json", `{"a":"2"}`), "Succeeded", "")
	}
	for _, rights := range []string{"rl", "x", "cwx"} {
		if sim, err := Start(&Options{ContainerRights: rights}); err == nil {
			t.Errorf("%q is taken", rights)
			sim.Close()
		}
	}
}

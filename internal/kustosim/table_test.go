package kustosim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/google/uuid"
)

func entityJSON(partition, row string, props map[string]any) []byte {
	m := map[string]any{"PartitionKey": partition, "RowKey": row}
	for k, v := range props {
		m[k] = v
	}
	b, _ := json.Marshal(m)
	return b
}

func TestTableEntities(t *testing.T) {
	c := start(t, nil)
	table := c.status()
	for _, key := range []string{"plain", "it's quoted", "ü 1+2=3"} {
		t.Run(key, func(t *testing.T) {
			added, err := table.AddEntity(t.Context(), entityJSON(key, "r", map[string]any{"Status": "Pending", "N": 1}), nil)
			if err != nil {
				t.Fatal(err)
			}
			_, err = table.AddEntity(t.Context(), entityJSON(key, "r", nil), nil)
			refused(t, err, http.StatusConflict, string(aztables.EntityAlreadyExists))

			got := func() map[string]any {
				t.Helper()
				reply, err := table.GetEntity(t.Context(), key, "r", nil)
				if err != nil {
					t.Fatal(err)
				}
				var m map[string]any
				if err := json.Unmarshal(reply.Value, &m); err != nil {
					t.Fatal(err)
				}
				return m
			}
			if m := got(); m["Status"] != "Pending" || m["N"] != 1.0 || m["Timestamp"] == nil || m["PartitionKey"] != key {
				t.Errorf("the entity is %v", m)
			}
			if _, err := table.UpdateEntity(t.Context(), entityJSON(key, "r", map[string]any{"Status": "Succeeded"}), &aztables.UpdateEntityOptions{UpdateMode: aztables.UpdateModeMerge}); err != nil {
				t.Fatal(err)
			}
			if m := got(); m["Status"] != "Succeeded" || m["N"] != 1.0 {
				t.Errorf("merged it is %v", m)
			}
			_, err = table.UpdateEntity(t.Context(), entityJSON(key, "r", nil), &aztables.UpdateEntityOptions{IfMatch: to.Ptr(azcore.ETag(added.ETag)), UpdateMode: aztables.UpdateModeReplace})
			refused(t, err, http.StatusPreconditionFailed, "UpdateConditionNotSatisfied")
			if _, err := table.UpsertEntity(t.Context(), entityJSON(key, "r", map[string]any{"X": true}), &aztables.UpsertEntityOptions{UpdateMode: aztables.UpdateModeReplace}); err != nil {
				t.Fatal(err)
			}
			if m := got(); m["X"] != true || m["Status"] != nil {
				t.Errorf("replaced it is %v", m)
			}
			if _, err := table.DeleteEntity(t.Context(), key, "r", nil); err != nil {
				t.Fatal(err)
			}
			_, err = table.GetEntity(t.Context(), key, "r", nil)
			refused(t, err, http.StatusNotFound, "ResourceNotFound")
			_, err = table.UpdateEntity(t.Context(), entityJSON(key, "r", nil), &aztables.UpdateEntityOptions{UpdateMode: aztables.UpdateModeMerge})
			refused(t, err, http.StatusNotFound, "ResourceNotFound")
		})
	}
}

func TestTableKeepsTypes(t *testing.T) {
	c := start(t, nil)
	e := aztables.EDMEntity{Entity: aztables.Entity{PartitionKey: "p", RowKey: "r"}, Properties: map[string]any{"Id": aztables.EDMGUID(uuid.NewString()), "Big": aztables.EDMInt64(1 << 60)}}
	text, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.status().AddEntity(t.Context(), text, nil); err != nil {
		t.Fatal(err)
	}
	reply, err := c.status().GetEntity(t.Context(), "p", "r", nil)
	if err != nil {
		t.Fatal(err)
	}
	var got aztables.EDMEntity
	if err := json.Unmarshal(reply.Value, &got); err != nil {
		t.Fatal(err)
	}
	for name, want := range e.Properties {
		if got.Properties[name] != want {
			t.Errorf("%s is %#v, want %#v", name, got.Properties[name], want)
		}
	}
}

func TestTableQueries(t *testing.T) {
	c := start(t, nil)
	table := c.status()
	for i := range 25 {
		props := map[string]any{"Status": []string{"Pending", "Failed"}[i%2], "N": i, "Late": i > 20}
		if _, err := table.AddEntity(t.Context(), entityJSON(fmt.Sprintf("p%d", i%5), fmt.Sprintf("r%02d", i), props), nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		filter string
		want   int
	}{
		{"", 25},
		{"PartitionKey eq 'p1'", 5},
		{"PartitionKey eq 'p1' or PartitionKey eq 'p2'", 10},
		{"(PartitionKey eq 'p1') and (Status ne 'Pending')", 3},
		{"PartitionKey eq 'p1' and not (Status eq 'Pending') or RowKey eq 'r00'", 4},
		{"N ge 10 and N lt 20", 10},
		{"Late eq true", 4},
		{"RowKey gt 'r19' and Missing eq 'x'", 0},
	} {
		pager := table.NewListEntitiesPager(&aztables.ListEntitiesOptions{Filter: &tt.filter, Top: to.Ptr(int32(4)), Select: to.Ptr("PartitionKey,N")})
		found := make(map[string]bool)
		for pager.More() {
			page, err := pager.NextPage(t.Context())
			if err != nil {
				t.Fatalf("%q: %v", tt.filter, err)
			}
			if len(page.Entities) > 4 {
				t.Errorf("%q: a page of %d", tt.filter, len(page.Entities))
			}
			for _, e := range page.Entities {
				var m map[string]any
				if err := json.Unmarshal(e, &m); err != nil {
					t.Fatal(err)
				}
				if m["Status"] != nil || m["N"] == nil {
					t.Errorf("%q: $select gives %v", tt.filter, m)
				}
				found[fmt.Sprint(m["PartitionKey"], m["N"])] = true
			}
		}
		if len(found) != tt.want {
			t.Errorf("%q finds %d, want %d", tt.filter, len(found), tt.want)
		}
	}
	bad := "PartitionKey like 'x'"
	_, err := table.NewListEntitiesPager(&aztables.ListEntitiesOptions{Filter: &bad}).NextPage(t.Context())
	refused(t, err, http.StatusBadRequest, "InvalidInput")
}

package goclient

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/Azure/azure-kusto-go/azkustodata"
	"github.com/Azure/azure-kusto-go/azkustodata/kql"
	"github.com/Azure/azure-kusto-go/azkustodata/value"

	"kustospool/internal/kustosim"
	"kustospool/internal/testutil/judge"
)

// The client reads back by a query what it ingested, each value as its own
// type. The bounds of decimal, datetime and timespan are left out: the client's
// Go types are narrower.
func TestQueryGivesTheValuesBack(t *testing.T) {
	s := start(t, nil)
	s.table(t, "T", false)
	set := judge.Ordinary()
	s.send(t, s.queued(t), "T", set)
	client, err := azkustodata.New(s.connection(s.front.Engine()), azkustodata.WithHttpClient(s.http))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	reply, err := client.Query(t.Context(), db, kql.New("T"))
	if err != nil {
		t.Fatal(err)
	}
	var rows []kustosim.Row
	for _, table := range reply.Tables() {
		if !table.IsPrimaryResult() {
			continue
		}
		for _, row := range table.Rows() {
			held := make(map[string]json.RawMessage)
			for i, v := range row.Values() {
				text, err := json.Marshal(plain(t, v))
				if err != nil {
					t.Fatal(err)
				}
				held[table.Columns()[i].Name()] = text
			}
			text, err := json.Marshal(held)
			if err != nil {
				t.Fatal(err)
			}
			rows = append(rows, text)
		}
	}
	for _, d := range set.Diff(rows, 1) {
		t.Error(d)
	}
}

// plain is a value of the client as the judge compares it.
func plain(t *testing.T, v value.Kusto) any {
	t.Helper()
	held := v.GetValue()
	switch x := held.(type) {
	case *time.Duration:
		if x == nil {
			return nil
		}
		sign, d := "", *x
		if d < 0 {
			sign, d = "-", -d
		}
		return fmt.Sprintf("%s%d.%02d:%02d:%02d.%07d", sign, d/(24*time.Hour), d/time.Hour%24, d/time.Minute%60, d/time.Second%60, d%time.Second/100)
	case []byte:
		if x == nil {
			return nil
		}
		if !json.Valid(x) { // the client takes a text out of its quotes
			return string(x)
		}
		return json.RawMessage(x)
	default:
		return held
	}
}

package kustosim

import "testing"

func TestIngestsAndReports(t *testing.T) {
	c := start(t, nil)
	c.create()
	id := c.send("a.json", "{\"n\":1}\n{\"n\": 2}\n")
	row := c.expect(id, "Succeeded", "")
	if row["IngestionSourceId"] != id || row["Database"] != "db1" || row["Table"] != "t1" {
		t.Errorf("status row is %v", row)
	}
	rows := c.sim.Rows("db1", "t1")
	if len(rows) != 2 || rows[0].String() != `{"n":1}` || rows[1].String() != `{"n": 2}` {
		t.Errorf("rows are %s", rows)
	}
}

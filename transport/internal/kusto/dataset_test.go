package kusto

import (
	"errors"
	"testing"
)

const goodDataset = `{"Tables":[{"TableName":"Table_0","Columns":[{"ColumnName":"B","DataType":"String","ColumnType":"string"},{"ColumnName":"A"}],
	"Rows":[["x",1],[null,"y"]]}]}`

func TestDecodeDataset(t *testing.T) {
	tables, err := DecodeDataset([]byte(goodDataset), nil)
	if err != nil {
		t.Fatal(err)
	}
	tb := &tables[0]
	for _, tc := range []struct {
		row    int
		column string
		want   string
	}{{0, "A", "1"}, {0, "B", "x"}, {1, "A", "y"}, {1, "B", ""}, {0, "C", ""}, {2, "A", ""}, {-1, "A", ""}} {
		if got := tb.Text(tc.row, tc.column); got != tc.want {
			t.Errorf("row %d, column %s: %q, want %q", tc.row, tc.column, got, tc.want)
		}
	}
}

func TestDecodeDatasetRefuses(t *testing.T) {
	for name, body := range map[string]string{
		"empty": "", "cut": goodDataset[:60], "html": "<html>", "no table": `{"Tables":[]}`, "array": `[]`,
		"short row": `{"Tables":[{"Columns":[{"ColumnName":"A"}],"Rows":[[]]}]}`,
		"scalar":    `{"Tables":[{"Columns":[{"ColumnName":"A"}],"Rows":[7]}]}`,
	} {
		if _, err := DecodeDataset([]byte(body), nil); !errors.Is(err, ErrDataset) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, body := range map[string]string{
		"beside": `{"Tables":[{"Columns":[],"Rows":[]}],"Exceptions":["it broke"]}`,
		"inside": `{"Tables":[{"Columns":[{"ColumnName":"A"}],"Rows":[["a"],{"Exceptions":["it broke"]}]}]}`,
	} {
		var e *Exception
		if _, err := DecodeDataset([]byte(body), nil); !errors.As(err, &e) || e.Message != "it broke" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzDecodeDataset(f *testing.F) {
	f.Add([]byte(goodDataset))
	f.Add([]byte(`{"Tables":[{"Columns":[],"Rows":[[],{"Exceptions":[{}]}]}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		tables, err := DecodeDataset(body, nil)
		if err != nil {
			return
		}
		for _, tb := range tables {
			for i, row := range tb.Rows {
				if len(row) != len(tb.Columns) {
					t.Fatalf("row %d has %d values for %d columns", i, len(row), len(tb.Columns))
				}
				tb.Text(i, "StorageRoot")
			}
			if _, _, err := parseResources(&tb, true, nil); err == nil && len(tb.Rows) < 2 {
				t.Fatal("a container and a queue out of one row")
			}
		}
	})
}

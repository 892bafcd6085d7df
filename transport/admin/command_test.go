package admin

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"kustospool/ingest"
	"kustospool/internal/testutil/literals"
)

func TestCommands(t *testing.T) {
	for want, got := range map[string]string{
		`.create-merge table ['T\'x'] (['a b']:long, ['c']:guid) with (folder='f', docstring='d\n')`:                                                       createTable(Table{Name: "T'x", Columns: []Column{{"a b", "long"}, {"c", "UUID"}}, Folder: "f", DocString: "d\n"}),
		`.create-or-alter table ['T'] ingestion json mapping 'M' '[{\"column\":\"a\"}]'`:                                                                   createMapping("T", Mapping{"M", ingest.MappingJSON, `[{"column":"a"}]`}),
		`.alter table ['T'] policy ingestionbatching '{\"MaximumBatchingTimeSpan\":\"00:01:30\",\"MaximumNumberOfItems\":7,\"MaximumRawDataSizeMB\":300}'`: alterBatching("T", Batching{90 * time.Second, 7, 300}),
		`.alter table ['T'] policy streamingingestion disable`:                                                                                             alterStreaming("T", false),
	} {
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// No name, column, mapping or text can break out of its place: what is left of
// a command without its literals is the same whatever they hold.
func FuzzCommandCannotBeBrokenOutOf(f *testing.F) {
	f.Add("T", "c", `[{"column":"a"}]`, "doc")
	f.Add("T'] (x:int) //", "a']:int, ['b", `'`, "\\")
	f.Add("a\\", "```", "\n.drop table T", "') <| x")
	f.Add("\u2028", "\x00", "h'x'", "\u0085")
	f.Fuzz(func(t *testing.T, table, column, mapping, text string) {
		for _, c := range []struct{ command, skeleton string }{
			{createTable(Table{Name: table, Columns: []Column{{column, "int"}, {text, "Double"}}, Folder: text, DocString: mapping}), ".create-merge table [''] (['']:int, ['']:real) with (folder='', docstring='')"},
			{createMapping(table, Mapping{column, ingest.MappingCSV, mapping}), ".create-or-alter table [''] ingestion csv mapping '' ''"},
			{alterBatching(table, Batching{time.Minute, 1, 100}), ".alter table [''] policy ingestionbatching ''"},
			{alterStreaming(table, true), ".alter table [''] policy streamingingestion enable"},
		} {
			if text == "" || mapping == "" {
				continue // an empty text is left out
			}
			skeleton, _, err := literals.Split(c.command)
			if err != nil || skeleton != c.skeleton {
				t.Errorf("%q\nis   %q, %v\nwant %q", c.command, skeleton, err, c.skeleton)
			}
		}
	})
}

func TestParseColumns(t *testing.T) {
	got, err := ParseColumns(` a:STRING,b : long , "c, d":uuid,"e\"f\\":dynamic`)
	want := []Column{{"a", "string"}, {"b", "long"}, {"c, d", "guid"}, {`e"f\`, "dynamic"}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	for text, rule := range map[string]string{"": "name:type", "a": "name:type", "a:": "no type", "a:text": "no type", "a:int,": "name:type", "a:int,a:int": "twice",
		`"a:int`: "name:type", `"a"int`: "name:type", "a b:c:int": "no type", ":int": "must not be empty", "a,b:int": "name:type"} {
		if c, err := ParseColumns(text); !errors.Is(err, ingest.ErrInvalid) || !strings.Contains(err.Error(), rule) {
			t.Errorf("%q: %q, %v; want %q", text, c, err, rule)
		}
	}
}

func FuzzParseColumns(f *testing.F) {
	f.Add("a:int,\"b,\":string")
	f.Fuzz(func(t *testing.T, text string) {
		columns, err := ParseColumns(text)
		if err != nil {
			return
		}
		if err := checkColumns(columns); err != nil {
			t.Errorf("%q gives %q: %v", text, columns, err)
		}
	})
}

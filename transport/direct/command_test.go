package direct

import (
	"strings"
	"testing"
	"time"

	"kustospool/ingest"
	"kustospool/internal/testutil/literals"
)

func scan(t *testing.T, command string) (skeleton string, values []string) {
	t.Helper()
	skeleton, values, err := literals.Split(command)
	if err != nil {
		t.Fatalf("%v in %q", err, command)
	}
	return skeleton, values
}

// No name, mapping, tag or address can break out of its place in a command:
// the command's skeleton is the same whatever they hold, and each comes back
// out of its literal.
func FuzzCommandCannotBeBrokenOutOf(f *testing.F) {
	f.Add("T", "[{}]", "tag", "https://a/b?sig=x")
	f.Add("T'] ('x') //", `[{"a":"\\'"}]`, "a\\", "https://a/b?sig='")
	f.Add("a\nb", "```\n", "\\'", "h'x'")
	f.Add("\u2028\u0085\x00\x7f", "\x1f", "\\\\'", "<| .drop table T")
	f.Fuzz(func(t *testing.T, table, mapping, tag, uri string) {
		b := &ingest.Batch{ID: ingest.BatchID{1}, Guarantee: ingest.ExactlyOnce, Properties: ingest.Properties{
			Table: table, Format: ingest.JSON, Mapping: "[" + mapping, Tags: []string{tag}, ZipPattern: "z" + table, Folder: "f" + tag}}
		valid := func(s string) string { return strings.Map(func(r rune) rune { return r }, s) } // what is no UTF-8 becomes U+FFFD
		skeleton, values := scan(t, ingestInto(b, false, uri))
		const want = ".ingest into table [''] (h'') with (format='', ingestionMapping='', ingestionMappingType='', tags='', ingestIfNotExists='', zipPattern='', folder='')"
		if skeleton != want {
			t.Fatalf("the command is %q", skeleton)
		}
		for i, v := range []string{table, uri, "json", "[" + mapping, "Json"} {
			if values[i] != valid(v) {
				t.Errorf("literal %d is %q, want %q", i, values[i], valid(v))
			}
		}
		if skeleton, values := scan(t, ingestInto(b, true, uri, tag)); !strings.HasPrefix(skeleton, ".ingest async into table [''] (h'', h'') with (") || values[1] != valid(uri) || values[2] != valid(tag) {
			t.Fatalf("two blobs: %q", skeleton)
		}
		head, data, _ := strings.Cut(ingestInline(b, uri), "<|\n")
		if skeleton, _ := scan(t, head); !strings.Contains(head, "<|") && (data != uri || !strings.HasPrefix(skeleton, ".ingest inline into table [''] with (")) {
			t.Errorf("inline: %q, data %q", skeleton, data)
		}
		if skeleton, values := scan(t, showTagged(b)); skeleton != ".show table [''] extents where tags has ''" || values[0] != valid(table) {
			t.Errorf("%q", skeleton)
		}
		if skeleton, _ := scan(t, showCommands([]string{table, uri})); skeleton != ".show commands | where ClientActivityId in ('', '')" {
			t.Errorf("%q", skeleton)
		}
	})
}

func TestPropertiesInACommand(t *testing.T) {
	yes := true
	b := &ingest.Batch{Guarantee: ingest.AtLeastOnce, Properties: ingest.Properties{Table: "T", Format: ingest.CSV, MappingReference: "M",
		Tags: []string{"drop-by:x"}, IngestIfNotExists: []string{"v"}, CreationTime: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Validation:        &ingest.ValidationPolicy{Options: ingest.ValidateConstantColumns, BestEffort: true},
		IgnoreFirstRecord: true, IngestionTimePolicy: &yes}}
	want := `.ingest into table ['T'] (h'https://a/c/b?sig=s') with (format='csv', ingestionMappingReference='M', ingestionMappingType='Csv', ` +
		`tags='[\"drop-by:x\"]', ingestIfNotExists='[\"v\"]', creationTime='2026-01-02T03:04:05Z', ` +
		`validationPolicy='{\"ValidationOptions\":1,\"ValidationImplications\":1}', policy_ingestiontime=true, ignoreFirstRecord=true)`
	if got := ingestInto(b, false, "https://a/c/b?sig=s"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func FuzzProgress(f *testing.F) {
	f.Add([]byte(`{"v":101,"host":"h","requests":["a"]}`))
	f.Add([]byte(`{"v":1,"attempts":[1]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p := decodeProgress(b)
		again := decodeProgress(p.encode())
		if len(again.Requests) != len(p.Requests) {
			t.Errorf("%d request ids came back of %d", len(again.Requests), len(p.Requests))
		}
	})
}

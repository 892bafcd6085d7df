package storage

import (
	"encoding/json"
	"testing"
)

func TestParseRange(t *testing.T) {
	for _, tt := range []struct {
		text          string
		first, length int64
		ok            bool
	}{
		{"bytes=0-9", 0, 10, true}, {"bytes=5-", 5, 5, true}, {"bytes=5-99", 5, 5, true}, {"bytes=9-9", 9, 1, true},
		{"bytes=10-", 0, 0, false}, {"bytes=5-4", 0, 0, false}, {"bytes=-3", 0, 0, false}, {"items=0-1", 0, 0, false},
	} {
		first, length, ok := parseRange(tt.text, 10)
		if ok != tt.ok || ok && (first != tt.first || length != tt.length) {
			t.Errorf("parseRange(%q) = %d, %d, %v", tt.text, first, length, ok)
		}
	}
}

func FuzzFilter(f *testing.F) {
	for _, s := range []string{"", "A eq 'b'", "(A eq 'b' and not B lt 3) or C eq guid'x'", "A eq 'it''s'", "((((", "not not not", "A eq"} {
		f.Add(s)
	}
	props := map[string]json.RawMessage{"A": json.RawMessage(`"b"`), "B": json.RawMessage(`2`)}
	f.Fuzz(func(t *testing.T, s string) {
		match, err := parseFilter(s)
		if err == nil {
			match(props)
		}
	})
}

func FuzzTableResource(f *testing.F) {
	for _, s := range []string{"t", "t()", "t(PartitionKey='a',RowKey='b')", "t(PartitionKey='it''s',RowKey='')", "t(PartitionKey='"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, _, _, ok := parseTableResource(s)
		if ok && name == "" {
			t.Errorf("%q has an empty name", s)
		}
	})
}

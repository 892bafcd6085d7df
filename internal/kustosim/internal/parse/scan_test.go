package parse

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// sameAsStandard compares scanObject with encoding/json.
func sameAsStandard(t *testing.T, data []byte) {
	t.Helper()
	trimmed := bytes.TrimSpace(data)
	want := json.Valid(data) && len(trimmed) > 0 && trimmed[0] == '{'
	doc, got := scanObject(data, nil, true)
	if got != want {
		t.Fatalf("%q is an object: %v, encoding/json says %v", data, got, want)
	}
	if !want {
		return
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(data, &m); err != nil {
		return // valid, but nested too deep
	}
	for name, value := range m {
		if found := doc.get(name); string(found) != string(value) {
			t.Fatalf("%q of %q is %q, want %q", name, data, found, value)
		}
	}
}

var objects = []string{`{}`, ` { } `, `{"a":1}`, `{"a":-0.5e+10,"a":[1,{"b":null}],"\u0061\"":true}`, `{"a":}`, `{"a":1,}`, `{"a" 1}`, `{a:1}`, `{"a":01}`,
	`{"a":1}}`, `{"a":"\x"}`, `{"a":"\u12g4"}`, "{\"a\":\"\n\"}", `{"a":"`, `{"a":tru}`, `{"a":.5}`, `{"a":1.}`, `{"a":1e}`, `{"a":-}`, `[]`, ``, `{"a":[1,]}`, `{"a":{}`, `{"ü":"ü"}`, "{\"\xff\":1}", `{"a":1}x`}

func TestScanObject(t *testing.T) {
	for _, s := range append(objects, `{"a":`+strings.Repeat("[", maxJSONDepth+10)+strings.Repeat("]", maxJSONDepth+10)+`}`) {
		sameAsStandard(t, []byte(s))
	}
}

func FuzzScanObject(f *testing.F) {
	for _, s := range objects {
		f.Add([]byte(s))
	}
	f.Fuzz(sameAsStandard)
}

package parse

import (
	"strings"
	"testing"
)

// "Each CSV mapping element must contain either of the following" of
// https://learn.microsoft.com/kusto/management/csv-mapping, and its like of
// json-mapping; the transforms of mappings.
func TestMappingElements(t *testing.T) {
	for _, tt := range []struct{ kind, element, code, words string }{
		{"csv", `{"column":"a","Properties":{"Ordinal":"0"}}`, "", ""},
		{"csv", `{"Name":"a","datatype":"int","Ordinal":0}`, "", ""},
		{"csv", `{"column":"a","Properties":{"ConstValue":"x"}}`, "", ""},
		{"csv", `{"column":"a","Properties":{"Transform":"SourceLocation"}}`, "", ""},
		{"csv", `{"column":"a","Properties":{"Path":"$.a"}}`, "BadRequest_InvalidMapping", "Ordinal"},
		{"csv", `{"column":"a","Properties":{"Path":"1"}}`, "BadRequest_InvalidMapping", "path"},
		{"csv", `{"column":"a"}`, "BadRequest_InvalidMapping", "Ordinal"},
		{"json", `{"column":"a"}`, "BadRequest_InvalidMapping", "Path"},
		{"json", `{"column":"a","Properties":{"Ordinal":0}}`, "BadRequest_InvalidMapping", "Path"},
		{"json", `{"column":"a","Properties":{"Path":"a constant"}}`, "", ""},
		{"json", `{"column":"a","Properties":{"Path":"$.['a b']"}}`, "", ""},
		{"json", `{"column":"a","Properties":{"Path":"$.event[?(@.Key == 'timestamp')]"}}`, "BadRequest_NotSupported", "not simulated"},
		{"json", `{"column":"a","Properties":{"Path":"$..a"}}`, "BadRequest_InvalidMapping", "path"},
		{"json", `{"column":"a","Properties":{"Path":"$.a","Transform":"BytesAsBase64"}}`, "BadRequest_NotSupported", "not simulated"},
		{"json", `{"column":"a","Properties":{"Path":"$","Transform":"DropMappedFields"}}`, "BadRequest_NotSupported", "not simulated"},
		{"json", `{"column":"a","Properties":{"Path":"$.a","Transform":"Upper"}}`, "BadRequest_InvalidMapping", "unknown Transform"},
		{"json", `{"column":"a","datatype":"text","Properties":{"Path":"$.a"}}`, "BadRequest_InvalidMapping", "unknown datatype"},
		{"w3clogfile", `{"column":"a","Properties":{"Field":"c-ip"}}`, "", ""},
	} {
		_, bad := ParseMapping(tt.kind, "["+tt.element+"]")
		if bad == nil && tt.code != "" || bad != nil && (bad.Code != tt.code || !strings.Contains(bad.Details, tt.words)) {
			t.Errorf("%s %s: %v, want %s and %q", tt.kind, tt.element, bad, tt.code, tt.words)
		}
	}
}

// The example of PropertyBagArrayToDictionary in
// https://learn.microsoft.com/kusto/management/mappings.
func TestPropertyBagArrayToDictionary(t *testing.T) {
	for text, want := range map[string]string{
		`[{"n1":"v1"},{"n2":"v2"}]`: `{"n1":"v1","n2":"v2"}`, `[{"a":1,"b":[]},{"a":"é"}]`: `{"a":"é","b":[]}`, `[]`: `{}`, `[{}]`: `{}`,
		`[1]`: "", `{"a":1}`: "", `"x"`: "", "": "",
	} {
		if got, ok := toDictionary([]byte(text)); string(got) != want || ok != (want != "") {
			t.Errorf("%s is %s, %v; want %s", text, got, ok, want)
		}
	}
}

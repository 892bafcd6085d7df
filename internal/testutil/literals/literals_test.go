package literals

import (
	"slices"
	"testing"
)

func TestSplit(t *testing.T) {
	skeleton, values, err := Split(`.x ['a\'b'] (h'c\\', '\u20ac\n')`)
	if err != nil || skeleton != ".x [''] (h'', '')" || !slices.Equal(values, []string{"a'b", `c\`, "€\n"}) {
		t.Errorf("%q, %q, %v", skeleton, values, err)
	}
	for _, bad := range []string{"'a", `'a\'`, "'a\nb'", `'\u12'`, `'\uxxxx'`} {
		if s, _, err := Split(bad); err == nil {
			t.Errorf("%q gives %q", bad, s)
		}
	}
}

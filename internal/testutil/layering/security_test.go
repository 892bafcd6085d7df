package layering

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// named is a test that docs/security.md names, and listed are those before a
// package in parentheses.
var (
	named  = regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9_]+)`")
	listed = regexp.MustCompile("((?:`(?:Test|Fuzz)[A-Za-z0-9_]+`\\s*)+)\\(([a-z0-9/]+)\\)")
)

// TestSecurityIsShown: each test that docs/security.md names is in the package
// that it says.
func TestSecurityIsShown(t *testing.T) {
	base := root(t)
	text, err := os.ReadFile(filepath.Join(base, "docs", "security.md"))
	if err != nil {
		t.Fatal(err)
	}
	missing, n := missingTests(t, base, text)
	for _, m := range missing {
		t.Error(m)
	}
	if all := len(named.FindAll(text, -1)); n != all || n < 30 {
		t.Errorf("%d of %d names have a package beside them", n, all)
	}
	// The control.
	if missing, _ := missingTests(t, base, []byte("`TestTrust` `TestThatNobodyWrote` (store)")); len(missing) != 1 {
		t.Errorf("missing: %v", missing)
	}
}

func missingTests(t *testing.T, base string, text []byte) (missing []string, n int) {
	for _, list := range listed.FindAllSubmatch(text, -1) {
		files, err := filepath.Glob(filepath.Join(base, string(list[2]), "*_test.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no tests in %s, %v", list[2], err)
		}
		var source []byte
		for _, f := range files {
			code, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			source = append(source, code...)
		}
		for _, name := range named.FindAllSubmatch(list[1], -1) {
			if n++; !regexp.MustCompile(`(?m)^func ` + string(name[1]) + `\(`).Match(source) {
				missing = append(missing, string(name[1])+" is not in "+string(list[2]))
			}
		}
	}
	return missing, n
}

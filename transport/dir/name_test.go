package dir_test

import (
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"kustospool/transport/dir"
)

func TestPathName(t *testing.T) {
	tests := map[string]string{
		"Events":     "Events",
		"my-table.1": "my-table.1",
		"":           "%",
		".":          "%2E",
		"..":         "%2E%2E",
		"../x":       "%2E.%2Fx",
		"a/b\\c":     "a%2Fb%5Cc",
		"end.":       "end%2E",
		"a b":        "a%20b",
		"50%":        "50%25",
		"NUL":        "%4EUL",
		"con.txt":    "%63on.txt",
		"COM7":       "%43OM7",
		"COMET":      "COMET",
		"Größe":      "Gr%C3%B6%C3%9Fe",
		"a~b":        "a%7Eb",
		"C:":         "C%3A",
	}
	for name, want := range tests {
		got := dir.PathName(name)
		if got != want {
			t.Errorf("PathName(%q) is %q, want %q", name, got, want)
		}
	}
	long := strings.Repeat("ü", 512)
	if got := dir.PathName(long); len(got) != 64 || !strings.Contains(got, "~") || got == dir.PathName(long+"x") {
		t.Errorf("the long name is %q", got)
	}
}

func FuzzPathName(f *testing.F) {
	for _, s := range []string{"Events", "..", "nul", "a/b", "日本"} {
		f.Add(s, s+"x")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		p := dir.PathName(a)
		if p == "" || len(p) > 64 || p[0] == '.' || p != filepath.Base(p) || !filepath.IsLocal(p) || strings.ContainsAny(p, `/\:*?"<>| `) {
			t.Errorf("PathName(%q) is %q", a, p)
		}
		if a != b && p == dir.PathName(b) {
			t.Errorf("%q and %q are both %q", a, b, p)
		}
		if !strings.Contains(p, "~") && a != "" {
			if back, err := url.PathUnescape(p); err != nil || back != a {
				t.Errorf("PathName(%q) is %q, which reads back as %q, %v", a, p, back, err)
			}
		}
	})
}

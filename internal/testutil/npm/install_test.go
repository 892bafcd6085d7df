package npm

import (
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"
)

func TestRequired(t *testing.T) {
	for _, tt := range []struct {
		ci, require string
		want        bool
	}{{"", "", false}, {"true", "", true}, {"false", "0", false}, {"", "1", true}} {
		t.Setenv("CI", tt.ci)
		t.Setenv("REQUIRE_AZURITE", tt.require)
		if got := Required("REQUIRE_AZURITE"); got != tt.want {
			t.Errorf("CI=%q REQUIRE_AZURITE=%q: Required is %v", tt.ci, tt.require, got)
		}
	}
}

func TestCacheDirFallsBack(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	temp := t.TempDir()
	p := &Package{Name: "test", CacheEnv: "NPM_TEST_CACHE"}
	for _, name := range []string{"HOME", "XDG_CACHE_HOME", "LocalAppData"} {
		t.Setenv(name, file)
	}
	for _, name := range []string{"TMPDIR", "TEMP", "TMP"} {
		t.Setenv(name, temp)
	}
	dir, fallback, err := p.cacheDir()
	if err != nil || !fallback || filepath.Dir(dir) != temp {
		t.Errorf("cache directory %q, fallback %v, %v", dir, fallback, err)
	}
}

// What is embedded names the installation, so that a change makes another one.
func TestHashIsOfEverything(t *testing.T) {
	seen := map[string]string{}
	for name, files := range map[string]fstest.MapFS{
		"empty":    {},
		"one":      {"a": {Data: []byte("bc")}},
		"renamed":  {"ab": {Data: []byte("c")}},
		"changed":  {"a": {Data: []byte("bd")}},
		"with two": {"a": {Data: []byte("bc")}, "d/e": {Data: []byte("f")}},
	} {
		h, err := (&Package{Files: files}).hash()
		if err != nil || seen[h] != "" {
			t.Errorf("%s: %s is also the hash of %s, %v", name, h, seen[h], err)
		}
		seen[h] = name
	}
}

package layering

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// inReadme finds a test in backquotes, alone: `TestName`, or `TestName...` for
// all that begin so.
var inReadme = regexp.MustCompile("`((?:Test|Fuzz)\\w+)(\\.\\.\\.)?`")

// TestReadmeNamesWhatExists: each guarantee is shown by tests that are there, and
// each package that a program can import has its line.
func TestReadmeNamesWhatExists(t *testing.T) {
	dir := root(t)
	data, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	tests, packages := testsAndPackages(t, dir)
	names := inReadme.FindAllStringSubmatch(text, -1)
	for _, m := range names {
		if !tests[m[1]] && (m[2] == "" || !begins(tests, m[1])) {
			t.Errorf("README.md names %s, which is not there", m[0])
		}
	}
	if len(names) < 30 {
		t.Errorf("README.md names %d tests", len(names))
	}
	for _, name := range packages {
		if !hasLine(text, name) {
			t.Errorf("README.md does not name the package %s", name)
		}
	}
	if tests["TestNowhere"] || begins(tests, "TestNowhere") || hasLine(text, "transport/nowhere") || len(packages) < 15 { // the control
		t.Error("what is not there is found")
	}
}

// hasLine says whether a line of the list of directories begins with a package. The
// packages of telemetry share one.
func hasLine(text, name string) bool {
	for _, line := range strings.Split(text, "\n") {
		first, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if first = strings.TrimSuffix(first, "/"); first == name || first == "telemetry" && strings.HasPrefix(name, "telemetry/") {
			return true
		}
	}
	return false
}

func begins(tests map[string]bool, prefix string) bool {
	for name := range tests {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// testsAndPackages are the names of all tests, and the directories of what other
// modules can import.
func testsAndPackages(t *testing.T, dir string) (tests map[string]bool, packages []string) {
	t.Helper()
	tests = map[string]bool{}
	seen := map[string]bool{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() {
			if path != dir && (strings.HasPrefix(e.Name(), ".") || e.Name() == "testdata" || e.Name() == "node_modules") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		if strings.HasSuffix(path, "_test.go") {
			for _, d := range f.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil {
					tests[fn.Name.Name] = true
				}
			}
			return nil
		}
		in, err := filepath.Rel(dir, filepath.Dir(path))
		if err != nil {
			return err
		}
		in = filepath.ToSlash(in)
		if f.Name.Name != "main" && !seen[in] && !strings.Contains("/"+in+"/", "/internal/") && !strings.HasPrefix(in, "cmd/") {
			seen[in] = true
			packages = append(packages, in)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return tests, packages
}

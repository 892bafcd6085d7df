package layering

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// maxExampleLines bounds what somebody has to read to use an adapter. The recipes of
// docs/adapters.md are counted where they are run, in internal/testutil/loggers.
const maxExampleLines = 15

// codeLines are those of a function that are neither empty nor a comment.
func codeLines(source string) (n int) {
	for l := range strings.Lines(source) {
		if l = strings.TrimSpace(l); l != "" && !strings.HasPrefix(l, "//") {
			n++
		}
	}
	return n
}

// TestExamplesOfAdaptersAreShort and can be run: they have an output.
func TestExamplesOfAdaptersAreShort(t *testing.T) {
	for _, name := range []string{"slogspool/example_test.go", "typed/example_test.go"} {
		source, err := os.ReadFile(filepath.Join(root(t), filepath.FromSlash(name)))
		if err != nil {
			t.Fatal(err)
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, source, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || !strings.HasPrefix(fn.Name.Name, "Example") {
				continue
			}
			found++
			text := string(source[fn.Pos()-f.FileStart : fn.End()-f.FileStart])
			if n := codeLines(text); n > maxExampleLines {
				t.Errorf("%s: %s has %d lines", name, fn.Name.Name, n)
			}
			if !strings.Contains(text, "// Output:") {
				t.Errorf("%s: %s is not run", name, fn.Name.Name)
			}
		}
		if found == 0 {
			t.Errorf("%s has no example", name)
		}
	}
	if n := codeLines("func a() {\n\n// b\n" + strings.Repeat("c()\n", 14) + "}\n"); n <= maxExampleLines { // the control
		t.Errorf("a function of 16 lines has %d", n)
	}
}

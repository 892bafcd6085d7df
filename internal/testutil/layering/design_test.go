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

// inDesign finds a function, method or type in backquotes: `pkg.Func`, `pkg.Type.Method`.
var inDesign = regexp.MustCompile("`([a-z]+(?:\\.[A-Za-z]\\w*){1,2})`")

// TestDesignNamesWhatExists: docs/design.md is about the code as it is.
func TestDesignNamesWhatExists(t *testing.T) {
	dir := root(t)
	text, err := os.ReadFile(filepath.Join(dir, "docs", "design.md"))
	if err != nil {
		t.Fatal(err)
	}
	there := declared(t, dir)
	names := inDesign.FindAllStringSubmatch(string(text), -1)
	for _, m := range names {
		if !there[m[1]] {
			t.Errorf("docs/design.md names %s, which is not in the code", m[1])
		}
	}
	if len(names) < 40 {
		t.Errorf("docs/design.md names %d functions", len(names))
	}
	for _, name := range []string{"engine.Spool.vanish", "engine.vanish", "nowhere.Open"} { // the control
		if there[name] {
			t.Errorf("%s is taken for one that exists", name)
		}
	}
}

// declared are the functions, methods and types of the module outside of tests,
// by package name.
func declared(t *testing.T, dir string) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() && (strings.HasPrefix(e.Name(), ".") && path != dir || e.Name() == "testdata" || e.Name() == "node_modules") {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				out[f.Name.Name+"."+receiver(d)+d.Name.Name] = true
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if ts, ok := spec.(*ast.TypeSpec); ok {
						out[f.Name.Name+"."+ts.Name.Name] = true
					}
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// receiver is the receiver's type and a point; empty for a function.
func receiver(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return ""
	}
	x := d.Recv.List[0].Type
	if star, ok := x.(*ast.StarExpr); ok {
		x = star.X
	}
	if index, ok := x.(*ast.IndexExpr); ok {
		x = index.X
	}
	if id, ok := x.(*ast.Ident); ok {
		return id.Name + "."
	}
	return ""
}

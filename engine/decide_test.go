package engine_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// changers are the methods of the store that change a batch.
var changers = []string{"Transition", "Split", "DeadLetter", "Seal"}

// changes lists the places of a source that change a batch, or take a method
// that does.
func changes(t *testing.T, name string, text any) (out []string) {
	t.Helper()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, name, text, 0)
	if err != nil {
		t.Fatal(err)
	}
	imported := map[string]bool{}
	for _, i := range file.Imports {
		imported[filepath.Base(strings.Trim(i.Path.Value, `"`))] = true
	}
	ast.Inspect(file, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok || !slices.Contains(changers, sel.Sel.Name) {
			return true
		}
		// A type or a function of a package (store.Seal, strings.Split) is no method.
		if x, ok := sel.X.(*ast.Ident); !ok || !imported[x.Name] {
			out = append(out, files.Position(sel.Pos()).String())
		}
		return true
	})
	return out
}

// One place changes batches: what decides is the table.
func TestOnlyOnePlaceChangesABatch(t *testing.T) {
	planted := `package p
		import ("strings"; "kustospool/store")
		func f(s *store.Store) { strings.Split("a", "b"); _ = store.Seal{}; s.Transition(nil); g := s.DeadLetter }`
	if found := changes(t, "planted.go", planted); len(found) != 2 {
		t.Fatalf("the control found %q", found)
	}
	there := 0
	dirs, err := filepath.Glob("internal/*")
	if err != nil || len(dirs) < 3 {
		t.Fatal(dirs, err)
	}
	for _, dir := range append(dirs, ".", "../cmd/kustospool") {
		names, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(names) == 0 {
			t.Fatal(names, err)
		}
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			found := changes(t, name, text)
			if name == "decide.go" {
				there = len(found)
			} else if len(found) > 0 {
				t.Errorf("%q change a batch beside the table of engine/internal/lifecycle: use batches.happened", found)
			}
		}
	}
	if there == 0 {
		t.Error("decide.go changes no batch: this test looks in the wrong place")
	}
}

package layering

import (
	"fmt"
	"go/types"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/go/packages"
)

// faces are the packages that a user imports to embed the spool or to write a
// transport. None of their exported API may need package store to be written.
var faces = []string{"kustospool/engine", "kustospool/ingest", "kustospool/ingest/record", "kustospool/ingest/content", "kustospool/batching", "kustospool/transport"}

const hidden = "kustospool/store"

// TestNoTypeOfTheStoreInAnAPI looks through what is exported, aliases included.
func TestNoTypeOfTheStoreInAnAPI(t *testing.T) {
	cfg := &packages.Config{Mode: packages.NeedName | packages.NeedTypes | packages.NeedImports | packages.NeedDeps | packages.NeedExportFile, Dir: root(t), Context: t.Context()}
	pkgs, err := packages.Load(cfg, append([]string{hidden}, faces...)...)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]*types.Package{}
	for _, p := range pkgs {
		for _, e := range p.Errors {
			t.Fatal(e)
		}
		seen[p.PkgPath] = p.Types
	}
	for _, path := range faces {
		for _, leak := range leaks(seen[path], hidden) {
			t.Error(leak)
		}
	}
	// The control: the store's own API is full of its types.
	if n := len(leaks(seen[hidden], hidden)); n < 20 {
		t.Errorf("%d uses of the store's types in its own API: the test sees nothing", n)
	}
}

// leaks lists where the exported API of p mentions an exported type of the
// package forbidden, or of one below it.
func leaks(p *types.Package, forbidden string) (out []string) {
	l := &leakage{forbidden: forbidden, done: map[types.Type]bool{}}
	for _, name := range p.Scope().Names() {
		o := p.Scope().Lookup(name)
		if !o.Exported() {
			continue
		}
		l.walk(p.Path()+"."+name, o.Type())
		if tn, ok := o.(*types.TypeName); ok {
			l.members(p.Path()+"."+name, tn)
		}
	}
	slices.Sort(l.found)
	return slices.Compact(l.found)
}

type leakage struct {
	forbidden string
	done      map[types.Type]bool
	found     []string
}

// members are the methods and the exported fields of a type that p declares.
func (l *leakage) members(where string, tn *types.TypeName) {
	named, ok := types.Unalias(tn.Type()).(*types.Named)
	if !ok {
		return
	}
	for i := range named.NumMethods() {
		if m := named.Method(i); m.Exported() {
			l.walk(where+"."+m.Name(), m.Type())
		}
	}
	l.walk(where, named.Underlying())
}

// walk looks through a type as a reader of its documentation sees it. What it
// names of other packages it does not enter.
func (l *leakage) walk(where string, t types.Type) {
	switch t := t.(type) {
	case *types.Alias:
		l.name(where, t.Obj())
		l.walk(where, types.Unalias(t))
	case *types.Named:
		l.name(where, t.Obj())
		for arg := range t.TypeArgs().Types() {
			l.walk(where, arg)
		}
	case *types.Pointer:
		l.walk(where, t.Elem())
	case *types.Slice:
		l.walk(where, t.Elem())
	case *types.Array:
		l.walk(where, t.Elem())
	case *types.Chan:
		l.walk(where, t.Elem())
	case *types.Map:
		l.walk(where, t.Key())
		l.walk(where, t.Elem())
	case *types.Tuple:
		for v := range t.Variables() {
			l.walk(where, v.Type())
		}
	case *types.Signature:
		l.walk(where, t.Params())
		l.walk(where, t.Results())
	case *types.Struct:
		for f := range t.Fields() {
			if f.Exported() || f.Embedded() {
				l.walk(where+"."+f.Name(), f.Type())
			}
		}
	case *types.Interface:
		for m := range t.Methods() {
			l.walk(where+"."+m.Name(), m.Type())
		}
	}
}

func (l *leakage) name(where string, o *types.TypeName) {
	if p := o.Pkg(); p != nil && (p.Path() == l.forbidden || strings.HasPrefix(p.Path(), l.forbidden+"/")) {
		l.found = append(l.found, fmt.Sprintf("%s needs %s.%s", where, p.Path(), o.Name()))
	}
}

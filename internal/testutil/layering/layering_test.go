package layering

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// list asks the go command about every package of the module.
func list(t *testing.T, goos string) (pkgs []pkg) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-e", "-json=ImportPath,Name,Doc,Imports,Deps,TestImports,XTestImports", "./...")
	cmd.Dir = root(t)
	cmd.Env = append(os.Environ(), "GOOS="+goos, "GOFLAGS=-mod=readonly")
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatal(err)
	}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); err == io.EOF {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

// root is the module's directory: the first above this one with a go.mod.
func root(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	for err == nil {
		if _, statErr := os.Stat(filepath.Join(dir, "go.mod")); statErr == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			break
		}
		dir = up
	}
	t.Fatalf("no go.mod above the test: %v", err)
	return ""
}

func TestImports(t *testing.T) {
	for _, goos := range []string{"linux", "windows"} {
		pkgs := list(t, goos)
		if !slices.ContainsFunc(pkgs, func(p pkg) bool { return p.ImportPath == module+"/ingest" }) {
			t.Fatalf("the go command knows %d packages and not ingest", len(pkgs))
		}
		for _, v := range violations(pkgs) {
			t.Errorf("%s: %s", goos, v)
		}
	}
}

// Each rule must be able to fail.
func TestRules(t *testing.T) {
	tests := []struct {
		name string
		pkg  pkg
		want string // part of the one sentence; empty: allowed
	}{
		{"the plain case", pkg{ImportPath: "kustospool/batching", Doc: "x", Imports: []string{"time", "kustospool/ingest"}}, ""},
		{"no comment", pkg{ImportPath: "kustospool/batching"}, "no package comment"},
		{"unknown package", pkg{ImportPath: "kustospool/utils", Doc: "x"}, "in no layer"},
		{"nouns import a module", pkg{ImportPath: "kustospool/ingest", Doc: "x", Imports: []string{"github.com/google/uuid"}}, "ingest imports github.com/google/uuid"},
		{"store imports transport", pkg{ImportPath: "kustospool/store", Doc: "x", Imports: []string{"kustospool/transport"}}, "store imports transport"},
		{"store imports its rooms", pkg{ImportPath: "kustospool/store", Doc: "x", Imports: []string{"kustospool/store/internal/wal", "kustospool/store/internal/ledger"}}, ""},
		{"store imports bbolt", pkg{ImportPath: "kustospool/store", Doc: "x", Imports: []string{"go.etcd.io/bbolt"}}, "store imports go.etcd.io/bbolt"},
		{"the ledger imports bbolt", pkg{ImportPath: "kustospool/store/internal/ledger", Doc: "x", Imports: []string{"go.etcd.io/bbolt", "go.etcd.io/bbolt/errors"}}, ""},
		{"the log knows the door", pkg{ImportPath: "kustospool/store/internal/wal", Doc: "x", Imports: []string{"kustospool/store"}}, "wal imports store"},
		{"a room knows a room", pkg{ImportPath: "kustospool/store/internal/wal", Doc: "x", Imports: []string{"kustospool/store/internal/object"}}, "wal imports store/internal/object"},
		{"somebody enters a room of the store", pkg{ImportPath: "kustospool/engine", Doc: "x", Imports: []string{"kustospool/store/internal/ledger"}}, "engine imports store/internal/ledger"},
		{"a room of the engine knows the door", pkg{ImportPath: "kustospool/engine/internal/retry", Doc: "x", Imports: []string{"kustospool/engine"}}, "only commands"},
		{"a room of the engine knows a room above it", pkg{ImportPath: "kustospool/engine/internal/lock", Doc: "x", Imports: []string{"kustospool/engine/internal/lifecycle"}}, "lock imports engine/internal/lifecycle"},
		{"a room of the engine knows one that it may", pkg{ImportPath: "kustospool/engine/internal/live", Doc: "x", Imports: []string{"kustospool/engine/internal/lock"}}, ""},
		{"the mirror knows the table of a batch's life", pkg{ImportPath: "kustospool/engine/internal/live", Doc: "x", Imports: []string{"kustospool/engine/internal/lifecycle"}}, "live imports engine/internal/lifecycle"},
		{"what guards the transport knows the mirror", pkg{ImportPath: "kustospool/engine/internal/plug", Doc: "x", Imports: []string{"kustospool/engine/internal/live"}}, "plug imports engine/internal/live"},
		{"what answers an operator knows the transports", pkg{ImportPath: "kustospool/engine/internal/answers", Doc: "x", Imports: []string{"kustospool/transport"}}, "answers imports transport"},
		{"engine imports a transport", pkg{ImportPath: "kustospool/engine", Doc: "x", Imports: []string{"kustospool/transport/queued"}}, "engine imports transport/queued"},
		{"engine reaches Azure", pkg{ImportPath: "kustospool/engine", Doc: "x", Deps: []string{"time", "github.com/Azure/azure-sdk-for-go/sdk/azcore"}}, "engine depends on github.com/Azure"},
		{"transport imports engine", pkg{ImportPath: "kustospool/transport/queued", Doc: "x", Imports: []string{"kustospool/engine"}}, "only commands"},
		{"transports import each other", pkg{ImportPath: "kustospool/transport/queued", Doc: "x", Imports: []string{"kustospool/transport/direct"}}, "queued imports transport/direct"},
		{"managed builds on the others", pkg{ImportPath: "kustospool/transport/managed", Doc: "x", Imports: []string{"kustospool/transport/direct"}}, ""},
		{"command imports all", pkg{ImportPath: "kustospool/cmd/x", Doc: "x", Imports: []string{"kustospool/engine", "kustospool/internal/kustosim"}}, ""},
		{"production imports the simulator", pkg{ImportPath: "kustospool/transport/queued", Doc: "x", Imports: []string{"kustospool/internal/kustosim"}}, "is for tests"},
		{"a room of the simulator knows the door", pkg{ImportPath: "kustospool/internal/kustosim/internal/mgmt", Doc: "x", Imports: []string{"kustospool/internal/kustosim"}}, "mgmt imports internal/kustosim"},
		{"a room of the simulator knows a room above it", pkg{ImportPath: "kustospool/internal/kustosim/internal/storage", Doc: "x", Imports: []string{"kustospool/internal/kustosim/internal/ingestor"}}, "storage imports internal/kustosim/internal/ingestor"},
		{"a room of the simulator knows one that it may", pkg{ImportPath: "kustospool/internal/kustosim/internal/storage", Doc: "x", Imports: []string{"kustospool/internal/kustosim/internal/fault"}}, ""},
		{"the door of the simulator knows its rooms", pkg{ImportPath: "kustospool/internal/kustosim", Doc: "x", Imports: []string{"kustospool/internal/kustosim/internal/mgmt"}}, ""},
		{"production imports a room of the simulator", pkg{ImportPath: "kustospool/engine", Doc: "x", Imports: []string{"kustospool/internal/kustosim/internal/fault"}}, "engine imports internal/kustosim/internal/fault, which is for tests"},
		{"production imports the suite", pkg{ImportPath: "kustospool/engine", Doc: "x", Imports: []string{"kustospool/transport/transporttest"}}, "is for tests"},
		{"tests import the suite", pkg{ImportPath: "kustospool/engine", Doc: "x", XTestImports: []string{"kustospool/transport/transporttest", "testing"}}, ""},
		{"production imports testing", pkg{ImportPath: "kustospool/store", Doc: "x", Imports: []string{"testing"}}, "outside of tests"},
		{"tests of the store use the engine", pkg{ImportPath: "kustospool/store", Doc: "x", XTestImports: []string{"kustospool/engine"}}, "the tests of store import engine"},
		{"another module", pkg{ImportPath: "example.org/x"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := violations([]pkg{tt.pkg})
			switch {
			case tt.want == "" && len(got) > 0:
				t.Errorf("found %q", got)
			case tt.want != "" && (len(got) != 1 || !strings.Contains(got[0], tt.want)):
				t.Errorf("found %q, want %q", got, tt.want)
			}
		})
	}
}

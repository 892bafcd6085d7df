package layering

import (
	"fmt"
	"slices"
	"strings"
)

const module = "kustospool"

// layer says what the packages under a path may import besides the standard
// library. Paths of this module are written without its name.
type layer struct {
	path string
	// tree: the row is for path and everything under it, not for path alone.
	tree bool
	// may lists what production code may import; a trailing slash means
	// everything under it.
	may []string
	// free: tests, tools and test infrastructure, which import what they like
	// from anywhere but a package main.
	free bool
	// infrastructure is there for tests: only free packages and tests import it.
	infrastructure bool
}

// layers is the architecture. The first row that fits a package counts.
var layers = []layer{
	{path: "ingest/record"},
	{path: "ingest", may: []string{"ingest/record"}},
	{path: "ingest/content", may: []string{"ingest"}},
	{path: "batching", may: []string{"ingest"}},
	{path: "store", may: []string{"ingest", "store/internal/", "internal/vfs", "internal/wake", "internal/crashpoint"}},
	{path: "transport", may: []string{"ingest", "internal/visible"}},
	{path: "transport/dir", may: []string{"transport", "ingest", "github.com/klauspost/compress/gzip"}},
	{path: "transport/budget", may: []string{"transport", "ingest", "internal/vfs", "golang.org/x/time/rate"}},
	{path: "transport/transporttest", may: []string{"transport", "ingest"}, infrastructure: true},
	{path: "transport/internal", tree: true, may: []string{"transport", "transport/internal/", "ingest", "internal/visible", "github.com/Azure/azure-sdk-for-go/", "github.com/google/uuid", "golang.org/x/sync/", "github.com/klauspost/compress/"}},
	{path: "transport/route", may: []string{"transport", "ingest"}},
	{path: "transport/managed", may: []string{"transport", "transport/internal/", "transport/direct", "transport/queued", "ingest", "github.com/Azure/azure-sdk-for-go/"}},
	{path: "transport", tree: true, may: []string{"transport", "transport/internal/", "transport/budget", "ingest", "ingest/record", "github.com/Azure/azure-sdk-for-go/", "github.com/google/uuid", "golang.org/x/sync/", "github.com/klauspost/compress/"}},
	{path: "operate", may: []string{"ingest", "internal/visible", "internal/quantity", "golang.org/x/sys/"}},
	// The rooms of the engine: who may know whom. Only the door knows all.
	{path: "engine/internal/answers", may: []string{"ingest", "operate", "store"}},
	{path: "engine/internal/lifecycle", may: []string{"ingest", "store"}},
	{path: "engine/internal/live", may: []string{"engine/internal/lock", "engine/internal/retry", "ingest", "store", "transport", "internal/wake"}},
	{path: "engine/internal/lock"},
	{path: "engine/internal/plug", may: []string{"ingest", "store", "transport", "internal/visible"}},
	{path: "engine/internal/retry", may: []string{"github.com/cenkalti/backoff/v4"}},
	{path: "engine", may: []string{"engine/internal/", "ingest", "ingest/record", "ingest/content", "batching", "store", "transport", "operate", "internal/wake", "internal/crashpoint", "golang.org/x/sync/"}},
	{path: "store/internal/wal", may: []string{"internal/vfs", "internal/wake", "internal/crashpoint", "github.com/klauspost/compress/s2"}},
	{path: "store/internal/ledger", may: []string{"ingest", "internal/vfs", "internal/wake", "internal/crashpoint", "go.etcd.io/bbolt", "go.etcd.io/bbolt/"}},
	{path: "store/internal/object", may: []string{"internal/vfs", "internal/crashpoint"}},
	{path: "internal/crashpoint"},
	{path: "internal/wake"},
	{path: "internal/visible"},
	{path: "internal/quantity"},
	{path: "internal/plot", may: []string{"internal/visible", "internal/quantity"}},
	{path: "internal/datasync", may: []string{"golang.org/x/sys/"}},
	{path: "internal/vfs", may: []string{"internal/datasync", "golang.org/x/sys/"}},
	{path: "internal/vfs/memfs", may: []string{"internal/vfs"}, infrastructure: true},
	// The rooms of the simulator: who may know whom. Only the door knows all.
	{path: "internal/kustosim/internal/lex", infrastructure: true},
	{path: "internal/kustosim/internal/stats", infrastructure: true, may: []string{"internal/kustosim/internal/fault"}},
	{path: "internal/kustosim/internal/parse", infrastructure: true, may: []string{"internal/kustosim/internal/lex", "ingest"}},
	{path: "internal/kustosim/internal/catalog", infrastructure: true, may: []string{"internal/kustosim/internal/parse", "ingest", "github.com/google/uuid"}},
	{path: "internal/kustosim/internal/port", infrastructure: true},
	{path: "internal/kustosim/internal/fault", infrastructure: true, may: []string{"internal/kustosim/internal/port"}},
	{path: "internal/kustosim/internal/storage", infrastructure: true, may: []string{"internal/kustosim/internal/fault", "internal/kustosim/internal/port", "internal/kustosim/internal/stats", "github.com/google/uuid", "github.com/Azure/azure-sdk-for-go/"}},
	{path: "internal/kustosim/internal/ingestor", infrastructure: true, may: []string{"internal/kustosim/internal/catalog", "internal/kustosim/internal/fault", "internal/kustosim/internal/parse", "internal/kustosim/internal/stats", "internal/kustosim/internal/storage", "ingest", "internal/wake", "github.com/google/uuid", "github.com/klauspost/compress/"}},
	{path: "internal/kustosim/internal/reply", infrastructure: true, may: []string{"internal/kustosim/internal/fault", "internal/kustosim/internal/parse", "github.com/google/uuid"}},
	{path: "internal/kustosim/internal/mgmt", infrastructure: true, may: []string{"internal/kustosim/internal/catalog", "internal/kustosim/internal/ingestor", "internal/kustosim/internal/lex", "internal/kustosim/internal/parse", "internal/kustosim/internal/reply", "internal/kustosim/internal/stats", "internal/kustosim/internal/storage", "github.com/google/uuid"}},
	{path: "internal/kustosim/internal/endpoint", infrastructure: true, may: []string{"internal/kustosim/internal/catalog", "internal/kustosim/internal/fault", "internal/kustosim/internal/ingestor", "internal/kustosim/internal/lex", "internal/kustosim/internal/mgmt", "internal/kustosim/internal/parse", "internal/kustosim/internal/port", "internal/kustosim/internal/reply", "internal/kustosim/internal/stats", "ingest", "github.com/google/uuid"}},
	{path: "internal/kustosim/internal/control", infrastructure: true, may: []string{"internal/kustosim/internal/catalog", "internal/kustosim/internal/fault", "internal/kustosim/internal/port", "internal/kustosim/internal/reply", "internal/kustosim/internal/stats"}},
	{path: "internal/kustosim", free: true, infrastructure: true},
	{path: "internal/testutil", tree: true, free: true, infrastructure: true},
	{path: "internal/e2e", tree: true, free: true, infrastructure: true},
	// What stands on the engine.
	{path: "telemetry", may: []string{"engine", "ingest"}},
	{path: "telemetry/prometheus", may: []string{"telemetry"}},
	{path: "telemetry/otel", may: []string{"telemetry", "engine", "ingest", "transport", "internal/visible", "go.opentelemetry.io/otel", "go.opentelemetry.io/otel/"}},
	{path: "statushttp", may: []string{"ingest", "operate", "internal/visible", "internal/plot", "internal/quantity", "golang.org/x/time/rate"}},
	// Adapters know a table by an interface of their own.
	{path: "slogspool", may: []string{"ingest"}},
	{path: "typed", may: []string{"ingest"}},
	{path: "cmd", tree: true, free: true},
	{path: "examples", tree: true, free: true},
}

// withoutAzure are the packages that must not reach an Azure type even through
// what they import.
var withoutAzure = []string{"ingest", "batching", "store", "transport", "transport/dir", "transport/route", "operate", "engine", "slogspool", "typed", "statushttp"}

// pkg is what the go command says of a package.
type pkg struct {
	ImportPath   string
	Name         string
	Doc          string
	Imports      []string
	Deps         []string
	TestImports  []string
	XTestImports []string
}

func (l layer) fits(path string) bool {
	return path == l.path || l.tree && strings.HasPrefix(path, l.path+"/")
}

func layerOf(path string) (layer, bool) {
	i := slices.IndexFunc(layers, func(l layer) bool { return l.fits(path) })
	if i < 0 {
		return layer{}, false
	}
	return layers[i], true
}

func (l layer) allows(imported string) bool {
	return slices.ContainsFunc(l.may, func(m string) bool {
		return imported == m || strings.HasSuffix(m, "/") && strings.HasPrefix(imported, m)
	})
}

// standard reports whether an import path is of the standard library: the
// first element of every other one, but our own, has a point.
func standard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return first != module && !strings.Contains(first, ".")
}

// violations lists what breaks the rules, one sentence each.
func violations(pkgs []pkg) (out []string) {
	say := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for _, p := range pkgs {
		path, ours := strings.CutPrefix(p.ImportPath, module+"/")
		if !ours {
			continue
		}
		if p.Doc == "" {
			say("%s has no package comment", path)
		}
		l, ok := layerOf(path)
		if !ok {
			say("%s is in no layer: give it a row", path)
			continue
		}
		for _, imported := range p.Imports {
			switch {
			case imported == "testing" || strings.HasPrefix(imported, "testing/"):
				if !l.infrastructure {
					say("%s imports %s outside of tests", path, imported)
				}
				continue
			case standard(imported):
				continue
			}
			local, isOurs := strings.CutPrefix(imported, module+"/")
			if isOurs {
				if local == "engine" && !l.free && !l.allows(local) {
					say("%s imports engine, which only commands, telemetry, examples and tests may", path)
					continue
				}
				if target, ok := layerOf(local); ok && target.infrastructure && !l.free && !l.infrastructure {
					say("%s imports %s, which is for tests", path, local)
					continue
				}
			}
			if !l.free && !l.allows(local) {
				say("%s imports %s", path, local)
			}
		}
		if slices.Contains(withoutAzure, path) {
			if i := slices.IndexFunc(p.Deps, func(d string) bool { return strings.HasPrefix(d, "github.com/Azure/") }); i >= 0 {
				say("%s depends on %s", path, p.Deps[i])
			}
		}
		// A layer's tests stand in it: they may use test infrastructure and the
		// layer below, but not what is built on the layer.
		if path == "ingest" || path == "batching" || path == "store" {
			for _, imported := range slices.Concat(p.TestImports, p.XTestImports) {
				if local, ours := strings.CutPrefix(imported, module+"/"); ours && local != path && !l.allows(local) && !strings.HasPrefix(local, "internal/") {
					say("the tests of %s import %s", path, local)
				}
			}
		}
	}
	return out
}

package engine_test

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/transport"
	"kustospool/transport/transporttest"
)

// gathered keeps all events.
type gathered struct {
	hold chan struct{} // Observe waits for it
	mu   sync.Mutex
	list []engine.Event
}

func (g *gathered) Observe(ev engine.Event) {
	<-g.hold
	g.mu.Lock()
	g.list = append(g.list, ev)
	g.mu.Unlock()
}

// eventful has every kind of event happen to a spool whose quota is 8 MiB.
func eventful(t *testing.T, dir string, s *engine.Spool, fake *transporttest.Fake) {
	t.Helper()
	put(t, s, telemetry, `{"text":"good"}`, `{"text":"poison"}`, `{"text":"poison too"}`)
	drain(t, s)
	dead := waiting(t, s)
	if len(dead) != 2 {
		t.Fatalf("%d dead letters", len(dead))
	}
	fake.Poison(func([]byte) bool { return false })
	if _, err := s.RetryDeadLetter(t.Context(), dead[0].Batch.ID, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.RemoveDeadLetter(dead[1].Batch.ID); err != nil {
		t.Fatal(err)
	}
	drain(t, s)

	fake.Script(transporttest.Step{Refuse: transporttest.Fail(transport.Transient), Delay: time.Second}) // by a later verdict
	put(t, s, telemetry, `{"text":"refused once"}`)
	drain(t, s)

	fake.Down(transporttest.Fail(transport.Transient))
	put(t, s, telemetry, `{"text":"to be spoiled"}`, `{"text":"sound"}`)
	spoil(t, dir, `"text":"to be spoiled"`)
	fake.Down(nil)
	drain(t, s)

	fake.Down(transporttest.Fail(transport.Transient))
	late := fmt.Sprintf(`{"pad":"%s"}`, strings.Repeat("x", 256<<10))
	for {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_, err := s.Ingest(ctx, request(telemetry, late))
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	stored := make(chan error)
	go func() {
		_, err := s.Ingest(t.Context(), request(telemetry, late))
		stored <- err
	}()
	time.Sleep(2 * time.Second)
	fake.Down(nil)
	if err := <-stored; err != nil {
		t.Fatal(err)
	}
	drain(t, s)
}

// filled are the fields of each type that were not zero in some event.
func filled(list []engine.Event) map[string]map[string]bool {
	out := map[string]map[string]bool{}
	var look func(into map[string]bool, path string, v reflect.Value)
	look = func(into map[string]bool, path string, v reflect.Value) {
		into[path] = into[path] || !v.IsZero()
		if path == "" || path == "Settled" || path == "SettledBatches" {
			for i := range v.NumField() {
				look(into, strings.TrimPrefix(path+"."+v.Type().Field(i).Name, "."), v.Field(i))
			}
		}
	}
	for _, ev := range list {
		name := reflect.TypeOf(ev).Name()
		if out[name] == nil {
			out[name] = map[string]bool{}
		}
		look(out[name], "", reflect.ValueOf(ev))
	}
	return out
}

// missing says which events, of all there are, were not seen with all their fields.
func missing(all []string, list []engine.Event) (out []string) {
	seen := filled(list)
	for _, name := range all {
		if seen[name] == nil {
			out = append(out, name)
		}
		for _, field := range slices.Sorted(maps.Keys(seen[name])) {
			if !seen[name][field] {
				out = append(out, name+"."+field)
			}
		}
	}
	return out
}

// TestEveryEventIsSent, with each of its fields: once to an observer that keeps up, and
// once to one that does not, where all of it is folded.
func TestEveryEventIsSent(t *testing.T) {
	all := eventTypes(t)
	run := func(t *testing.T, fold bool) (list []engine.Event) {
		synctest.Test(t, func(t *testing.T) {
			dir, fake := t.TempDir(), transporttest.NewFake()
			fake.Poison(func(rec []byte) bool { return strings.Contains(string(rec), "poison") })
			g := &gathered{hold: make(chan struct{})}
			o := small(engine.BlockCaller)
			o.Observer, o.Batch.MaxAge, o.Batch.MaxRecords, o.Senders = g, 10*time.Millisecond, 3, 64
			s, err := engine.Open(dir, fake.Tracking(), o)
			if err != nil {
				t.Fatal(err)
			}
			if fold {
				var many []*ingest.Request
				for range 5000 { // with four events for each three of them
					many = append(many, request(telemetry, `{}`))
				}
				if _, err := s.IngestAll(t.Context(), many); err != nil {
					t.Fatal(err)
				}
				drain(t, s)
			} else {
				close(g.hold)
			}
			eventful(t, dir, s, fake)
			if fold {
				close(g.hold)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			list = g.list
		})
		return list
	}

	list := run(t, false)
	one := func(name string, fits func(engine.Event) bool) {
		if !slices.ContainsFunc(list, fits) {
			t.Errorf("no %s as it should be", name)
		}
	}
	one("DamageFound", func(ev engine.Event) bool {
		d, ok := ev.(engine.DamageFound)
		return ok && strings.Contains(d.What, "segment 1") && d.Batch.Properties.Table == "Telemetry"
	})
	one("WaitedForRoom that ends with room", func(ev engine.Event) bool {
		w, ok := ev.(engine.WaitedForRoom)
		return ok && w.Stored && w.Took >= 2*time.Second
	})
	one("WaitedForRoom that ends with an error", func(ev engine.Event) bool {
		w, ok := ev.(engine.WaitedForRoom)
		return ok && !w.Stored && w.Took == time.Second
	})
	one("BatchDecided", func(ev engine.Event) bool {
		d, ok := ev.(engine.BatchDecided)
		return ok && d.State == ingest.Sealed && d.Failure != nil && d.Failure.Class == "transient"
	})
	for _, how := range []string{"retried", "removed"} {
		one("DeadLetterHandled, "+how, func(ev engine.Event) bool {
			h, ok := ev.(engine.DeadLetterHandled)
			return ok && h.How == how
		})
	}
	folded := run(t, true)
	list = append(list, folded...)
	g := &gathered{hold: make(chan struct{})} // in a bubble Open takes no time
	close(g.hold)
	o := soon()
	o.Observer = g
	s, err := engine.Open(t.TempDir(), transporttest.NewFake(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	list = append(list, g.list...)

	// This destination neither skips nor hands over, nothing is dropped by BlockCaller, and
	// what was split is counted in Splits.
	never := []string{"EventsFolded.Settled.Dropped", "EventsFolded.Settled.HandedOver", "EventsFolded.Settled.Skipped",
		"EventsFolded.SettledBatches.Dropped", "EventsFolded.SettledBatches.HandedOver", "EventsFolded.SettledBatches.Skipped", "EventsFolded.SettledBatches.Split"}
	if got := missing(all, list); !slices.Equal(got, never) {
		t.Errorf("not seen: %q", got)
	}

	// The control: without those of one type it is missed.
	for _, name := range all {
		less := slices.DeleteFunc(slices.Clone(list), func(ev engine.Event) bool { return reflect.TypeOf(ev).Name() == name })
		if !slices.Contains(missing(all, less), name) {
			t.Errorf("without any %s nothing is missed", name)
		}
	}
}

// eventTypes are those that the package declares, by their method event.
func eventTypes(t *testing.T) (names []string) {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv != nil && fn.Name.Name == "event" {
				if of, ok := fn.Recv.List[0].Type.(*ast.Ident); ok { // a pointer is no event
					names = append(names, of.Name)
				}
			}
		}
	}
	slices.Sort(names)
	return names
}

// TestEventsAreDocumented: docs/telemetry.md has a line for each type, and for no other.
func TestEventsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/telemetry.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "\n## Events\n")
	if !ok {
		t.Fatal("docs/telemetry.md has no section Events")
	}
	section, _, _ := strings.Cut(rest, "\n## ")
	var named []string
	for _, m := range regexp.MustCompile("(?m)^\\| `(\\w+)` \\| [^|]{20,} \\|$").FindAllStringSubmatch(section, -1) {
		named = append(named, m[1])
	}
	slices.Sort(named)
	if all := eventTypes(t); !slices.Equal(named, all) || len(all) < 13 {
		t.Errorf("documented: %q\nsent: %q", named, all)
	}
}

package loggers

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/internal/testutil/simspool"
	"kustospool/transport/direct"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	producers, each = 4, 25
	begun, over     = "<!-- the recipes: go test . -run Docs -update, in internal/testutil/loggers -->\n", "<!-- end of the recipes -->\n"
	page            = "../../../docs/adapters.md"
)

var update = flag.Bool("update", false, "write the recipes of docs/adapters.md anew")

// into makes a table of the columns in a simulator, has something logged to it, and
// returns its rows.
func into(t *testing.T, columns string, log func(*engine.Table) error) (rows []map[string]any) {
	t.Helper()
	sim := simspool.Start(t, &kustosim.Options{Databases: []string{"D"}})
	var made []kustosim.Column
	for _, c := range strings.Split(columns, ",") {
		name, kind, _ := strings.Cut(c, ":")
		made = append(made, kustosim.Column{Name: name, Type: kind})
	}
	if err := sim.CreateTable("D", "Logs", made...); err != nil {
		t.Fatal(err)
	}
	client, err := direct.NewClient(sim.Endpoint(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	spool := simspool.Open(t, t.TempDir(), client, &engine.Options{NoSocket: true})
	table, err := spool.Table(ingest.Properties{Database: "D", Table: "Logs", Format: ingest.JSON})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(log(table), spool.Drain(t.Context())); err != nil {
		t.Fatal(err)
	}
	for _, r := range sim.Rows("D", "Logs") {
		var row map[string]any
		if err := json.Unmarshal(r, &row); err != nil {
			t.Fatal(err)
		}
		rows = append(rows, row)
	}
	return rows
}

// wrong says what is wrong with the rows of producers that each logged lines.
func wrong(rows []map[string]any, at, msg string, from time.Time) (out []string) {
	seen := map[any]bool{}
	for _, row := range rows {
		text, _ := row[at].(string)
		when, err := time.Parse(time.RFC3339Nano, text)
		if err != nil || when.Before(from.Add(-time.Second)) || when.After(time.Now().Add(time.Second)) || !strings.HasSuffix(text, "Z") {
			out = append(out, fmt.Sprintf("%s is %v", at, row[at]))
		}
		if row["level"] != "info" || row[msg] != "moored\nand \"fast\"" || row["knots"] != 0.5 {
			out = append(out, fmt.Sprint(row))
		}
		seen[row["n"]] = true
	}
	if len(rows) != producers*each || len(seen) != len(rows) {
		out = append(out, fmt.Sprintf("%d rows, %d different ones, of %d lines", len(rows), len(seen), producers*each))
	}
	return out
}

// allAtOnce calls from several goroutines, each line with a number of its own.
func allAtOnce(line func(n int)) {
	var all sync.WaitGroup
	for p := range producers {
		all.Go(func() {
			for i := range each {
				line(p*each + i)
			}
		})
	}
	all.Wait()
}

const zapColumns, zerologColumns = "ts:datetime,level:string,msg:string,caller:string,n:long,knots:real", "time:datetime,level:string,message:string,n:long,knots:real"

// TestRecipes: what is logged by each is in the table, typed, when its spool is drained.
// The control logs with zap's own time, which a datetime column does not read.
func TestRecipes(t *testing.T) {
	from := time.Now()
	say := func(logger *zap.Logger) {
		allAtOnce(func(n int) { logger.Info("moored\nand \"fast\"", zap.Int("n", n), zap.Float64("knots", 0.5)) })
	}
	t.Run("zap", func(t *testing.T) {
		rows := into(t, zapColumns, func(table *engine.Table) error {
			logger, w := zapTo(t.Context(), table)
			say(logger)
			return w.Close()
		})
		for _, w := range wrong(rows, "ts", "msg", from) {
			t.Error(w)
		}
		if c, _ := rows[0]["caller"].(string); !strings.Contains(c, "loggers_test.go:") {
			t.Errorf("the caller is %v", rows[0]["caller"])
		}
	})
	t.Run("zap, buffered", func(t *testing.T) {
		rows := into(t, zapColumns, func(table *engine.Table) error {
			logger, stop, w := bufferedZapTo(t.Context(), table)
			say(logger)
			return errors.Join(stop(), w.Close())
		})
		for _, w := range wrong(rows, "ts", "msg", from) {
			t.Error(w)
		}
	})
	t.Run("zerolog", func(t *testing.T) {
		rows := into(t, zerologColumns, func(table *engine.Table) error {
			logger, w := zerologTo(t.Context(), table)
			allAtOnce(func(n int) { logger.Info().Int("n", n).Float64("knots", 0.5).Msg("moored\nand \"fast\"") })
			return w.Close()
		})
		for _, w := range wrong(rows, "time", "message", from) {
			t.Error(w)
		}
	})
	t.Run("control", func(t *testing.T) {
		rows := into(t, zapColumns, func(table *engine.Table) error {
			w := table.Writer(t.Context())
			say(zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.Lock(zapcore.AddSync(w)), zap.InfoLevel)))
			return w.Close()
		})
		if len(wrong(rows, "ts", "msg", from)) != producers*each {
			t.Errorf("seconds since 1970 pass for a time: %v", rows[0])
		}
	})
	zerolog.TimeFieldFormat, zerolog.TimestampFunc = time.RFC3339, time.Now
}

// TestDocs: docs/adapters.md shows the functions that are run, each of at most 15 lines.
func TestDocs(t *testing.T) {
	source, err := os.ReadFile("recipes_test.go")
	if err != nil {
		t.Fatal(err)
	}
	f, err := parser.ParseFile(token.NewFileSet(), "", source, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	want := "```go\n"
	for _, d := range f.Decls {
		if fn, ok := d.(*ast.FuncDecl); ok {
			start := fn.Pos()
			if fn.Doc != nil {
				start = fn.Doc.Pos()
			}
			code := string(source[start-f.FileStart : fn.End()-f.FileStart])
			if n := strings.Count(code, "\n") + 1; n > 15 {
				t.Errorf("%s has %d lines", fn.Name.Name, n)
			}
			want += code + "\n\n"
		}
	}
	want = strings.TrimSuffix(want, "\n") + "```\n"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begun)
	shown, after, ok2 := strings.Cut(rest, over)
	switch {
	case !ok || !ok2:
		t.Fatalf("%s has no place for the recipes", page)
	case shown == want:
	case *update:
		if err := os.WriteFile(page, []byte(before+begun+want+over+after), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s does not show what is run here: run this test with -update", page)
	}
}

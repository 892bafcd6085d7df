package engine_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/transport/dir"
)

// Log lines of JSON: any logger that takes an io.Writer. Each line is on stable
// storage when the logger returns; docs/adapters.md has zap and zerolog.
func ExampleTable_Writer_logger() {
	tmp, _ := os.MkdirTemp("", "spool")
	defer os.RemoveAll(tmp)
	destination, _ := dir.NewClient(tmp+"/out", nil)
	logs := engine.TableName{Database: "Demo", Table: "Logs"}
	spool, _ := engine.Open(tmp+"/spool", destination, &engine.Options{
		Tables: map[engine.TableName]engine.TableOptions{logs: {OnBadRecord: engine.DeadLetterBadRecords}},
	})
	table, _ := spool.Table(ingest.Properties{Database: "Demo", Table: "Logs", Format: ingest.JSON})
	w := table.Writer(context.Background())
	slog.New(slog.NewJSONHandler(w, nil)).Info("moored", "boat", "Kittiwake")
	fmt.Fprintln(w, "goroutine 1 [running]:") // no JSON: set aside, and the writer goes on
	fmt.Println(w.Counts().Good, "good,", w.Counts().Bad, "bad,", w.Close(), spool.Shutdown(context.Background()))
	// Output: 1 good, 1 bad, <nil> <nil>
}

package slogspool_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/slogspool"
	"kustospool/transport/dir"
)

// Log to a table. Errors are left out here, but for what is not stored.
func Example() {
	tmp, _ := os.MkdirTemp("", "spool")
	defer os.RemoveAll(tmp)
	destination, _ := dir.NewClient(tmp+"/out", nil)
	spool, _ := engine.Open(tmp+"/spool", destination, nil)
	table, _ := spool.Table(ingest.Properties{Database: "Demo", Table: "Logs", Format: ingest.JSON})
	logs, _ := slogspool.New(table, nil)
	ctx := context.Background()

	slog.New(logs).Info("moored", "boat", "Kittiwake", slog.Group("at", "lat", 53.54, "lon", 9.97))

	fmt.Println(logs.Close(ctx), logs.Stats().Stored, "stored,", logs.Stats().Dropped, "dropped")
	fmt.Println(spool.Shutdown(ctx))
	// Output:
	// <nil> 1 stored, 0 dropped
	// <nil>
}

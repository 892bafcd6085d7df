package engine_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/transport/dir"
)

// Embed: a spool over a directory as its destination, which needs no network.
// With queued.NewClient in the place of dir.NewClient the same program delivers
// to Kusto.
func Example() {
	tmp, err := os.MkdirTemp("", "spool")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(tmp)
	destination, err := dir.NewClient(tmp+"/out", nil)
	if err != nil {
		log.Fatal(err)
	}
	spool, err := engine.Open(tmp+"/spool", destination, nil)
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	_, err = spool.Ingest(ctx, &ingest.Request{
		Properties: ingest.Properties{Database: "Demo", Table: "Telemetry", Format: ingest.JSON},
		Data:       []byte(`{"boat":"Kittiwake","knots":6.5}`),
	})
	if err != nil {
		log.Fatal(err)
	}
	// From here on the record survives a power cut.
	if err := spool.Shutdown(ctx); err != nil { // delivers what is left, and closes
		log.Fatal(err)
	}
	fmt.Println("delivered")
	// Output: delivered
}

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

// Wait for an outcome: Ingest returns before anything is sent, and its receipt
// is what to ask with.
func ExampleSpool_Wait() {
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
	rcpt, err := spool.Ingest(ctx, &ingest.Request{
		Properties: ingest.Properties{Database: "Demo", Table: "Telemetry", Format: ingest.JSON},
		Data:       []byte(`{"boat":"Kittiwake","knots":6.5}`),
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := spool.Flush(ctx); err != nil { // do not wait for the batch to fill up
		log.Fatal(err)
	}
	st, err := spool.Wait(ctx, rcpt.ID)
	if err != nil {
		log.Fatal(err) // the answer could not be learned
	}
	fmt.Println(st.State, st.Err()) // the answer
	if err := spool.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
	// Output: succeeded <nil>
}

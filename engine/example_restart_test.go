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

// Restart and ask again: a receipt is plain text, and any later process that
// opens the spool knows what became of it.
func Example_restart() {
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
	text := rcpt.String()                 // keep it wherever you like
	if err := spool.Close(); err != nil { // stops now; what is not delivered stays
		log.Fatal(err)
	}

	// The next process.
	if destination, err = dir.NewClient(tmp+"/out", nil); err != nil {
		log.Fatal(err)
	}
	if spool, err = engine.Open(tmp+"/spool", destination, nil); err != nil {
		log.Fatal(err)
	}
	if rcpt, err = ingest.ParseReceipt(text); err != nil {
		log.Fatal(err)
	}
	if err := spool.Drain(ctx); err != nil {
		log.Fatal(err)
	}
	st, err := spool.Status(ctx, rcpt.ID)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(st.State)
	if err := spool.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
	// Output: succeeded
}

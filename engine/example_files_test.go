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

// Files: one of any size is stored whole or not at all, and has one receipt.
func ExampleSpool_IngestFile() {
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
	if err := os.WriteFile(tmp+"/log.jsonl", []byte("{\"knots\":6.5}\n{\"knots\":6.7}\n"), 0o600); err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	// The name tells format and compression: log.jsonl.gz would do as well.
	rcpt, err := spool.IngestFile(ctx, ingest.Properties{Database: "Demo", Table: "Telemetry"}, tmp+"/log.jsonl")
	if err != nil {
		log.Fatal(err)
	}
	if err := spool.Flush(ctx); err != nil {
		log.Fatal(err)
	}
	tally, err := spool.WaitAll(ctx, rcpt)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(tally.Ingested(), "of", rcpt.Records, "records are there")
	if err := spool.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
	// Output: 2 of 2 records are there
}

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

// Watch: one snapshot tells what waits, since when, and why.
func ExampleSpool_Stats() {
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
	table, err := spool.Table(ingest.Properties{Database: "Demo", Table: "Telemetry", Format: ingest.JSON})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := table.Ingest(ctx, []byte(`{"boat":"Kittiwake"}`)); err != nil {
		log.Fatal(err)
	}
	for _, lane := range spool.Stats().Backlogged() {
		fmt.Printf("%s: %d records, %d bytes\n", lane.Name(), lane.Waiting.Records, lane.Waiting.Bytes)
		if lane.Failure != nil {
			fmt.Printf("since %v: %v\n", lane.Failure.Since(), lane.Failure)
		}
	}
	if err := spool.Drain(ctx); err != nil {
		log.Fatal(err)
	}
	st := spool.Stats()
	fmt.Println(st.Acked, "acknowledged,", st.Waiting.Records, "wait,", st.Settled.Ingested, "ingested")
	if err := spool.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// Demo.Telemetry (json): 1 records, 21 bytes
	// 1 acknowledged, 0 wait, 1 ingested
}

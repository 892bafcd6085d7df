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

// Write lines: a table takes them from anything that writes, a logger say.
func ExampleTable_Writer() {
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
	table, err := spool.Table(ingest.Properties{Database: "Demo", Table: "Readings", Format: ingest.CSV})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	w := table.Writer(ctx)
	fmt.Fprint(w, "2026-11-23,\"two\nlines\"\n2026-11-24,one")
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}
	fmt.Println(w.Records(), "records")
	if err := spool.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
	// Output: 2 records
}

// Write structs: each is a record.
func ExampleTable_IngestJSON() {
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
	table, err := spool.Table(ingest.Properties{Database: "Demo", Table: "Readings", Format: ingest.JSON})
	if err != nil {
		log.Fatal(err)
	}
	reading := struct {
		Boat  string
		Knots float64
	}{"Kittiwake", 6.5}
	_, err = table.IngestJSON(context.Background(), reading)
	fmt.Println(err)
	if err := spool.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
	// Output: <nil>
}

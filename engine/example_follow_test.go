package engine_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"strconv"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/transport/dir"
)

// Follow a file: after a crash the program goes on behind what is durable.
func ExampleWriter_Carry() {
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
	begin := int64(0)
	if pos, ok := spool.Position("boat.log"); ok { // of an earlier run
		if begin, err = strconv.ParseInt(string(pos.Value), 10, 64); err != nil {
			log.Fatal(err)
		}
	}
	w := table.Writer(ctx)
	err = w.Carry(func(written int64) ingest.Position {
		return ingest.Position{Name: "boat.log", Value: strconv.AppendInt(nil, begin+written, 10)}
	})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := io.WriteString(w, "{\"knots\":6.5}\n{\"kno"); err != nil {
		log.Fatal(err)
	}
	pos, _ := spool.Position("boat.log")
	fmt.Printf("go on at byte %s\n", pos.Value)
	if err := spool.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
	// Output: go on at byte 14
}

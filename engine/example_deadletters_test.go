package engine_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"os"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/transport/dir"
)

// Dead letters: what can never be ingested is kept with its reason. Here it is a
// torn line; it is read, repaired, and retried, which takes it away.
func ExampleSpool_DeadLetters() {
	tmp, err := os.MkdirTemp("", "spool")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(tmp)
	destination, err := dir.NewClient(tmp+"/out", nil)
	if err != nil {
		log.Fatal(err)
	}
	spool, err := engine.Open(tmp+"/spool", destination, &engine.Options{OnBadRecord: engine.DeadLetterBadRecords})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	table, err := spool.Table(ingest.Properties{Database: "Demo", Table: "Telemetry", Format: ingest.JSON})
	if err != nil {
		log.Fatal(err)
	}
	w := table.Writer(ctx)
	if _, err := io.WriteString(w, `{"boat":"Kittiwake"}`+"\n"+`{"boat":"Fulmar`+"\n"); err != nil {
		log.Fatal(err)
	}
	if err := spool.Drain(ctx); err != nil {
		log.Fatal(err)
	}
	for dead, err := range spool.DeadLetters() {
		if err != nil {
			log.Fatal(err)
		}
		r, err := spool.OpenDeadLetter(dead.Batch.ID)
		if err != nil {
			log.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			log.Fatal(err)
		}
		r.Close()
		fmt.Printf("%s: %s\n", dead.Failure.Code, data)
		repaired := append(bytes.TrimSpace(data), `"}`...)
		if _, err := spool.RetryDeadLetter(ctx, dead.Batch.ID, &engine.Retry{Records: bytes.NewReader(repaired)}); err != nil {
			log.Fatal(err)
		}
	}
	if err := spool.Drain(ctx); err != nil {
		log.Fatal(err)
	}
	st := spool.Stats()
	fmt.Println(st.Settled.Ingested, "ingested,", st.DeadLetters.Waiting, "dead letters wait")
	if err := spool.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// BadRecord: {"boat":"Fulmar
	// 2 ingested, 0 dead letters wait
}

package engine_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"strconv"
	"strings"
	"time"

	"kustospool/batching"
	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/transport/dir"
)

// A spool over a directory as its destination: the embedded default, which
// needs no network. With queued.NewClient in the place of dir.NewClient the
// same program delivers to Kusto.
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
	rcpt, err := spool.Ingest(ctx, &ingest.Request{
		Properties: ingest.Properties{Database: "Demo", Table: "Telemetry", Format: ingest.JSON},
		Data:       []byte(`{"boat":"Kittiwake","knots":6.5}`),
	})
	if err != nil {
		log.Fatal(err)
	}
	// From here on the record survives a power cut.
	if err := spool.Flush(ctx); err != nil {
		log.Fatal(err)
	}
	st, err := spool.Wait(ctx, rcpt.ID)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(st.State)
	if err := spool.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
	// Output: succeeded
}

// A table takes lines from anything that writes.
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

// A file of any size is stored whole or not at all, and has one receipt.
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

// A struct is a record, too.
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

// What stands in the way of a shutdown stays in the spool: the next process
// that opens it goes on.
func ExampleSpool_Shutdown() {
	tmp, err := os.MkdirTemp("", "spool")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(tmp)
	destination, err := dir.NewClient(tmp+"/out", nil)
	if err != nil {
		log.Fatal(err)
	}
	spool, err := engine.Open(tmp+"/spool", destination, &engine.Options{
		Batch: batching.Policy{MaxBytes: 200 << 20, MaxAge: 5 * time.Minute},
		Tables: map[engine.TableName]engine.TableOptions{
			{Database: "Demo", Table: "Alarms"}: {Batch: batching.Policy{MaxAge: time.Second}},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	_, err = spool.Ingest(context.Background(), &ingest.Request{
		Properties: ingest.Properties{Database: "Demo", Table: "Alarms", Format: ingest.TXT},
		Data:       []byte(strings.Repeat("man overboard! ", 2)),
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	fmt.Println(spool.Shutdown(ctx))
	// Output: <nil>
}

// A program that follows a file goes on, after a crash, behind what is durable.
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

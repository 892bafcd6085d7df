package engine_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"kustospool/batching"
	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/transport/dir"
)

// At least once for one table: small batches at short intervals are cheaper for
// the cluster without tags. A repeat may then double rows, and Stats counts how
// many at most. All other tables stay at exactly once.
func Example_atLeastOnce() {
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
		Tables: map[engine.TableName]engine.TableOptions{
			{Database: "Demo", Table: "Heartbeats"}: {
				Guarantee: ingest.AtLeastOnce,
				Batch:     batching.Policy{MaxAge: time.Second},
			},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	table, err := spool.Table(ingest.Properties{Database: "Demo", Table: "Heartbeats", Format: ingest.CSV})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := table.Ingest(ctx, []byte("Kittiwake,alive")); err != nil {
		log.Fatal(err)
	}
	if err := spool.Drain(ctx); err != nil {
		log.Fatal(err)
	}
	st := spool.Stats()
	fmt.Println(st.Settled.Ingested, "ingested,", st.Duplicates.Possible, "possibly twice")
	if err := spool.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
	// Output: 1 ingested, 0 possibly twice
}

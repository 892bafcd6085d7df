package engine_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/transport"
	"kustospool/transport/dir"
	"kustospool/transport/route"
)

// Two transports: alarms go one way, and all other tables another. A destination
// that is down holds back no table of the other.
func Example_twoTransports() {
	tmp, err := os.MkdirTemp("", "spool")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(tmp)
	bulk, err := dir.NewClient(tmp+"/bulk", nil) // queued.NewClient, say
	if err != nil {
		log.Fatal(err)
	}
	fast, err := dir.NewClient(tmp+"/fast", nil) // direct.NewClient, say
	if err != nil {
		log.Fatal(err)
	}
	router, err := route.New(route.Options{
		Transports: map[string]transport.Transport{"bulk": bulk, "fast": fast},
		Default:    "bulk",
		Tables:     map[route.Table]string{{Database: "Demo", Name: "Alarms"}: "fast"},
	})
	if err != nil {
		log.Fatal(err)
	}
	spool, err := engine.Open(tmp+"/spool", router, nil)
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	for _, name := range []string{"Alarms", "Telemetry"} {
		table, err := spool.Table(ingest.Properties{Database: "Demo", Table: name, Format: ingest.TXT})
		if err != nil {
			log.Fatal(err)
		}
		if _, err := table.Ingest(ctx, []byte("man overboard")); err != nil {
			log.Fatal(err)
		}
	}
	if err := spool.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
	for _, name := range []string{"bulk", "fast"} {
		tables, err := filepath.Glob(filepath.Join(tmp, name, "Demo", "*"))
		if err != nil {
			log.Fatal(err)
		}
		for _, table := range tables {
			fmt.Println(name, filepath.Base(table))
		}
	}
	// Output:
	// bulk Telemetry
	// fast Alarms
}

package route_test

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

// One spool, two ways: alarms go to one place and everything else to another.
// With queued.NewClient and direct.NewStreamingClient in the place of the two
// directories it reads the same.
func Example() {
	base, err := os.MkdirTemp("", "route")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(base)
	bulk, err := dir.NewClient(filepath.Join(base, "bulk"), nil)
	if err != nil {
		log.Fatal(err)
	}
	fast, err := dir.NewClient(filepath.Join(base, "fast"), nil)
	if err != nil {
		log.Fatal(err)
	}
	router, err := route.New(route.Options{
		Transports: map[string]transport.Transport{"bulk": bulk, "fast": fast},
		Default:    "bulk",
		Tables:     map[route.Table]string{{Database: "Fleet", Name: "Alarms"}: "fast"},
	})
	if err != nil {
		log.Fatal(err)
	}
	spool, err := engine.Open(filepath.Join(base, "spool"), router, nil)
	if err != nil {
		log.Fatal(err)
	}
	for _, table := range []string{"Alarms", "Readings"} {
		p := ingest.Properties{Database: "Fleet", Table: table, Format: ingest.JSON}
		if _, err := spool.Ingest(context.Background(), &ingest.Request{Properties: p, Data: []byte(`{"boat":"Kittiwake"}`)}); err != nil {
			log.Fatal(err)
		}
	}
	if err := spool.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
	for _, way := range []string{"bulk", "fast"} {
		files, err := filepath.Glob(filepath.Join(base, way, "*", "*", "*.json"))
		if err != nil {
			log.Fatal(err)
		}
		for _, f := range files[:min(1, len(files))] {
			fmt.Println(way, filepath.Base(filepath.Dir(f)))
		}
	}
	// Output:
	// bulk Readings
	// fast Alarms
}

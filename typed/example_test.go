package typed_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/transport/dir"
	"kustospool/typed"
)

type Reading struct {
	At    time.Time `kusto:"ts"`
	Boat  string
	Knots *float64 // null where nil
}

// Ingest structs, into a table made for them. Errors are left out here.
func Example() {
	tmp, _ := os.MkdirTemp("", "spool")
	defer os.RemoveAll(tmp)
	destination, _ := dir.NewClient(tmp+"/out", nil)
	spool, _ := engine.Open(tmp+"/spool", destination, nil)
	under, _ := spool.Table(ingest.Properties{Database: "Fleet", Table: "Readings", Format: ingest.JSON})
	table, _ := typed.NewTable[Reading](under)

	command, _ := table.Schema().CreateTable("Readings") // once, by hand or through transport/admin
	fmt.Println(command)
	_, err := table.Ingest(context.Background(), Reading{At: time.Now(), Boat: "Kittiwake"})
	fmt.Println(err, spool.Shutdown(context.Background()))
	// Output:
	// .create-merge table ['Readings'] (['ts']:datetime, ['Boat']:string, ['Knots']:real)
	// <nil> <nil>
}

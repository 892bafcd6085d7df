package engine_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/transport"
)

// printer is a transport of one's own: it prints each batch. Package
// transporttest has the suite that a real one should pass.
type printer struct{}

// Send makes one attempt. What may make rows appear comes after Commit.
func (printer) Send(ctx context.Context, d *transport.Delivery) (transport.Ack, error) {
	r := d.Payload.Open()
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		return transport.Ack{}, err
	}
	if err := d.Journal.Commit(ctx, nil); err != nil {
		return transport.Ack{}, err
	}
	fmt.Printf("to %s: %s", d.Batch.Properties.Table, data)
	return transport.Ack{State: ingest.Succeeded}, nil
}

// Capabilities say that it cannot tell a repeat.
func (printer) Capabilities() transport.Capabilities { return transport.Capabilities{} }

// Own transport: two methods are enough. The engine decides when to call them,
// and survives whatever they do.
func Example_ownTransport() {
	tmp, err := os.MkdirTemp("", "spool")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(tmp)
	spool, err := engine.Open(tmp, printer{}, &engine.Options{Guarantee: ingest.AtLeastOnce})
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	table, err := spool.Table(ingest.Properties{Database: "Demo", Table: "Log", Format: ingest.TXT})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := table.Ingest(ctx, []byte("all hands on deck")); err != nil {
		log.Fatal(err)
	}
	if err := spool.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
	// Output: to Log: all hands on deck
}

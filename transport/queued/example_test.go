package queued_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"kustospool/engine"
	"kustospool/ingest"
	"kustospool/internal/kustosim"
	"kustospool/transport/queued"
)

// The client is made once for each cluster, and needs no network to be made.
func ExampleNewClient() {
	cred, err := azidentity.NewDefaultAzureCredential(nil)
	if err != nil {
		log.Fatal(err)
	}
	client, err := queued.NewClient("https://ingest-mycluster.westeurope.kusto.windows.net", cred, &queued.ClientOptions{
		App: "engine-room-logger",
	})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close() // the engine does it, where the client is handed to engine.Open
}

// A blob is ingested where it is. What was given with a SAS is stored without
// it; the client asks for the SAS when it sends, here of a map in memory. A
// vault, or queued.StorageToken, outlives the process.
func ExampleClientOptions_blobSecret() {
	sim, err := kustosim.Start(&kustosim.Options{AutoCreate: true}) // in the place of a cluster and its storage
	if err != nil {
		log.Fatal(err)
	}
	defer sim.Close()
	ctx := context.Background()
	uri, err := sim.PutBlob(ctx, "in/log.csv", []byte("Kittiwake,6.5\nFulmar,7.1\n"))
	if err != nil {
		log.Fatal(err)
	}
	sas, err := sim.BlobSAS(uri)
	if err != nil {
		log.Fatal(err)
	}
	given := uri + "?" + sas // what a user has in hand

	secrets := map[string]string{}
	client, err := queued.NewClient(sim.Endpoint(), nil, &queued.ClientOptions{
		TrackInterval: 100 * time.Millisecond,
		BlobSecret: func(_ context.Context, blob string) (string, error) {
			if s, known := secrets[blob]; known {
				return s, nil
			}
			return "", errors.New("not known any more")
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "spool")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	spool, err := engine.Open(dir, client, nil)
	if err != nil {
		log.Fatal(err)
	}
	logs := ingest.Properties{Database: "Fleet", Table: "Logs"}
	_, err = spool.IngestBlob(ctx, logs, ingest.Blob{URI: given})
	fmt.Println("with its SAS:", errors.Is(err, ingest.ErrInvalid))

	plain, secret := ingest.CutBlobSecret(given)
	secrets[plain] = secret
	if _, err := spool.IngestBlob(ctx, logs, ingest.Blob{URI: plain}); err != nil {
		log.Fatal(err)
	}
	if err := spool.Shutdown(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println(sim.Count("Fleet", "Logs"), "rows")
	// Output:
	// with its SAS: true
	// 2 rows
}

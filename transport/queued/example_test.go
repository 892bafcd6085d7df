package queued_test

import (
	"log"

	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

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

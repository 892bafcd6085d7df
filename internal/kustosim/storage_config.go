package kustosim

import (
	"net/http"

	"kustospool/internal/kustosim/internal/stats"

	"kustospool/internal/kustosim/internal/fault"
)

// storageConfig is what both kinds of storage are made of.
type storageConfig struct {
	accounts int   // or, of an external account, containers and queues
	maxBytes int64 // of one upload request
	issuer   *issuer
	stats    *stats.Book
	// deliver takes the text of each message that a ready queue accepts. It must
	// not block.
	deliver func(text string)
	// listen opens a port for one service of one account and returns its
	// address, host:port.
	listen func(host fault.Host, svc service, handler http.Handler) (addr string, err error)
}

// ExternalStorage names the services of a storage account by their base
// addresses, with or without the account as the path, and its shared key.
type ExternalStorage struct {
	BlobURL, QueueURL, TableURL string
	Account, Key                string
}

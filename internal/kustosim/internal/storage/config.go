package storage

import (
	"net/http"

	"kustospool/internal/kustosim/internal/fault"
	"kustospool/internal/kustosim/internal/stats"
)

// Config is what both kinds of storage are made of.
type Config struct {
	Accounts int   // or, of an external account, containers and queues
	MaxBytes int64 // of one upload request
	Issuer   *Issuer
	Stats    *stats.Book
	// Deliver takes the text of each message that a ready queue accepts. It must
	// not block.
	Deliver func(text string)
	// Listen opens a port for one service of one account and returns its
	// address, host:port.
	Listen func(host fault.Host, svc Service, handler http.Handler) (addr string, err error)
}

// ExternalStorage names the services of a storage account by their base
// addresses, with or without the account as the path, and its shared key.
type ExternalStorage struct {
	BlobURL, QueueURL, TableURL string
	Account, Key                string
}

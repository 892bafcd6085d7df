package storage

import (
	"net/http"
	"net/url"

	"kustospool/internal/kustosim/internal/fault"
	"kustospool/internal/kustosim/internal/stats"
)

// Config is what both kinds of storage are made of.
type Config struct {
	Accounts int   // or, of an external account, containers and queues
	MaxBytes int64 // of one upload request
	// MaxBlocks is how many blocks a built-in blob may be committed of, and half of
	// how many uncommitted ones it may have.
	MaxBlocks int
	Rights    string // of the signatures for built-in containers
	Issuer    *Issuer
	Stats     *stats.Book
	// Deliver takes the text of each message that a ready queue accepts. It must
	// not block.
	Deliver func(text string)
	// Listen opens a port for one service of one account and returns its
	// address, host:port.
	Listen func(host fault.Host, svc Service, handler http.Handler) (addr string, err error)
	// Root is where clients find one service of one built-in account that listens
	// at addr, a URL that does not end in a slash.
	Root func(host fault.Host, account, addr string) (*url.URL, error)
}

// ExternalStorage names the services of a storage account by their base
// addresses, with or without the account as the path, and its shared key.
type ExternalStorage struct {
	BlobURL, QueueURL, TableURL string
	Account, Key                string
}

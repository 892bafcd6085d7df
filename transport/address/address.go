// Package address reads the address of a cluster.
//
// # Promise
//
// Whatever spelling of one cluster is given has one [Address].Name: the URL of
// either service, in capitals or with a dot at its end, with the port that
// https has anyway, with a database as its path, under the names of its private
// endpoint, or as a connection string such as
// "https://NAME.REGION.kusto.windows.net/DB;Fed=True". The clients of the other
// packages read addresses in the same way.
//
// # Failure
//
// What is not understood is refused, with the right spelling in the error. An
// error shows no user name, no password and no property of a connection string.
//
// # What it does not do
//
// It opens no connection, asks no resolver, and does not say whether a token may
// be sent to a cluster: the clients do, by their AllowHosts. A cluster under a
// name of one's own, or behind a port of one's own, is another one to it.
package address

import "kustospool/transport/internal/kusto"

// Address is where a cluster is.
type Address struct {
	Name     string // the URL of the cluster's public engine, which stands for all its spellings
	Engine   string // the URL of the engine as it was given: inside a virtual network the private one
	Database string // that the address names as the default; empty for none
	Loopback bool   // the cluster is on this machine
}

// Parse reads an address. Its error is an *[kustospool/ingest.FieldError] of the field
// "endpoint".
func Parse(raw string) (Address, error) {
	a, err := kusto.ParseAddress(raw)
	if err != nil {
		return Address{}, err
	}
	return Address{Name: a.Name, Engine: a.Engine, Database: a.Database, Loopback: a.Loopback}, nil
}

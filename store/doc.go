// Package store keeps acknowledged records and the ledger of their batches on
// disk, in bbolt files. It knows states and no networks.
package store

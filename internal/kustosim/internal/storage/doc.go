// Package storage is Azure storage as clients of Kusto need it: blobs, queues
// and tables with shared access signatures, in memory ([Builtin]) or passed on
// to an account such as Azurite ([External]).
//
// # Promise
//
// A blob, a message or an entity that was accepted is there, whole, before the
// client hears so; what was refused has changed nothing. Signatures are real:
// start, end, permissions and the resource are checked. A message that a ready
// queue accepts is handed on exactly once.
//
// # Failure
//
// A refusal is an [Error] with the service's status and code, in the form of
// the service. [ErrBlobURI] and an error without a type are for URIs that are
// of no blob, and for an external account that does not answer.
//
// # What it does not do
//
// There are no leases, snapshots, tiers, listings or transactions. It does not
// know what a message says: the ingestor reads it. Faults stand before its
// handlers and are not its own.
package storage

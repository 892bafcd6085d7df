// Package fault decides which request and which ingestion a fault strikes, and
// does to a request what its fault says.
//
// # Promise
//
// A fault strikes what matches it, each nth and so often as it says, and
// nothing after it was removed. "Before the effect" and "after the effect" are
// exact: a handler is called or it is not. A request that waits for a fault
// goes on when the fault is removed or the simulator ends.
//
// # Failure
//
// A fault that cannot be carried out panics in the handler, which closes the
// connection. Matching never fails.
//
// # What it does not do
//
// It does not know what a service says with a status: who serves a port gives
// a function for that. It does not ingest: room ingestor asks [IngestSet] and
// acts. [Refuse] is carried out by the owner of the ports.
package fault

// Package endpoint serves the Kusto endpoint, data management and engine in
// one: management and queries, streaming ingestion, and queued ingestion over
// REST.
//
// # Promise
//
// A request without the bearer token or the [Role] that it needs has no effect.
// A streaming request is answered when its rows are committed. A submission is
// answered when all of its blobs are handed over.
//
// # Failure
//
// Every refusal is an error reply in the service's form. Faults stand before
// everything but the paths under /sim/.
//
// # What it does not do
//
// The query language is T, T | count and T | take n. Tracked operations are
// kept until the simulator ends.
package endpoint

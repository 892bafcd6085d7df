// Package staging puts a batch's payload into a container that the service
// lends: what queued and direct ingestion have in common.
//
// # Promise
//
// The blob's name is a function of the batch ([Name]), and so are its bytes
// before compression. The blob is committed only when every byte of the
// payload was read, and becomes visible at once or not at all. An upload that
// an earlier attempt ended is found by its ETag and not repeated. Memory for
// one upload is bounded by a constant, about 10 MiB.
//
// # Failure
//
// The payload's own error comes back wrapped and unclassified; every other
// error is a *[transport.Error] without a SAS in it. Parts of an upload are
// retried, briefly, and up to three containers are tried.
//
// # What it does not do
//
// It starts no goroutine that outlives a call, and deletes no blob.
package staging

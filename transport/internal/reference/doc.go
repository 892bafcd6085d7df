// Package reference makes of a batch that is a reference to a blob
// ([ingest.Properties.ByReference]) what the service is told: the blob's
// address with what gives access to it, and its raw size.
//
// # Promise
//
// A secret is asked for on each attempt, put into the address and nowhere
// else, and is in no error. The blob is not downloaded. Where its raw size is
// not known one HEAD request asks storage for it, unless that is turned off or
// would need a right that only the service has; whatever goes wrong with that
// leaves the size unknown.
//
// # Failure
//
// A secret that cannot be had is [transport.Held]: the blob waits and others go
// on. A payload that is no reference is [transport.Permanent]; the payload's
// own error comes back wrapped and unclassified.
package reference

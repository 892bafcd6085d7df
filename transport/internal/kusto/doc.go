// Package kusto is what the Kusto transports share: endpoints, authentication,
// management commands, ingestion resources, the ranking of storage accounts,
// and the table of error codes.
//
// # Promise
//
// A bearer token goes to a trusted https host only, or to this machine. A SAS
// or a token never leaves memory: every error of this package is a
// *[transport.Error] whose text went through [Redact], and whose chain holds
// no error of another package that could print a URL. Every reply is read
// under a bound. No redirect is followed.
//
// # Failure
//
// Nothing here repeats a request. An outage is not poison: only an error about
// the payload is [transport.Malformed] or [transport.Permanent]; whatever
// concerns the service, the credential, a table or a mapping waits. What the
// service last said of its resources and of its identity token is used on when
// it cannot be asked, until storage refuses it.
//
// # What it does not do
//
// It starts no goroutine, writes no file and no log, and knows nothing of
// blobs, queues and tables but their addresses.
package kusto

// Package dir is a transport into a local directory: for export to an
// air-gapped site, for a hand-over to another tool, and for tests and trials
// without a service.
//
// # Layout
//
//	ROOT/<database>/<table>/<lane>-<first>-<batch id>.properties.json
//	ROOT/<database>/<table>/<lane>-<first>-<batch id><extension>[.gz]
//
// The second file is the batch's payload, one file for each batch; the first
// says what it is: its properties, its range, its ingest-by value. lane and
// first are hexadecimal of fixed width, so that the files of a lane sort in
// its order. Database and table are escaped as in a URL path, further so that
// every file system takes the name (see [PathName]); a name too long for a
// path element is cut and ends in "~" and a hash. On a file system that does
// not tell upper from lower case two tables whose names differ by nothing else
// share a directory; their files still do not meet, and the properties name
// the right table.
//
// Names that begin with a dot are files in the making. A reader ignores them
// and may take, move or delete any other payload at any time. It leaves the
// name in place where it wants a late repeat to be skipped.
//
// # What is promised
//
// A payload under its final name is whole, on stable storage, and its
// properties are there already: temporary file, fsync, rename, fsync of the
// directory, first for the properties and then for the payload. The name is
// the batch's own, so that a repeat finds it and is [ingest.Skipped]: exactly
// once, for as long as the file stands.
//
// # Failure
//
// A directory that is not there, a full disk and an I/O error are
// [transport.Transient]. A root that may not be written is
// [transport.Unauthorized]; a database or table directory that may not be, or
// whose name is taken by something else, is [transport.Held]. An error after
// the payload's rename is [transport.Unknown]: the repeat resolves it.
//
// The package starts no goroutine, keeps nothing open between calls and does
// not bound the directory's size.
package dir

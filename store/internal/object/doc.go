// Package object keeps payloads that are too large for a segment of the log,
// each in a file of its own, as a row of chunks of about 1 MiB that prove
// themselves.
//
// # Promise
//
// A finished object is complete and on stable storage under its final name
// once Sync of its directory has returned nil as well. Writing and reading one
// take about one chunk of memory each, whatever the size of the object or of a
// record in it. No byte is handed out that its checksum does not prove.
//
// # Failure
//
// For want of room nothing is lost: the call can be repeated. A failed sync
// ends the object for good, because what it left behind is unknown. Damage to
// a chunk is a [DamageError] that names the records in it; those of other
// chunks can be read. A file that is not what its name says, a FIFO for
// example, reads as damaged and blocks nobody.
//
// # What it does not do
//
// It does not know who refers to an object, so it removes none by itself, and
// keeps no quota: it asks Dir.Room before it writes and tells Dir.Sized after.
package object

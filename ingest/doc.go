// Package ingest holds the nouns of kustospool: what a caller asks for
// ([Request], [Properties]), what it gets back ([Receipt], [ID], [Status]),
// and what travels to Kusto ([Batch]) through which states ([State]).
//
// # What to use, in this order
//
//   - [Properties] say where records go: database, table, [Format], and, where
//     they are wanted, mapping, tags and the rest. Validate names what is wrong.
//   - [Request] is one record with its properties; a [Blob] is the address of
//     data that is in storage already.
//   - [Receipt] is the answer to it. Its text form ([ParseReceipt] reads it) can
//     be kept anywhere.
//   - [Status] is what became of a record, [Tally] of all records of a receipt;
//     [Failure] is what was said against it. Err is nil where all is well.
//   - [Guarantee] and [Confirm] are what a table is promised.
//
// # Words
//
// In the API and in the documents each has one meaning:
//
//	record       one row of a line format, or one object, or one blob's address
//	lane         the queue of one set of properties
//	frame        the records of one lane in one commit of the log
//	segment      a file of the log; it goes when all in it is settled
//	object       a file of its own for a large payload, which a frame refers to
//	position     where a caller's source stands, durable with its records
//	batch        a contiguous range of a lane, sealed; it never changes
//	seal         to fix the range of a batch, by size or age
//	attempt      one try to hand a batch over; Commit is where rows may appear
//	accepted     the service has the batch and has not told the outcome
//	split        to replace a batch by parts of it, so that bad records are alone
//	settled      in a final state; the payload may go
//	tombstone    what the ledger keeps of something gone until it cannot come back
//	dead letter  a batch that can never be ingested, kept with its reason
//	held         of a lane: waits for an operator
//	destination  where a transport delivers to; a router has several
//	figure       a number that a transport reports about itself
//
// # Life of a record
//
// A record is one row of a line format (a JSON line, a CSV record), or one
// whole object of a format that cannot be concatenated (a Parquet file), or the
// address of a [Blob] that the service is to fetch.
// The engine makes it durable and answers with a [Receipt]. Records whose
// [Properties] are equal share a lane, the first-in-first-out queue of one
// set of properties. A contiguous range of a lane is sealed into a [Batch],
// which never changes afterwards: same members, same bytes, same [BatchID],
// on every attempt and after every restart.
//
//	open -> sealed -> sending -> accepted -> succeeded | skipped | handed-over
//	          ^  ^       |           |
//	          |  |       +-> unknown-+
//	          |  |       |     |     |
//	          |  +-------+-----+-----+   sent again, under the same tag
//	          |                      |
//	          +-- parts <------- split      dead-lettered      dropped
//
// [State] lists who moves a batch out of each state; [State.CanBecome] is the
// transition table, and the store refuses everything else.
//
// # Guarantee
//
// With [ExactlyOnce] a batch carries the tag "ingest-by:<batch id>" and
// ingestIfNotExists from its first attempt, so that the service itself turns
// a repeat into a no-op for as long as the extent with that tag lives. With
// [AtLeastOnce] a repeat may double rows; the engine counts the rows it may
// have doubled.
//
// The package imports only the standard library and has no I/O, goroutine or
// clock. All of its values are plain data and safe to copy; none is safe for
// writing by two goroutines at once.
package ingest

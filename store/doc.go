// Package store keeps acknowledged records, and the ledger of the batches they
// are in, in files of one directory. It knows the states of a batch, no networks,
// and not when a batch is sealed or tried; its own retention and compaction go by
// the clock. Package engine is its user, and the API follows the engine's needs.
//
// # Promise
//
// When [Store.Append] returns nil the records are on stable storage and have
// their sequence numbers for good. When a call that changes the ledger
// ([Store.Seal], [Store.Transition], [Store.Split], [Store.DeadLetter]) returns
// nil, the change is. Each of them is one transaction, all or nothing; a
// [Position] is part of the transaction of the records it came with. The counters
// of Stats are part of the ledger's transactions, so at any moment, and after
// any crash,
//
//	Acked == Open + Sealed + Ingested + Skipped + HandedOver + DeadLettered + Dropped
//
// A number is never given to two acknowledged records, not even after the
// file that had it is gone. Memory, goroutines and open files are bounded by
// Options and by the number of lanes, live batches and segment files, not by the
// records in them; so is the time that Open takes, which reads one segment, the
// active one, and after a crash those that were not listed yet.
//
// # Failure
//
// An error means that nothing was stored or changed, with one exception that
// says so: [ErrOutcomeUnknown], when the last fsync of a commit failed. After
// that, and after any other write whose failure says more than "no room", the
// store is failed: it accepts nothing ([ErrFailed]) and still reads. Open then
// finds what the disk holds. The store also fails when its active file was
// removed. A full disk or quota is [ErrFull] and leaves the store healthy;
// the ledger goes on, out of a reserve of the quota and, on a full volume, out
// of a ballast file that is given up for it, so that delivery can make room
// again.
//
// Damage is contained. Every frame of records has a checksum and can be found in
// a file by its own header, so that damage costs the frames it hits and not the
// way to others; its bytes are copied to quarantine/. Nothing is deleted on the
// word of what was not verified: a segment goes when a proven row of the ledger
// says that all in it is settled, and what no row knows is adopted if it proves
// itself and else set aside. A ledger that is damaged is set aside as well, and
// made anew from the log. No damage panics out of the package, and whatever is
// found is counted (Stats.Damaged, Stats.Suspect). Records that cannot be read
// stay in the books: reading their batch fails with a [CorruptionError] that
// says which they are, and the engine cuts them out and dead-letters them.
//
// [Look] shows what Open would find and changes nothing, in any of these cases.
//
// Two things the store cannot tell. A disk sector of 512 bytes is taken to be
// old or new after a power cut, never a mixture that happens to have the right
// checksum. And damage to the very last commit looks like one that the power
// cut off: it is noticed where the ledger knows of records in it, or knows
// from a clean close where the log ended.
//
// # What it does not do
//
// It does not decide when a lane is sealed, when a batch is tried again or
// which one goes first, does not encrypt, and does not delete what was not
// settled.
//
// # How it works
//
// This package is the door to three rooms that do not know each other:
//
//   - internal/wal, the log: records go into the active segment, a file that is
//     only added to, in one write and one fdatasync for whatever waits;
//   - internal/ledger, the books, one bbolt file: lanes, batches, history, keys,
//     positions, counters, the list of segments and objects;
//   - internal/object, files for payloads that are too large for a segment or
//     whose length nobody knows yet; a frame in the log refers to each, so that
//     its records have their place in the order of their lane.
//
// The door keeps in memory where each lane's records are (mirror.go), fed by the
// log's commits and the ledger's settled batches, and has one goroutine, the
// maintenance, for what takes more than one room. A full segment is listed in the
// ledger once the keys and positions in it are there too; one in which every
// record is settled is given back, and its file is written again. One in which
// little is left is written anew without the rest, so that a lane that is not
// delivered keeps its own records on the disk and not those of others. Before
// positions go with a segment the log says once more which there are, for whoever
// has to do without the ledger.
//
// docs/on-disk-format.md has the layout byte by byte.
//
// Locks, in the order they are taken: the log's queue (the log calls Gate with
// it held), Store.mu, the ledger's mirror; freshKeys.mu, freshPositions.mu and
// disk.mu are taken last and hold nothing up. The log calls Committed, and the
// ledger Settled, without a lock of their own. Store.mu is held for memory only.
//
// # Crash matrix
//
// Across the rooms there are no transactions, but an order: what is referred to
// is durable before what refers to it, and the ledger says that something
// may go before it goes. Each row is one crash and what Open does about it;
// each of these can be interrupted and repeated.
//
//	crash                                     found                                  done by
//	while a file is written                   *.tmp                                  sweep removes it
//	a commit of the log                       bytes that prove no commit             wal: the log ends before them
//	committed, not yet acknowledged           the records                            nothing: they are delivered
//	a segment prepared, not yet written to    a head without a commit                wal keeps it for later
//	rotated, its index not written            a segment without an index             wal reads it and writes the index
//	rotated, not yet listed                   a segment without a row                mirror puts it in line, Store.list
//	keys moved in part                        the same                               its keys are found and moved again
//	while an object is written                objects/*.tmp                          sweep removes it
//	object complete, no frame refers to it    a file that nobody knows               loadObjects removes it
//	object settled, not yet forgotten         a row without live records             loadObjects removes file and row
//	object forgotten, not yet unlinked        a file that nobody knows               loadObjects removes it
//	a commit of the ledger                    bbolt: the meta page before it rules   nothing: the caller had no answer
//	positions said again, segment not gone    the same positions twice               nothing: the commit decides
//	all settled, segment still listed         a row without live records             mirror counts, Store.reclaim
//	tombstone, file not yet given back        a tombstone and its file               wal takes the file for later, begin forgets
//	given back, tombstone still there         a tombstone without its file           begin forgets it
//	segment written again, not exchanged      segments/*.new                         wal removes it
//	exchanged, the ledger has the old row     a row of another generation            mirror puts it in line, Store.list
//	dead letter written, batch still live     files in dead/ of a live batch         undoneDeadLetters removes them
//	retried, its files still there            a mark among the positions             Store.EndRetry, which the engine calls
//	dealt with, not all of its files gone     dead/*.json.handled                    handledDeadLetters removes them
//	while a ledger is rebuilt                 a log without a ledger                 rebuild, again
//
// and of damage:
//
//	ledger missing, torn, or inconsistent     ledger.Open refuses it                 rebuild: all that is there is open again
//	an older copy of the ledger               positions that the log has not         recovery.positions removes them
//	an empty file for a listed segment        no commit in it                        as if it were missing
//	history or keys of the ledger damaged     the books are whole                    ledger.Open: they begin anew
//	ledger fell back one transaction          an invalid meta page                   counted; numbers jump
//	the end of the log is gone                it ends before where it is known to    wal.Recovered.TailMissing; numbers jump
//	a stretch of an unlisted segment damaged  a later commit proves itself           wal saves its frames; damage keeps its bytes
//	listed segment missing                    no file                                missing; its records read as damaged
//	a file in segments/ that is none          wal.Recovered.ForeignFiles             foreignFiles moves it to quarantine/
//	one frame damaged                         its checksum                           CorruptionError for its records
//	a chunk of an object damaged              its checksum                           CorruptionError for its records
//	an object's file missing or cut           met when it is read                    CorruptionError for all that is gone
//	a frame lost that referred to an object   a file that nobody knows, and damage   loadObjects moves it to quarantine/
//
// "Numbers jump" means that a lane goes on behind a gap wider than any segment
// holds, because more may have been acknowledged than is known.
package store

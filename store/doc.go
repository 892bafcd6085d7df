// Package store keeps acknowledged records, and the ledger of the batches they
// are in, in bbolt files of one directory. It knows the states of a batch and
// no networks, clocks or policies: package engine is its user, and the API
// follows the engine's needs.
//
// # Promise
//
// When [Store.Append] returns nil the records are on stable storage and have
// their sequence numbers for good. When a call that changes the ledger
// ([Store.Seal], [Store.Transition], [Store.Split], [Store.DeadLetter])
// returns nil, the change is. Each of them is one transaction, all or nothing.
// The counters of [Stats] are part of the same transactions, so at any moment,
// and after any crash,
//
//	Acked == Open + Sealed + Ingested + Skipped + HandedOver + DeadLettered + Dropped
//
// A number is never given to two acknowledged records, not even after the
// file that had it is gone. Memory, goroutines and open files are bounded by
// [Options] and by the number of lanes and live batches, not by the records
// that wait; so is the time that Open takes.
//
// # Failure
//
// An error means that nothing was stored or changed, with one exception that
// says so: [ErrOutcomeUnknown], when the last fsync of a commit failed. After
// that, and after any other write whose failure says more than "no room", the
// store is failed: it accepts nothing ([ErrFailed]) and still reads. Open then
// finds what the disk holds. A full disk or quota is [ErrFull] and leaves the
// store healthy; the ledger goes on, out of a reserve of the quota and, on a
// full volume, out of a ballast file that is given up for it, so that delivery
// can make room again.
//
// Damage is contained. Every frame of records has a checksum and can be found
// in a file by its own marks, so that a broken page costs the frames it holds
// and not the way to others; the rest of a damaged file is salvaged into a new
// one and the file itself moved to quarantine/. Nothing is ever wiped, no
// damage panics out of the package, and whatever is found is counted
// (Stats.Damaged, Stats.Suspect). Records that cannot be read stay in the
// books: reading their batch fails with a [CorruptionError] that says which
// they are, and the engine cuts them out and dead-letters them.
//
// # What it does not do
//
// It does not decide when a lane is sealed, when a batch is tried again or
// which one goes first, does not compress or encrypt, and does not delete what
// was not settled.
//
// # How it works
//
// Records go to the active segment, a bbolt file that is only added to. One
// goroutine, the committer, writes it: whatever waits when a commit ends is
// the next group, one transaction, one frame for each lane in it, one fdatasync
// (tally.go says why one is enough). Small frames of many lanes are tied to one
// value, a sheaf, because what a commit costs is the places in the file that it
// writes to. Full segments are rotated; the
// next one was prepared by the keeper, a goroutine in the background. A
// segment in which every record is settled is unlinked: nothing is deleted
// record by record, so files neither fragment nor grow free lists, and space
// comes back without a pause. One in which little is left is written again
// without the rest, so that a lane that is not delivered keeps its own records
// on the disk and not those of others.
//
// The manifest is a second kind of bbolt file, with the lanes, the ledger and
// its history, the list of segments and the deduplication keys. It has a
// goroutine and a group commit of its own, so that bookkeeping does not stand
// in the way of an acknowledgement. The ledger's live part is mirrored in
// memory; a change is published there once it is durable.
//
// docs/on-disk-format.md has the layout byte by byte.
//
// A payload that is too large for that, or whose length nobody knows yet, goes
// to a file of its own in objects/ ([Object]): chunks that prove themselves,
// written as a stream. A frame in the active segment refers to it and has its
// sequence numbers, so that everything else, the order of a lane, batches,
// splits, settling, is the same. The manifest lists the objects of rotated
// segments; those of the active one are told by its frames.
//
// # Crash matrix
//
// Across files there are no transactions, but an order: a segment's file is
// durable before anything refers to it, and the manifest forgets a segment
// before its file goes. Each row is one crash and what Open does about it;
// each of these can be interrupted and repeated.
//
//	crash                                     found                                  done by
//	while a file is created                   *.tmp                                  sweep removes it
//	segment prepared, not yet active          a file that was never activated        newSegments puts it on the shelf
//	activated, the old one not yet listed     two activated files beyond the list    newSegments lists the lower
//	a commit of the active segment            the meta page before it rules          nothing: it was not acknowledged
//	power cut in a commit, meta page kept     a tally that does not agree            settle goes back to the commit before
//	committed, not yet acknowledged           the records                            nothing: they are delivered
//	while an object is written                objects/*.tmp                          sweep removes it
//	object complete, no frame refers to it    a file that nobody knows               countObjects removes it
//	object settled, not yet forgotten         a row without live records             countObjects removes file and row
//	object forgotten, not yet unlinked        a file that nobody knows               countObjects removes it
//	a commit of the manifest                  the meta page before it rules          nothing: the caller had no answer
//	all settled, segment still listed         a listed segment without live records  countLive, then keeper.reclaim
//	forgotten, not yet unlinked               a file below the list's end            newSegments removes it
//	keys copied in part                       the segment's row still says keys      keeper.copyKeys copies again
//	dead letter written, batch still live     files in dead/ of a live batch         undoneDeadLetters removes them
//	segment written again, not exchanged      *.salvage beside its original          finishSalvage removes it
//	salvaged file complete, old one moved     *.salvage without its original         finishSalvage renames it
//	salvage interrupted before that           *.salvage beside its original          finishSalvage removes it
//
// and of damage:
//
//	manifest missing, torn, or inconsistent   segments without it                    rebuild: all that is there is open again
//	history or keys of the manifest damaged   the ledger is whole                    renew: they begin anew
//	manifest fell back one transaction        an invalid meta page                   counted; numbers jump
//	active segment missing                    the manifest names it                  lostActive; numbers jump
//	unlisted segment damaged or older         preflight, survey                      salvage; numbers jump
//	listed segment missing or empty           no file                                listedSegments; its records read as damaged
//	listed segment damaged or older           met when it is read                    repair, a salvage at run time
//	one frame damaged                         its checksum                           CorruptionError for its records
//	a chunk of an object damaged              its checksum                           CorruptionError for its records
//	an object's file missing or cut           met when it is read                    CorruptionError for all that is gone
//	a frame lost that referred to an object   a file that nobody knows, and damage   countObjects moves it to quarantine/
//
// "Numbers jump" means that a lane goes on behind a gap wider than any segment
// holds, because more may have been acknowledged than is known.
package store
